/// What a SentencePiece `tokenizer.model` holds, as far as encoding needs it.
///
/// The numbers are the fields of `sentencepiece_model.proto`; what a file leaves out has that file's defaults.
struct SentencePieceModel {
  /// What a piece is for.
  enum Kind: UInt64 {
    case normal = 1
    case unknown
    /// Such as `</s>`: never the result of plain text.
    case control
    /// Found in the text as a whole before any merging.
    case userDefined
    case unused
    /// One of `<0x00>` to `<0xFF>`.
    case byte
  }

  /// A token; its id is its place in the list.
  struct Piece {
    var text: [UInt8] = []
    var score: Float = 0
    var kind = Kind.normal
  }

  private(set) var pieces: [Piece] = []
  private var modelType: UInt64 = 1
  private(set) var hasByteFallback = false
  private var suffixesSpaces = false
  /// Ids of the begin and end tokens; -1 for none.
  private(set) var beginID = 1
  private(set) var endID = 2
  private var normalizationName = ""
  private var hasCharacterMap = false
  private(set) var addsPrefix = true
  private(set) var removesExtraSpaces = true
  private var escapesSpaces = true

  init(_ bytes: [UInt8], file: String) throws(TokenizerError) {
    guard !Self.isTiktoken(bytes) else {
      throw .malformed(
        file: file, component: "first line", expected: "a SentencePiece model",
        found: "a tiktoken vocabulary, which lacks its pattern and special tokens: "
          + "save the model's tokenizer.json beside it (transformers' save_pretrained writes one)")
    }
    var message = Protobuf(bytes, file: file)
    while let (field, value) = try message.next() {
      switch (field, value) {
      case (1, .message(let range)): pieces.append(try Self.piece(Protobuf(bytes, in: range, file: file), pieces.count))
      case (2, .message(let range)): try readTrainer(Protobuf(bytes, in: range, file: file))
      case (3, .message(let range)): try readNormalizer(Protobuf(bytes, in: range, file: file))
      default: break
      }
    }
    try check(file)
  }

  /// Whether the first line is a token in base64 and its rank.
  private static func isTiktoken(_ bytes: [UInt8]) -> Bool {
    let parts = bytes.prefix(400).prefix { $0 != 0x0A }.split(separator: 0x20, omittingEmptySubsequences: false)
    guard parts.count == 2, !parts[0].isEmpty, parts[0].count % 4 == 0 else { return false }
    return parts[1].allSatisfy { (0x30...0x39).contains($0) }
      && parts[0].allSatisfy {
        Unicode.Scalar($0).properties.isAlphabetic && $0 < 0x80 || "0123456789+/=".utf8.contains($0)
      }
  }

  private static func piece(_ message: Protobuf, _ index: Int) throws(TokenizerError) -> Piece {
    var message = message
    var piece = Piece()
    while let (field, value) = try message.next() {
      switch (field, value) {
      case (1, .message(let range)): piece.text = Array(message.bytes[range])
      case (2, .bits(let bits)): piece.score = Float(bitPattern: bits)
      case (3, .integer(let number)):
        guard let kind = Kind(rawValue: number) else {
          throw .malformed(
            file: message.file, component: "piece \(index)", expected: "a type from 1 to 6", found: "\(number)")
        }
        piece.kind = kind
      default: break
      }
    }
    return piece
  }

  private mutating func readTrainer(_ message: Protobuf) throws(TokenizerError) {
    var message = message
    while let (field, value) = try message.next() {
      guard case .integer(let number) = value else { continue }
      switch field {
      case 3: modelType = number
      case 24: suffixesSpaces = number != 0
      case 35: hasByteFallback = number != 0
      case 41: beginID = Int(Int32(truncatingIfNeeded: number))
      case 42: endID = Int(Int32(truncatingIfNeeded: number))
      default: break
      }
    }
  }

  private mutating func readNormalizer(_ message: Protobuf) throws(TokenizerError) {
    var message = message
    while let (field, value) = try message.next() {
      switch (field, value) {
      case (1, .message(let range)): normalizationName = String(decoding: message.bytes[range], as: UTF8.self)
      case (2, .message(let range)): hasCharacterMap = !range.isEmpty
      case (3, .integer(let number)): addsPrefix = number != 0
      case (4, .integer(let number)): removesExtraSpaces = number != 0
      case (5, .integer(let number)): escapesSpaces = number != 0
      default: break
      }
    }
  }

  private func check(_ file: String) throws(TokenizerError) {
    func malformed(_ component: String, _ expected: String, _ found: String) -> TokenizerError {
      .malformed(file: file, component: component, expected: expected, found: found)
    }
    guard !pieces.isEmpty else {
      throw malformed("pieces", "a SentencePiece model with at least one piece", "none")
    }
    guard pieces.count <= Vocabulary.idLimit else {
      throw malformed("pieces", "at most \(Vocabulary.idLimit) pieces", "\(pieces.count)")
    }
    guard modelType == 2 else {
      let names: [UInt64: String] = [1: "UNIGRAM", 3: "WORD", 4: "CHAR"]
      throw .unsupported(
        file: file, component: "trainer_spec.model_type", found: names[modelType] ?? "\(modelType)", supported: ["BPE"])
    }
    guard !hasCharacterMap else {
      throw .unsupported(
        file: file, component: "normalizer_spec.name", found: normalizationName, supported: ["identity"])
    }
    guard escapesSpaces, !suffixesSpaces else {
      throw malformed("normalizer_spec", "spaces that become ▁ in front of words", "another treatment of spaces")
    }
    var unknowns = 0
    var seen: Set<[UInt8]> = []
    for (index, piece) in pieces.enumerated() {
      let name = "piece \(index)"
      guard !piece.text.isEmpty, String(validating: piece.text, as: UTF8.self) != nil else {
        throw malformed(name, "some UTF-8 text", piece.text.isEmpty ? "none" : "other bytes")
      }
      guard seen.insert(piece.text).inserted else {
        throw malformed(name, "each piece once", "\"\(String(decoding: piece.text, as: UTF8.self))\" again")
      }
      guard !piece.score.isNaN else { throw malformed(name, "a score", "NaN") }
      if piece.kind == .unknown { unknowns += 1 }
      guard piece.kind != .unused else { throw malformed(name, "a piece in use", "one marked as unused") }
    }
    guard unknowns == 1 else { throw malformed("pieces", "one unknown piece", "\(unknowns)") }
    for (name, id) in [("bos_id", beginID), ("eos_id", endID)] where id >= pieces.count {
      throw malformed("trainer_spec.\(name)", "an id below \(pieces.count)", "\(id)")
    }
  }
}
