import StrictJSON
import Testing

@testable import Tokenizers

/// The pipelines of published families against the reference library, on awkward texts.
@Suite struct FamilyTests {
  private static let vectors = Vectors.load("families")
  private static let texts = vectors["texts"]?.arrayValue?.compactMap(\.stringValue) ?? []
  private static let families = vectors["families"]?.arrayValue ?? []
  static let names: [String] = families.compactMap { $0["name"]?.stringValue }

  /// The tokenizer that a family's entry describes.
  static func tokenizer(_ name: String) throws -> (Tokenizer, JSONValue) {
    let family = try #require(families.first { $0["name"]?.stringValue == name })
    let base = try #require(family["model"]?.stringValue)
    var model = try #require(vectors["models"]?[base]?.objectValue)
    for change in family["changes"]?.objectValue?.members ?? [] { model[change.name] = change.value }
    var file: JSONObject = ["version": "1.0", "model": .object(model)]
    for part in ["added_tokens", "normalizer", "pre_tokenizer", "decoder"] { file[part] = family[part] }
    return (try Vectors.tokenizer(file), family)
  }

  @Test(arguments: names) func `a family's tokenizer agrees with the reference on every text`(_ name: String) throws {
    let (tokenizer, family) = try Self.tokenizer(name)
    let hashes = Array(try #require(family["ids"]?.stringValue).utf8)
    let decodedHashes = Array(try #require(family["decoded"]?.stringValue).utf8)
    #expect(Self.texts.count == 320 && hashes.count == 8 * Self.texts.count)
    let first = tokenizer.encode(Self.texts[3], addingSpecialTokens: false)
    #expect(first == family["first"]?.ids)
    for (index, text) in Self.texts.enumerated() {
      let ids = tokenizer.encode(text, addingSpecialTokens: false)
      let bytes = ids.flatMap { id in (0..<4).map { UInt8(truncatingIfNeeded: id >> (8 * $0)) } }
      let expected = hashes[8 * index..<8 * index + 8]
      #expect(
        Self.digest(bytes).elementsEqual(expected), "text \(index): \(text.debugDescription): \(pieces(ids, tokenizer))"
      )
      let decoded = Self.digest(Array(tokenizer.decode(ids, skippingSpecialTokens: false).utf8))
      #expect(decoded.elementsEqual(decodedHashes[8 * index..<8 * index + 8]), "text \(index)")
    }
  }

  private func pieces(_ ids: [Int], _ tokenizer: Tokenizer) -> [String] { ids.map { tokenizer.token(of: $0) ?? "?" } }

  /// FNV-1a in 32 bits, as eight digits.
  private static func digest(_ bytes: [UInt8]) -> [UInt8] {
    let value = bytes.reduce(UInt32(0x811C_9DC5)) { ($0 ^ UInt32($1)) &* 0x0100_0193 }
    let digits = String(value, radix: 16)
    return Array((String(repeating: "0", count: 8 - digits.count) + digits).utf8)
  }

  @Test func `the families are those that the architectures need`() {
    #expect(Self.names.count == 24 && Set(Self.names).count == 24)
  }
}
