internal import Kernels
internal import Models

/// How fast a model reads a prompt and generates, measured with tokens drawn at random.
public struct GenerationSpeed: Sendable {
  /// Seconds from the call until the model is in memory.
  public let secondsToLoad: Double
  /// Prompt tokens a second, one value a round.
  public let prompt: [Double]
  /// Generated tokens a second after one token of text, one value a round.
  public let generation: [Double]
  /// What linears do to their input, in a few words.
  public let activations: String

  /// Measures.
  ///
  /// - Parameters:
  ///   - promptTokens: tokens read at once.
  ///   - generatedTokens: tokens read one by one, into an empty cache.
  ///   - rounds: how often either is timed, after a round that is not.
  public static func run(
    model name: String, activations: TextGeneration.Activations = .auto, promptTokens: Int, generatedTokens: Int,
    rounds: Int
  ) throws -> GenerationSpeed {
    do {
      let start = SystemFacts.uptime
      var model = try ModelInputs.openModel(name)
      try model.prepareForGeneration(activations)
      let longest = max(promptTokens, generatedTokens + 1)
      guard longest <= model.configuration.maximumPositions else {
        throw PipelineError.usage("the model has \(model.configuration.maximumPositions) positions, not \(longest)")
      }
      var generator = try Generator(model, sampling: Sampling(), positions: longest)
      let loaded = SystemFacts.uptime
      var random = SplitMix64(seed: 1)
      let vocabulary = UInt64(model.configuration.vocabularySize)
      let draw = { Int(random.next() % vocabulary) }
      var (prompt, generation): ([Double], [Double]) = ([], [])
      for round in 0...rounds {
        generator.forget()
        let ids = (0..<promptTokens).map { _ in draw() }
        var begin = SystemFacts.uptime
        _ = try generator.next(after: ids)
        if round > 0 { prompt.append(Double(promptTokens) / (SystemFacts.uptime - begin)) }
        generator.forget()
        _ = try generator.next(after: [draw()])
        begin = SystemFacts.uptime
        for _ in 0..<generatedTokens { _ = try generator.next(after: [draw()]) }
        if round > 0 { generation.append(Double(generatedTokens) / (SystemFacts.uptime - begin)) }
        try Interruption.check("stopped after \(round) rounds")
      }
      return GenerationSpeed(
        secondsToLoad: loaded - start, prompt: prompt, generation: generation,
        activations: model.activationWords)
    } catch { throw PipelineError.wrapping(error) }
  }
}

extension LanguageModel {
  /// Chooses the arithmetic of generation.
  mutating func prepareForGeneration(_ activations: TextGeneration.Activations) throws(PipelineError) {
    rounding.cache = true
    if activations == .int8 { try requireIntegerProducts() }
    switch activations {
    case .auto: rounding.products = .chosen
    case .float: rounding.products = .float
    case .int8: rounding.products = .int8
    }
  }
}
