internal import CKernels
internal import Checkpoints
internal import Kernels
public import Models
internal import Quantization
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
/// In memory are one layer of each model and the hidden states of all windows; whole logits never are.
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
  /// Tokens on which linears are compared one by one.
  static let linearTokens = 1024

  private let reference: LanguageModel
  private let candidate: LanguageModel?
  private let windows: [[Int]]
  private let seed: UInt64

  /// A comparison; without a candidate the reference's perplexity alone is measured.
  ///
  /// - Parameters:
  ///   - windows: token ids; windows of fewer than two are left out, since nothing is predicted in them.
  ///   - seed: of the bootstrap.
  public init(
    reference: LanguageModel, candidate: LanguageModel?, windows: [[Int]], seed: UInt64 = 0
  ) throws(ComparisonError) {
    if let candidate, candidate.configuration.vocabularySize != reference.configuration.vocabularySize {
      throw .differentVocabularies(
        reference: reference.configuration.vocabularySize, candidate: candidate.configuration.vocabularySize)
    }
    self.reference = reference
    self.candidate = candidate
    self.windows = windows.filter { $0.count >= 2 }
    self.seed = seed
  }

  /// Measures.
  ///
  /// - Parameter progress: called with the units done, all units, and what is done next; may throw to stop.
  public func run(progress: (Int, Int, String) throws -> Void) throws -> Result {
    guard !windows.isEmpty else { throw ComparisonError.nothingToScore }
    let chunks = Sequences.chunks(windows)
    let longest = windows.map(\.count).max() ?? 0
    let models = [reference] + (candidate.map { [$0] } ?? [])
    var streams: [[Matrix]] = []
    for model in models {
      guard longest <= model.configuration.maximumPositions else {
        throw ModelError.tooLong(length: longest, maximum: model.configuration.maximumPositions)
      }
      let embedding = try model.embedding()
      streams.append(try chunks.map { try embedding($0.flatMap(\.self)) })
    }
    let rotaries = models.map { $0.configuration.rotary.table(positions: longest) }
    let layers = models.map(\.configuration.layerCount)
    let units = (layers.max() ?? 0) + 1
    var linears: [Report.Layer] = []
    for index in 0..<(layers.max() ?? 0) {
      try progress(index, units, "layer \(index)")
      var loaded: [DecoderLayer?] = []
      for (model, count) in zip(models, layers) { loaded.append(index < count ? try model.layer(index) : nil) }
      if let candidate, let old = loaded[0], let new = loaded[1] {
        let sample = Self.sample(streams[0], chunks)
        linears += compareLinears(
          old, new, candidate, layer: index, hidden: sample.hidden, sequences: sample.sequences, rotaries[0],
          rotaries[1])
      }
      for (stream, layer) in loaded.enumerated() {
        guard let layer else { continue }
        for chunk in chunks.indices {
          layer(
            &streams[stream][chunk], sequences: Sequences(lengths: chunks[chunk].map(\.count)), rotary: rotaries[stream]
          )
        }
      }
    }
    try progress(units - 1, units, "logits")
    guard let summary = try score(models, streams, chunks) else { throw ComparisonError.nothingToScore }
    return Result(summary: summary, layers: linears)
  }

  private func score(
    _ models: [LanguageModel], _ streams: [[Matrix]], _ chunks: [[[Int]]]
  ) throws -> ComparisonSummary? {
    let heads = try models.map { try $0.head() }
    var statistics = ComparisonStatistics(seed: seed)
    for (chunk, windows) in chunks.enumerated() {
      var start = 0
      for window in windows {
        var scores = TokenScores()
        for first in stride(from: 0, to: window.count - 1, by: Self.logitRows) {
          let last = min(first + Self.logitRows, window.count - 1)
          let logits = zip(heads, streams).map { head, stream in head(stream[chunk].rows(start + first..<start + last))
          }
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

  // MARK: Linears one by one

  /// The first windows, up to ``linearTokens``.
  private static func sample(_ stream: [Matrix], _ chunks: [[[Int]]]) -> (hidden: Matrix, sequences: Sequences) {
    var lengths: [Int] = []
    for window in chunks[0] where lengths.isEmpty || lengths.reduce(0, +) + window.count <= linearTokens {
      lengths.append(window.count)
    }
    return (stream[0].rows(0..<lengths.reduce(0, +)), Sequences(lengths: lengths))
  }

  /// Both layers read the reference's hidden states, so that errors of earlier layers do not count here.
  private func compareLinears(
    _ old: DecoderLayer, _ new: DecoderLayer, _ candidate: LanguageModel, layer: Int, hidden: Matrix,
    sequences: Sequences, _ oldRotary: RotaryTable, _ newRotary: RotaryTable
  ) -> [Report.Layer] {
    var outputs: [String: Matrix] = [:]
    var (copy, result) = (hidden, [Report.Layer]())
    old(&copy, sequences: sequences, rotary: oldRotary) { name, _, output in outputs[name] = output }
    copy = hidden
    let foldable = Set(
      candidate.architecture.folds.compactMap { (fold: Fold) -> String? in
        if case .norm = fold.source { nil } else { fold.sourceName }
      })
    new(&copy, sequences: sequences, rotary: newRotary) { name, _, output in
      guard let expected = outputs[name], expected.columns == output.columns else { return }
      let found = foldable.contains(name) ? Self.gainMatched(output, to: expected) : output
      let full = candidate.layerPrefix(layer) + name
      result.append(
        Report.Layer(
          name: full, scheme: candidate.quantization?.scheme(of: full)?.name ?? candidate.storedTypeName(full),
          bitsPerWeight: candidate.bitsPerWeight(full), sqnr: Self.sqnr(expected, found),
          cosine: Self.cosine(expected, found)))
    }
    return result
  }

  /// Folding divides the outputs of some linears by channel factors and multiplies them back in the next; the factor
  /// of each channel is taken out by least squares before outputs are compared.
  static func gainMatched(_ output: Matrix, to expected: Matrix) -> Matrix {
    var products = [Double](repeating: 0, count: output.columns)
    var squares = products
    for row in 0..<output.rows {
      for column in 0..<output.columns {
        let value = Double(output[row, column])
        products[column] += value * Double(expected[row, column])
        squares[column] += value * value
      }
    }
    let gains = zip(products, squares).map { $1 > 0 ? Float($0 / $1) : 1 }
    var result = output
    for row in 0..<output.rows { for column in 0..<output.columns { result[row, column] *= gains[column] } }
    return result
  }

  /// Signal to quantization noise, in decibels; 200 stands for no noise at all.
  static func sqnr(_ expected: Matrix, _ found: Matrix) -> Double {
    let difference = zip(expected.values, found.values).map { $0 - $1 }
    let noise = ck_sum_of_squares(difference, difference.count)
    let signal = ck_sum_of_squares(expected.values, expected.values.count)
    guard noise > 0, signal > 0 else { return noise > 0 ? 0 : 200 }
    return min(200, 10 * (signal / noise).decimalLogarithm)
  }

  static func cosine(_ expected: Matrix, _ found: Matrix) -> Double {
    let product = ck_dot_double(expected.values, found.values, found.values.count)
    let norms =
      (ck_sum_of_squares(expected.values, expected.values.count)
      * ck_sum_of_squares(found.values, found.values.count)).squareRoot()
    return norms > 0 ? product / norms : 1
  }
}

extension LanguageModel {
  /// Bits that a linear's stored tensors take for each of its weights, its bias left out.
  public func bitsPerWeight(_ linear: String) -> Double {
    let bytes = storedTensors(ofLinear: linear).reduce(0) { $0 + $1.byteCount }
    let (rows, columns) = shape(ofLinear: localName(linear))
    return Double(bytes * 8) / Double(rows * columns)
  }

  /// The element type of a linear that is not quantized.
  func storedTypeName(_ linear: String) -> String {
    checkpoint.weights.info(linear + ".weight")?.dtype.rawValue ?? "?"
  }
}
