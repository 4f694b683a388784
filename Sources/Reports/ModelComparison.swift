internal import Kernels
public import Models
internal import Tensors

/// Why two models cannot be compared.
public enum ComparisonError: Error, Equatable, CustomStringConvertible {
  /// Their tokens do not mean the same.
  case differentVocabularies(reference: Int, candidate: Int)
  /// No window holds two tokens.
  case nothingToScore

  /// One sentence.
  public var description: String {
    switch self {
    case .differentVocabularies(let reference, let candidate):
      "the models' vocabularies differ: \(reference) tokens and \(candidate)"
    case .nothingToScore: "the text has no window of two tokens, so there is nothing to score"
    }
  }
}

/// Runs two models over the same windows of text, layer by layer, and compares what comes out.
///
/// In memory are one layer of each model, its experts one by one, and the hidden states of all windows; whole logits never are.
public struct ModelComparison: Sendable {
  /// What was measured.
  public struct Result: Sendable {
    /// Divergence, perplexities and agreement.
    public var summary: ComparisonSummary
    /// Every linear of the candidate's decoder layers.
    public var layers: [Report.Layer]
  }

  /// Rows whose logits are in memory at a time.
  static let logitRows = 128
  private let reference: LanguageModel
  private let candidate: LanguageModel?
  private let windows: [[Int]]
  private let seed: UInt64
  private let spillFolder: String?

  /// A comparison; without a candidate the reference's perplexity alone is measured.
  ///
  /// - Parameters:
  ///   - windows: token ids; windows of fewer than two are left out, since nothing is predicted in them.
  ///   - seed: of the bootstrap.
  ///   - spillFolder: where hidden states wait in a file; `nil` keeps them in memory.
  public init(
    reference: LanguageModel, candidate: LanguageModel?, windows: [[Int]], seed: UInt64 = 0,
    spillFolder: String? = nil
  ) throws(ComparisonError) {
    if let candidate, candidate.configuration.vocabularySize != reference.configuration.vocabularySize {
      throw .differentVocabularies(
        reference: reference.configuration.vocabularySize, candidate: candidate.configuration.vocabularySize)
    }
    self.reference = reference
    self.candidate = candidate
    self.windows = windows.filter { $0.count >= 2 }
    self.seed = seed
    self.spillFolder = spillFolder
  }

  /// Measures.
  ///
  /// - Parameter progress: called with the units done, all units, and what is done next; may throw to stop.
  public func run(progress: (Int, Int, String) throws -> Void) throws -> Result {
    guard !windows.isEmpty else { throw ComparisonError.nothingToScore }
    let chunks = Sequences.chunks(windows)
    let longest = windows.map(\.count).max() ?? 0
    let models = [reference] + (candidate.map { [$0] } ?? [])
    var streams: [HiddenStates] = []
    for model in models {
      guard longest <= model.configuration.maximumPositions else {
        throw ModelError.tooLong(length: longest, maximum: model.configuration.maximumPositions)
      }
      let embedding = try model.embedding()
      let states = try HiddenStates(
        chunks: chunks.map { Sequences(lengths: $0.map(\.count)) }, columns: model.configuration.hiddenSize,
        spillFolder: spillFolder)
      for (index, chunk) in chunks.enumerated() { try states.write(try embedding(chunk.flatMap(\.self)), to: index) }
      streams.append(states)
    }
    let tables = models.map { $0.rotaryTables(positions: longest) }
    let layers = models.map(\.configuration.layerCount)
    let units = (layers.max() ?? 0) + 1
    var linears: [Report.Layer] = []
    for index in 0..<(layers.max() ?? 0) {
      try progress(index, units, "layer \(index)")
      var loaded: [DecoderLayer?] = []
      for (model, count) in zip(models, layers) { loaded.append(index < count ? try model.layer(index) : nil) }
      if let candidate, let old = loaded[0], let new = loaded[1] {
        linears += try LinearComparison(candidate, layer: index).compare(old, new, try sample(streams[0]), tables)
      }
      for (stream, layer) in loaded.enumerated() { try layer?(streams[stream], tables: tables[stream]) }
      for model in models { model.discardPages() }
      FreeMemory.giveBack()
    }
    try progress(units - 1, units, "logits")
    guard let summary = try score(models, streams, chunks) else { throw ComparisonError.nothingToScore }
    return Result(summary: summary, layers: linears)
  }

  private func score(
    _ models: [LanguageModel], _ streams: [HiddenStates], _ chunks: [[[Int]]]
  ) throws -> ComparisonSummary? {
    let heads = try models.map { try $0.head() }
    var statistics = ComparisonStatistics(seed: seed)
    for (chunk, windows) in chunks.enumerated() {
      let states = try streams.map { try $0.read(chunk) }
      var start = 0
      for window in windows {
        var scores = TokenScores()
        for first in stride(from: 0, to: window.count - 1, by: Self.logitRows) {
          let last = min(first + Self.logitRows, window.count - 1)
          let logits = zip(heads, states).map { head, states in head(states.rows(start + first..<start + last)) }
          scores.append(
            try TokenScores(
              reference: logits[0], candidate: logits.count > 1 ? logits[1] : nil,
              targets: Array(window[first + 1...last])))
        }
        statistics.add(scores)
        start += window.count
      }
    }
    return statistics.summary()
  }

  /// The first windows, up to ``LinearComparison/tokens``.
  private func sample(_ stream: HiddenStates) throws -> HiddenStates {
    var lengths: [Int] = []
    for range in stream.chunks[0].ranges
    where lengths.isEmpty || lengths.reduce(0, +) + range.count <= LinearComparison.tokens {
      lengths.append(range.count)
    }
    let rows = lengths.reduce(0, +)
    return HiddenStates(try stream.read(0).rows(0..<rows), Sequences(lengths: lengths))
  }
}
