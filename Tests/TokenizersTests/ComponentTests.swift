import StrictJSON
import Testing

@testable import Tokenizers

/// Every component against what the reference library made of the same texts.
@Suite struct ComponentTests {
  @Test(arguments: Vectors.caseNames)
  func `a case of the vectors gives the reference's ids and texts`(_ name: String) throws {
    let vector = try #require(Vectors.cases.first { $0["name"]?.stringValue == name })
    let tokenizer = try Vectors.tokenizer(Vectors.file(of: vector))
    let rows = try #require(vector["rows"]?.arrayValue)
    #expect(rows.count == Vectors.texts.count)
    for (index, (text, row)) in zip(Vectors.texts, rows).enumerated() {
      let ids = try #require(row["ids"]?.ids)
      let full = row["full"]?.ids ?? ids
      let quoted = text.unicodeScalars.map { $0.escaped(asASCII: true) }.joined()
      #expect(tokenizer.encode(text, addingSpecialTokens: false) == ids, "\(quoted)")
      #expect(tokenizer.encode(text, addingSpecialTokens: true) == full, "\(quoted)")

      let decoded = row["decoded"] ?? .string(text)
      let skipped = row["skipped"] ?? decoded
      let size = tokenizer.largestID + 1
      let noise = (0..<6).map { (7 * $0 * $0 + index) % size }
      for (expected, given, skips) in [
        (decoded, ids, false), (skipped, full, true), (row["noise"] ?? .null, noise, false),
      ] {
        // Where the reference crashed there is nothing to compare.
        let result = tokenizer.decode(given, skippingSpecialTokens: skips)
        guard let expected = expected.stringValue else { continue }
        #expect(sameScalars(result, expected), "\(quoted): \(result)")
      }
      if let pieces = row["pieces"]?.arrayValue?.compactMap(\.stringValue) {
        #expect(try self.pieces(of: text, by: vector).elementsEqual(pieces, by: sameScalars), "\(quoted)")
      }
    }
  }

  /// The words before the model sees them.
  private func pieces(of text: String, by vector: JSONValue) throws -> [String] {
    func component(_ name: String) throws -> Component? {
      try vector[name].map { try Component($0, file: "test", path: name) }
    }
    var scalars = Array(text.unicodeScalars)
    if let normalizer = try component("normalizer") { scalars = try Normalizer(normalizer).apply(to: scalars) }
    var pieces = Pieces(scalars, beginsDocument: true)
    if let preTokenizer = try component("pre_tokenizer") { try PreTokenizer(preTokenizer).apply(to: &pieces) }
    return pieces.ranges.map { String(scalars: pieces.text[$0]) }
  }

  @Test func `special tokens in the text can be left as text`() throws {
    let tokenizer = try Vectors.tokenizer("llama2")
    let text = "<s>hi</s>"
    #expect(tokenizer.encode(text, addingSpecialTokens: false).first == 1)
    let ids = tokenizer.encode(text, addingSpecialTokens: false, matchingSpecialTokens: false)
    #expect(!ids.contains(1) && !ids.contains(2))
    #expect(tokenizer.decode(ids, skippingSpecialTokens: true) == text)
  }

  @Test func `tokens and ids are found both ways, byte for byte`() throws {
    let tokenizer = try Vectors.tokenizer("added tokens of two kinds")
    let size = tokenizer.vocabularySize
    #expect(size == 424 && tokenizer.largestID == size - 1)
    for id in 0..<size { #expect(tokenizer.id(of: try #require(tokenizer.token(of: id))) == id) }
    #expect(tokenizer.id(of: "\u{304C}") == 423)
    #expect(tokenizer.id(of: "\u{304B}\u{3099}") == nil)
    #expect(tokenizer.token(of: size) == nil && tokenizer.token(of: -1) == nil)
    #expect(tokenizer.specialTokens.map(\.content) == ["<x>", "<x><y>", "<s>hi", "が"])
    #expect(tokenizer.isSpecial(420) && !tokenizer.isSpecial(5))
  }

  @Test func `ids that no token has are passed over`() throws {
    let tokenizer = try Vectors.tokenizer("gpt2")
    let ids = tokenizer.encode("Hello", addingSpecialTokens: false)
    #expect(tokenizer.decode([-1] + ids + [1 << 40], skippingSpecialTokens: false) == "Hello")
  }

  @Test func `DeepSeek's patterns and the others are matched by hand`() {
    for pattern in KnownPattern.all { #expect(KnownPattern(pattern.source) == pattern) }
    let escaped = KnownPattern.deepSeek.source.replacing("!\"#", with: "!\\\"#")
    #expect(KnownPattern(escaped) == .deepSeek)
    #expect(KnownPattern("\\p{N}{1,4}") == nil)
  }
}
