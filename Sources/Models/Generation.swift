internal import Kernels
internal import Tensors

/// A text that a ``Generator`` continues: what the layers remember of it, and how its tokens are drawn.
public final class GeneratedText {
  /// How its tokens are drawn.
  public let sampling: Sampling
  fileprivate let caches: [KeyValueCache]
  fileprivate var random: SplitMix64

  fileprivate init(_ sampling: Sampling, layers: Int) {
    self.sampling = sampling
    caches = (0..<layers).map { _ in KeyValueCache() }
    random = SplitMix64(seed: sampling.seed)
  }

  /// Tokens read so far.
  public var length: Int { caches.first?.length ?? 0 }
}

/// A model that continues texts, one or several at a time: each reading of the weights serves all of them.
///
/// A text's logits, and with them its tokens, are the same in every bit alone and beside any others. Attention is each
/// text's own affair, in the same steps. A linear gives a row the same bits whatever the number of rows where integer
/// codes meet activations rounded to int8, and elsewhere for one row of each of up to ``mostTexts`` texts. Hence prompts
/// are read together only where all linears are of the first sort, and one after the other in other models.
///
/// Which tokens are read in one call does matter: the same prompt in two parts is rounded differently.
public struct Generator {
  /// Tokens of one text that are to be read.
  public struct Read {
    /// The text.
    public let text: GeneratedText
    /// The prompt at first, then the token drawn last.
    public let ids: [Int]

    /// At least one token.
    public init(_ text: GeneratedText, _ ids: [Int]) {
      precondition(!ids.isEmpty, "no tokens to read")
      self.text = text
      self.ids = ids
    }
  }

  /// Most texts that are continued at a time.
  public static let mostTexts = Linear.mostBatchRows
  /// Most tokens that move through the layers together; a longer prompt is read in parts.
  static let mostRows = 512

  private let model: ResidentModel
  private let positions: Int
  private let tables: [RotaryTable]
  private let readsPromptsTogether: Bool

  /// A generator for texts of at most so many tokens.
  public init(_ model: ResidentModel, positions: Int) throws(ModelError) {
    let maximum = model.configuration.maximumPositions
    guard positions <= maximum else { throw .tooLong(length: positions, maximum: maximum) }
    self.model = model
    self.positions = positions
    tables = model.rotaryTables(positions)
    readsPromptsTogether = model.layers.allSatisfy(\.hasIndependentRows)
  }

  /// Loads a model.
  public init(_ model: LanguageModel, positions: Int) throws(ModelError) {
    try self.init(try ResidentModel(model), positions: positions)
  }

  /// A text of which nothing has been read yet.
  public func text(_ sampling: Sampling = Sampling()) -> GeneratedText {
    GeneratedText(sampling, layers: model.layers.count)
  }

  /// Reads tokens of up to ``mostTexts`` texts, each named once, and draws the token that follows each; `nil` where it
  /// ends the text.
  public func next(_ reads: [Read]) throws(ModelError) -> [Int?] {
    precondition(reads.count <= Self.mostTexts, "\(reads.count) texts, at most \(Self.mostTexts)")
    return try Parallel.withAwakeThreads { () throws(ModelError) in
      let logits = try self.logits(reads)
      let (samplings, states) = (reads.map(\.text.sampling), reads.map(\.text.random))
      let drawn = Parallel.map(reads.count) { index in
        var random = states[index]
        return (id: samplings[index].token(from: logits.row(index), using: &random), random: random)
      }
      return zip(reads, drawn).map { read, drawn in
        read.text.random = drawn.random
        return model.configuration.endTokens.contains(drawn.id) ? nil : drawn.id
      }
    }
  }

  /// Logits of the tokens that follow, `[reads.count, vocabularySize]`.
  func logits(_ reads: [Read]) throws(ModelError) -> Matrix {
    for read in reads where read.text.length + read.ids.count > positions {
      throw .tooLong(length: read.text.length + read.ids.count, maximum: positions)
    }
    let columns = model.configuration.hiddenSize
    var last = Matrix(rows: reads.count, columns: columns)
    for pass in ReadingPass.all(reads.map(\.ids.count), together: readsPromptsTogether, rows: Self.mostRows) {
      let states = try self.last(
        pass.parts.flatMap { reads[$0.read].ids[$0.range] }, pass.parts.map { (reads[$0.read].text, $0.range.count) })
      for (row, part) in pass.parts.enumerated() {
        last.values.replaceSubrange(part.read * columns..<(part.read + 1) * columns, with: states.row(row))
      }
    }
    return model.head(last)
  }

  /// Hidden states after the last token of each text, `[texts.count, hiddenSize]`; the tokens lie one text after the
  /// other.
  private func last(_ ids: [Int], _ texts: [(GeneratedText, count: Int)]) throws(ModelError) -> Matrix {
    let sequences = Sequences(lengths: texts.map(\.count))
    var hidden = HiddenStates(try model.embedding(ids), sequences)
    var hasLastOnly = ids.count == texts.count
    func takeLast() throws(ModelError) {
      guard !hasLastOnly else { return }
      let picked = try hidden.read(0).gathered(rows: sequences.ranges.map { $0.upperBound - 1 })
      hidden = HiddenStates(picked, Sequences(lengths: texts.map { _ in 1 }))
      hasLastOnly = true
    }
    for (index, layer) in model.layers.enumerated() {
      let caches = texts.map(\.0.caches[index])
      for block in layer.configuration.blocks {
        // Nobody reads what the last feed-forward would make of earlier tokens.
        if index == model.layers.count - 1, block == .feedForward { try takeLast() }
        try layer.advance(hidden, through: block, tables: tables, caches: caches)
      }
    }
    try takeLast()
    return try hidden.read(0)
  }
}

/// Tokens that move through the layers together.
struct ReadingPass: Equatable {
  /// Some tokens of one text.
  struct Part: Equatable {
    /// Which text.
    let read: Int
    /// Which of the tokens to be read.
    let range: Range<Int>
  }

  /// At most one of each text.
  var parts: [Part] = []

  /// Cuts what is to be read of each text into parts, by its length alone, and puts parts together.
  ///
  /// - Parameters:
  ///   - together: whether parts of several tokens may move together; single tokens always may.
  ///   - limit: most tokens that move together.
  static func all(_ lengths: [Int], together: Bool, rows limit: Int) -> [ReadingPass] {
    var passes: [ReadingPass] = []
    for start in stride(from: 0, to: lengths.max() ?? 0, by: limit) {
      let parts = lengths.indices.filter { lengths[$0] > start }.map { read in
        Part(read: read, range: start..<min(lengths[read], start + limit))
      }
      let singles = parts.filter { $0.range.count == 1 }
      if !singles.isEmpty { passes.append(ReadingPass(parts: singles)) }
      var rows = limit
      for part in parts where part.range.count > 1 {
        rows += part.range.count
        if rows > limit || !together {
          passes.append(ReadingPass())
          rows = part.range.count
        }
        passes[passes.count - 1].parts.append(part)
      }
    }
    return passes
  }
}
