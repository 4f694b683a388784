internal import Kernels
public import Models
internal import Tokenizers

/// Continues a prompt.
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
  /// - Parameter write: called with each piece of text that is complete.
  public static func run(
    model name: String, adapter: String? = nil, prompt: String, maximumTokens: Int, sampling: Sampling,
    activations: Activations = .auto, write: (String) -> Void
  ) throws -> Statistics {
    do {
      let start = SystemFacts.uptime
      var model = try ModelInputs.openModel(name, adapter: adapter)
      try model.prepareForGeneration(activations)
      let (inputs, resident) = try loaded(model)
      let ids = inputs.prompt(prompt)
      guard !ids.isEmpty else { throw PipelineError.usage("the prompt is empty") }
      let positions = min(ids.count + maximumTokens, model.configuration.maximumPositions)
      guard ids.count < positions else {
        throw PipelineError.input(
          "the prompt has \(ids.count) tokens, the model \(model.configuration.maximumPositions) positions")
      }
      var generator = try Generator(resident, sampling: sampling, positions: positions)
      let loaded = SystemFacts.uptime
      var decoder = inputs.tokenizer.streamingDecoder(skippingSpecialTokens: true)
      // The prompt goes through the decoder too: what follows may need its last bytes.
      for id in ids { _ = decoder.append(id) }
      var made = 0
      var first = 0.0
      var next = ids
      while ids.count + made < positions, let id = try generator.next(after: next) {
        if made == 0 { first = SystemFacts.uptime }
        made += 1
        write(decoder.append(id))
        next = [id]
        try Interruption.check("stopped after \(made) tokens")
      }
      write(decoder.finish())
      let end = SystemFacts.uptime
      if made == 0 { first = end }
      return Statistics(
        promptTokens: ids.count, tokens: made, secondsToLoad: loaded - start, secondsToFirstToken: first - start,
        tokensPerSecond: made > 1 && end > first ? Double(made - 1) / (end - first) : 0,
        activations: model.activationWords)
    } catch { throw PipelineError.wrapping(error) }
  }

  /// The tokenizer, which one thread reads, and meanwhile the weights.
  private static func loaded(_ model: LanguageModel) throws -> (ModelInputs, ResidentModel) {
    let (inputs, resident) = Parallel.together({ Result { try ModelInputs(model) } }) {
      Result { () throws(ModelError) in try ResidentModel(model) }
    }
    return (try inputs.get(), try resident.get())
  }
}
