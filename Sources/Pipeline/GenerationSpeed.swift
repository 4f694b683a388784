internal import Kernels
internal import Models

/// How fast a model reads a prompt and generates, measured with tokens drawn at random.
public struct GenerationSpeed: Sendable {
  /// Texts continued together.
  public struct Batch: Sendable {
    /// Number of texts.
    public let texts: Int
    /// Tokens a second, of all texts together, after one token of each; one value a round.
    public var rates: [Double] = []
  }

  /// Seconds from the call until the model is in memory.
  public let secondsToLoad: Double
  /// Prompt tokens a second, one value a round.
  public let prompt: [Double]
  /// Generated tokens a second.
  public let generation: [Batch]
  /// What linears do to their input, in a few words.
  public let activations: String

  /// Measures.
  ///
  /// - Parameters:
  ///   - promptTokens: tokens read at once.
  ///   - generatedTokens: tokens of each text, read one by one into an empty cache.
  ///   - batches: numbers of texts that are continued together, each measured.
  ///   - rounds: how often each is timed, after a round that is not.
  ///   - weightCache: a folder for what loading makes of an artifact, which later runs map.
  ///   - note: called with what a person should know about that.
  public static func run(
    model name: String, activations: TextGeneration.Activations = .auto, promptTokens: Int, generatedTokens: Int,
    batches: [Int] = [1], rounds: Int, weightCache: String? = nil, note: @escaping (String) -> Void = { _ in }
  ) throws -> GenerationSpeed {
    do {
      let start = SystemFacts.uptime
      var model = try ModelInputs.openModel(name)
      try model.prepareForGeneration(activations)
      var cache = try WeightCacheFolder(weightCache, of: model, note: note)
      let longest = max(promptTokens, generatedTokens + 1)
      guard longest <= model.configuration.maximumPositions else {
        throw PipelineError.usage("the model has \(model.configuration.maximumPositions) positions, not \(longest)")
      }
      let resident = try cache?.load(model) ?? ResidentModel(model)
      let generator = try Generator(resident, positions: longest)
      let loaded = SystemFacts.uptime
      var random = SplitMix64(seed: 1)
      let vocabulary = UInt64(model.configuration.vocabularySize)
      func read(_ texts: [GeneratedText], _ count: Int) throws {
        _ = try generator.next(
          texts.map { text in Generator.Read(text, (0..<count).map { _ in Int(random.next() % vocabulary) }) })
      }
      var (prompt, generation) = ([Double](), batches.map { Batch(texts: $0) })
      for round in 0...rounds {
        var begin = SystemFacts.uptime
        try read([generator.text()], promptTokens)
        if round > 0 { prompt.append(Double(promptTokens) / (SystemFacts.uptime - begin)) }
        for index in batches.indices {
          let texts = (0..<batches[index]).map { _ in generator.text() }
          try read(texts, 1)
          begin = SystemFacts.uptime
          for _ in 0..<generatedTokens { try read(texts, 1) }
          let seconds = SystemFacts.uptime - begin
          if round > 0 { generation[index].rates.append(Double(generatedTokens * texts.count) / seconds) }
          try Interruption.check("stopped after \(round) rounds")
        }
      }
      cache?.keep(resident, of: model)
      return GenerationSpeed(
        secondsToLoad: loaded - start, prompt: prompt, generation: generation, activations: model.activationWords)
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
