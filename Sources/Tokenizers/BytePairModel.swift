import StrictJSON

/// Byte-pair encoding: a word's scalars become tokens, and neighbours join in the order of the merges' ranks.
struct BytePairModel: Sendable {
  let vocabulary: Vocabulary
  let merges: MergeTable
  /// The token of scalars that have none.
  let unknown: Int32?
  /// Whether a run of unknown scalars is one token.
  let fusesUnknown: Bool
  /// The tokens `<0x00>` to `<0xFF>`, -1 where missing; empty without byte fallback.
  let byteTokens: [Int32]
  /// Whether a word that is a token as a whole skips the merges.
  let ignoresMerges: Bool
  let continuingPrefix: [UInt8]
  let endSuffix: [UInt8]
  /// The tokens of one scalar: a table for the low scalars, a dictionary for the others.
  private let lowSymbols: [Int32]
  private let highSymbols: [UInt32: Int32]
  private static let lowCount = 0x800

  init(_ component: Component, added: [AddedToken]) throws(TokenizerError) {
    // Old files of GPT-2 name no type; the merges tell what it is.
    let isNamed = component.value("type") != nil
    guard isNamed ? try component.string("type") == "BPE" : component.value("merges") != nil else {
      if isNamed { throw try component.unsupported(["BPE"]) }
      throw component.malformed("type", expected: "a model type", found: "nothing")
    }
    if let dropout = component.value("dropout") {
      guard dropout.doubleValue == 0 else {
        throw component.malformed(
          "dropout", expected: "null or 0, as chance has no place in inference",
          found: dropout.doubleValue.map { "\($0)" } ?? dropout.typeName)
      }
    }
    let vocabulary = try Vocabulary(component)
    continuingPrefix = Array((try component.optionalString("continuing_subword_prefix") ?? "").utf8)
    endSuffix = Array((try component.optionalString("end_of_word_suffix") ?? "").utf8)
    merges = try MergeTable(component, vocabulary: vocabulary, prefix: continuingPrefix)
    fusesUnknown = try component.flag("fuse_unk", default: false)
    ignoresMerges = try component.flag("ignore_merges", default: false)
    if let token = try component.optionalString("unk_token") {
      let content = Array(token.utf8)
      guard let id = vocabulary[content] ?? added.first(where: { $0.bytes == content })?.id else {
        throw component.malformed("unk_token", expected: "a token of the vocabulary", found: "\"\(token)\"")
      }
      unknown = Int32(id)
    } else {
      unknown = nil
    }
    byteTokens = try component.flag("byte_fallback", default: false) ? Self.byteTokens(of: vocabulary) : []
    (lowSymbols, highSymbols) = Self.symbols(vocabulary.singleScalars)
    self.vocabulary = vocabulary
  }

  /// A model without affixes.
  ///
  /// - Parameter joinable: the tokens that merging can give; others are never a scalar's own.
  init(
    vocabulary: Vocabulary, merges: MergeTable, unknown: Int32?, fusesUnknown: Bool, hasByteFallback: Bool,
    joinable: [[UInt8]: Int32]
  ) {
    self.vocabulary = vocabulary
    self.merges = merges
    self.unknown = unknown
    self.fusesUnknown = fusesUnknown
    byteTokens = hasByteFallback ? Self.byteTokens(of: vocabulary) : []
    ignoresMerges = false
    (continuingPrefix, endSuffix) = ([], [])
    (lowSymbols, highSymbols) = Self.symbols(
      vocabulary.singleScalars.filter { joinable[Array(String(scalars: [$0.scalar]).utf8)] == $0.id })
  }

  private static func byteTokens(of vocabulary: Vocabulary) -> [Int32] {
    (UInt8.min...UInt8.max).map { byte in
      let digits = String(byte, radix: 16, uppercase: true)
      return Int32(vocabulary["<0x" + (digits.count < 2 ? "0" : "") + digits + ">"] ?? -1)
    }
  }

  private static func symbols(
    _ scalars: [(scalar: Unicode.Scalar, id: Int32)]
  ) -> (low: [Int32], high: [UInt32: Int32]) {
    var low = [Int32](repeating: -1, count: lowCount)
    var high: [UInt32: Int32] = [:]
    for (scalar, id) in scalars {
      if scalar.value < lowCount { low[Int(scalar.value)] = id } else { high[scalar.value] = id }
    }
    return (low, high)
  }

  /// Appends the ids of each piece of a text.
  func encode(_ pieces: Pieces, into ids: inout [Int]) {
    var word = MergingWord()
    var spelling: [UInt8] = []
    for range in pieces.ranges {
      if ignoresMerges {
        spelling.removeAll(keepingCapacity: true)
        for index in range { pieces.text[index].forEachByte { spelling.append($0) } }
        if let id = vocabulary[spelling] {
          ids.append(id)
          continue
        }
      }
      word.symbols.removeAll(keepingCapacity: true)
      appendSymbols(of: pieces.text, range, to: &word.symbols)
      word.merge(by: merges)
      for symbol in word.symbols { ids.append(Int(symbol)) }
    }
  }

  /// Appends the token of each scalar of a word.
  ///
  /// An unknown scalar becomes its bytes' tokens where all of them exist, else the unknown token, else nothing.
  /// As in the reference, a pending unknown token is written only before the next *known* scalar.
  private func appendSymbols(of text: [Unicode.Scalar], _ range: Range<Int>, to symbols: inout [Int32]) {
    var isUnknownPending = false
    let isPlain = continuingPrefix.isEmpty && endSuffix.isEmpty
    for index in range {
      let scalar = text[index]
      let affixed =
        isPlain
        ? nil : affixedSpelling(scalar, isFirst: index == range.lowerBound, isLast: index == range.upperBound - 1)
      let id = affixed.map { Int32(vocabulary[$0] ?? -1) } ?? symbol(of: scalar)
      if id >= 0 {
        if isUnknownPending, let unknown { symbols.append(unknown) }
        isUnknownPending = false
        symbols.append(id)
        continue
      }
      if !byteTokens.isEmpty {
        let count = symbols.count
        var isComplete = true
        let append = { (byte: UInt8) in
          let id = byteTokens[Int(byte)]
          if id < 0 { isComplete = false }
          symbols.append(id)
        }
        if let affixed { affixed.forEach(append) } else { scalar.forEachByte(append) }
        if isComplete { continue }
        symbols.removeSubrange(count...)
      }
      if isUnknownPending, !fusesUnknown, let unknown { symbols.append(unknown) }
      isUnknownPending = unknown != nil
    }
    if isUnknownPending, let unknown { symbols.append(unknown) }
  }

  private func symbol(of scalar: Unicode.Scalar) -> Int32 {
    scalar.value < Self.lowCount ? lowSymbols[Int(scalar.value)] : highSymbols[scalar.value] ?? -1
  }

  private func affixedSpelling(_ scalar: Unicode.Scalar, isFirst: Bool, isLast: Bool) -> [UInt8] {
    var bytes = isFirst ? [] : continuingPrefix
    scalar.forEachByte { bytes.append($0) }
    if isLast { bytes += endSuffix }
    return bytes
  }
}
