internal import Kernels
public import Models
internal import Tokenizers

/// Continues prompts.
public enum TextGeneration {
  /// What it took.
  public struct Statistics: Sendable {
    /// Tokens of the prompt.
    public let promptTokens: Int
    /// Tokens made.
    public let tokens: Int
    /// From the call until the model is in memory.
    public let secondsToLoad: Double
    /// From the call, loading included.
    public let secondsToFirstToken: Double
    /// After the first token.
    public let tokensPerSecond: Double
    /// What linears did to their input, in a few words.
    public let activations: String
  }

  /// What linears do to the activations that they multiply with.
  public enum Activations: String, Sendable, CaseIterable {
    /// ``int8`` where weights are integers and it was not measured to cost too much, float elsewhere.
    case auto
    /// Nothing: the arithmetic of verification.
    case float
    /// Rounded to int8 with a scale for every 32 features; refused where no linear's weights are integers.
    case int8
  }

  /// Generates until the text ends, `maximumTokens` are made or the model's positions are used up.
  ///
  /// - Parameters:
  ///   - weightCache: a folder for what loading makes of an artifact, which later runs map.
  ///   - note: called with what a person should know about that.
  ///   - write: called with each piece of text that is complete.
  public static func run(
    model name: String, adapter: String? = nil, prompt: String, maximumTokens: Int, sampling: Sampling,
    activations: Activations = .auto, weightCache: String? = nil, note: @escaping (String) -> Void = { _ in },
    write: (String) -> Void
  ) throws -> Statistics {
    do {
      let start = SystemFacts.uptime
      var model = try ModelInputs.openModel(name, adapter: adapter)
      try model.prepareForGeneration(activations)
      var cache = try WeightCacheFolder(weightCache, of: model, note: note)
      let (inputs, resident) = try loaded(model, &cache)
      let ids = inputs.prompt(prompt)
      guard !ids.isEmpty else { throw PipelineError.usage("the prompt is empty") }
      let positions = min(ids.count + maximumTokens, model.configuration.maximumPositions)
      guard ids.count < positions else {
        throw PipelineError.input(
          "the prompt has \(ids.count) tokens, the model \(model.configuration.maximumPositions) positions")
      }
      let generator = try Generator(resident, positions: positions)
      var batch = ContinuousBatch(
        generator, [.init(ids, maximumTokens: positions - ids.count, sampling: sampling)], size: 1)
      let loaded = SystemFacts.uptime
      var decoder = inputs.tokenizer.streamingDecoder(skippingSpecialTokens: true)
      // The prompt goes through the decoder too: what follows may need its last bytes.
      for id in ids { _ = decoder.append(id) }
      var made = 0
      var first = 0.0
      while let id = try batch.next()?.first?.token {
        if made == 0 { first = SystemFacts.uptime }
        made += 1
        write(decoder.append(id))
        try Interruption.check("stopped after \(made) tokens")
      }
      write(decoder.finish())
      let end = SystemFacts.uptime
      cache?.keep(resident, of: model)
      if made == 0 { first = end }
      return Statistics(
        promptTokens: ids.count, tokens: made, secondsToLoad: loaded - start, secondsToFirstToken: first - start,
        tokensPerSecond: made > 1 && end > first ? Double(made - 1) / (end - first) : 0,
        activations: model.activationWords)
    } catch { throw PipelineError.wrapping(error) }
  }

  /// The tokenizer, which one thread reads, and meanwhile the weights.
  static func loaded(
    _ model: LanguageModel, _ cache: inout WeightCacheFolder?
  ) throws -> (ModelInputs, ResidentModel) {
    let (inputs, resident) = Parallel.together({ Result { try ModelInputs(model) } }) {
      Result { try cache?.load(model) ?? ResidentModel(model) }
    }
    return (try inputs.get(), try resident.get())
  }
}
