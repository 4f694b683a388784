internal import Foundation
public import Models
internal import Tokenizers

extension TextGeneration {
  /// What became of one of several prompts.
  public struct Continuation: Sendable {
    /// Which prompt, counted from 0.
    public let index: Int
    /// What follows the prompt.
    public let text: String
    /// Tokens of the prompt.
    public let promptTokens: Int
    /// Tokens made.
    public let tokens: Int
    /// Whether the model ended the text.
    public let finish: ContinuousBatch.Finish
  }

  /// What several prompts took.
  public struct BatchStatistics: Sendable {
    /// Number of prompts.
    public let texts: Int
    /// Tokens of all prompts.
    public let promptTokens: Int
    /// Tokens made.
    public let tokens: Int
    /// From the call until the model is in memory.
    public let secondsToLoad: Double
    /// Reading prompts and making tokens.
    public let seconds: Double
    /// Tokens made a second, all texts together, prompts included.
    public let tokensPerSecond: Double
    /// Tokens made a second of one text, from its first to its last: the mean over texts of two tokens or more, or 0.
    public let tokensPerSecondOfText: Double
    /// Bytes of keys and values that a text in the making holds for each of its tokens.
    public let cacheBytesPerToken: Int
  }

  /// Continues the prompts of a file, several at a time.
  ///
  /// What becomes of a prompt depends neither on the others nor on the size of the batch: it is what
  /// ``run(model:adapter:prompt:maximumTokens:sampling:activations:weightCache:note:write:)`` makes of it with the seed
  /// that is the sampling's plus the prompt's index.
  ///
  /// - Parameters:
  ///   - prompts: a UTF-8 file with a JSON string or object a line: `prompt` or `text` is a prompt as it is, `messages`
  ///     a dialogue for the model's chat template.
  ///   - batch: prompts that are continued at a time, 1 … ``Generator/mostTexts``; one that ends makes room for the next.
  ///   - weightCache: a folder for what loading makes of an artifact, which later runs map.
  ///   - note: called with what a person should know about that.
  ///   - write: called for every prompt, in the order of the file, as soon as it and those before it are done.
  public static func run(
    model name: String, adapter: String? = nil, prompts: String, batch size: Int, maximumTokens: Int,
    sampling: Sampling, activations: Activations = .auto, weightCache: String? = nil,
    note: @escaping (String) -> Void = { _ in }, write: (Continuation) -> Void
  ) throws -> BatchStatistics {
    do {
      let start = SystemFacts.uptime
      let lines = try PromptLine.all(of: prompts)
      var model = try ModelInputs.openModel(name, adapter: adapter)
      try model.prepareForGeneration(activations)
      var cache = try WeightCacheFolder(weightCache, of: model, note: note)
      let (inputs, resident) = try loaded(model, &cache)
      let ids = try PromptLine.ids(lines, inputs)
      let maximum = model.configuration.maximumPositions
      let requests = ids.enumerated().map { index, ids in
        var own = sampling
        own.seed &+= UInt64(index)
        return ContinuousBatch.Request(
          ids, maximumTokens: min(maximumTokens, maximum - ids.count), sampling: own)
      }
      let longest = requests.map { $0.ids.count + $0.maximumTokens }.max() ?? 0
      let generator = try Generator(resident, positions: longest)
      let loaded = SystemFacts.uptime
      var batch = ContinuousBatch(generator, requests, size: size)
      var texts = Texts(inputs, ids)
      while let events = try batch.next() {
        for event in events { texts.add(event, at: SystemFacts.uptime) }
        while let next = texts.next() { write(next) }
        try Interruption.check("stopped after \(texts.written) of \(requests.count) prompts")
      }
      let seconds = SystemFacts.uptime - loaded
      cache?.keep(resident, of: model)
      return BatchStatistics(
        texts: ids.count, promptTokens: ids.reduce(0) { $0 + $1.count }, tokens: texts.tokens,
        secondsToLoad: loaded - start, seconds: seconds,
        tokensPerSecond: seconds > 0 ? Double(texts.tokens) / seconds : 0, tokensPerSecondOfText: texts.meanRate,
        cacheBytesPerToken: model.configuration.cacheBytesPerToken)
    } catch { throw PipelineError.wrapping(error) }
  }

  /// Texts in the making, and those that wait for earlier ones.
  private struct Texts {
    private struct Making {
      var decoder: StreamingDecoder
      var text = ""
      var tokens = 0
      var began = 0.0
    }

    private let inputs: ModelInputs
    private let prompts: [[Int]]
    private var making: [Int: Making] = [:]
    private var done: [Int: Continuation] = [:]
    private var rates: [Double] = []
    private(set) var written = 0
    private(set) var tokens = 0

    init(_ inputs: ModelInputs, _ prompts: [[Int]]) {
      self.inputs = inputs
      self.prompts = prompts
    }

    var meanRate: Double { rates.isEmpty ? 0 : rates.reduce(0, +) / Double(rates.count) }

    mutating func add(_ event: ContinuousBatch.Event, at time: Double) {
      let (index, prompt) = (event.request, prompts[event.request])
      var current = making[index] ?? begun(prompt)
      if let token = event.token {
        if current.tokens == 0 { current.began = time }
        current.text += current.decoder.append(token)
        current.tokens += 1
        tokens += 1
      }
      making[index] = current
      guard let finish = event.finish else { return }
      making[index] = nil
      current.text += current.decoder.finish()
      if current.tokens > 1, time > current.began { rates.append(Double(current.tokens - 1) / (time - current.began)) }
      done[index] = Continuation(
        index: index, text: current.text, promptTokens: prompt.count, tokens: current.tokens, finish: finish)
    }

    private func begun(_ prompt: [Int]) -> Making {
      var decoder = inputs.tokenizer.streamingDecoder(skippingSpecialTokens: true)
      // The prompt goes through the decoder too: what follows may need its last bytes.
      for id in prompt { _ = decoder.append(id) }
      return Making(decoder: decoder)
    }

    /// The next in order, if it is done.
    mutating func next() -> Continuation? {
      guard let next = done.removeValue(forKey: written) else { return nil }
      written += 1
      return next
    }
  }
}

extension ModelConfiguration {
  /// Bytes of keys and values, in float, that generation holds for a token of a text.
  public var cacheBytesPerToken: Int {
    let numbers = layers.map { layer in
      switch layer.attention {
      case .grouped(let a): 2 * a.keyValueHeads * a.headDimension
      case .latent(let a): a.heads * (a.headDimension + a.valueDimension)
      }
    }
    return numbers.reduce(0, +) * MemoryLayout<Float>.size
  }
}
