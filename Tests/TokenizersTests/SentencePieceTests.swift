import Foundation
import StrictJSON
import TestSupport
import Testing

@testable import Tokenizers

/// `tokenizer.model` files against the library that made them.
@Suite struct SentencePieceTests {
  private static let vectors = Vectors.load("sentencepiece")
  private static let texts = vectors["texts"]?.arrayValue?.compactMap(\.stringValue) ?? []

  private static func bytes(_ name: String) throws -> [UInt8] {
    let text = try #require(vectors["models"]?[name]?["file"]?.stringValue)
    return Array(try #require(Data(base64Encoded: text)))
  }

  private static func tokenizer(_ name: String) throws -> Tokenizer {
    try Tokenizer(sentencePiece: bytes(name), file: name)
  }

  @Test(arguments: ["llama", "gemma", "plain"])
  func `a small model gives the library's ids and texts`(_ name: String) throws {
    let tokenizer = try Self.tokenizer(name)
    let entry = try #require(Self.vectors["models"]?[name])
    let rows = try #require(entry["ids"]?.arrayValue)
    let decoded = try #require(entry["decoded"]?.arrayValue)
    #expect(rows.count == 196 && Self.texts.count == 196)
    for (index, text) in Self.texts.enumerated() {
      // The library never finds control pieces in a text.
      let ids = tokenizer.encode(text, addingSpecialTokens: false, matchingSpecialTokens: false)
      #expect(ids == rows[index].ids, "\(text.debugDescription)")
      // Its mark for unknown characters is a matter of taste.
      guard let expected = decoded[index].stringValue, !expected.contains("\u{2047}") else { continue }
      #expect(sameScalars(tokenizer.decode(ids, skippingSpecialTokens: false), expected), "\(text.debugDescription)")
    }
  }

  @Test func `control pieces are special tokens, and the begin token goes in front`() throws {
    let tokenizer = try Self.tokenizer("llama")
    #expect(tokenizer.specialTokens.map(\.content) == ["<unk>", "<s>", "</s>"])
    let ids = tokenizer.encode("a</s>b", addingSpecialTokens: true)
    #expect(ids.first == 1 && ids.contains(2))
    #expect(tokenizer.decode(ids, skippingSpecialTokens: false) == "<s> a</s> b")
    let json =
      #"{"add_bos_token":false,"add_eos_token":true,"legacy":false,"#
      + #""added_tokens_decoder":{"620":{"content":"<|x|>","lstrip":false,"normalized":false,"rstrip":true,"#
      + #""single_word":false,"special":true}}}"#
    let options = try TokenizerOptions(json: json.utf8, file: "tokenizer_config.json")
    let other = try Tokenizer(sentencePiece: Self.bytes("llama"), file: "t", options: options)
    let found = other.encode("<|x|> b</s>b", addingSpecialTokens: true)
    #expect(found.first == 620 && found.last == 2)
    #expect(other.decode(found, skippingSpecialTokens: false) == "<|x|>b</s>b</s>")
  }

  @Test func `what cannot be read is refused by name`() throws {
    func message(_ bytes: [UInt8], _ options: String? = nil) -> String {
      do {
        let options = try options.map { try TokenizerOptions(json: $0.utf8, file: "c") }
        _ = try Tokenizer(sentencePiece: bytes, file: "t.model", options: options)
        return "accepted"
      } catch { return "\(error)" }
    }
    #expect(
      message(try Self.bytes("unigram")) == "t.model: trainer_spec.model_type: expected one of BPE, found UNIGRAM")
    #expect(message([]) == "t.model: pieces: expected a SentencePiece model with at least one piece, found none")
    #expect(message([0x0A, 0x05, 0x0A]).contains("at most 1 bytes, found 5 bytes"))
    #expect(message(Array("hello".utf8)).hasPrefix("t.model: byte"))
    #expect(
      message(Array("IQ== 0\nIg== 1\n".utf8)).contains("first line: expected a SentencePiece model, found a tiktoken"))
    #expect(message([0x80]).contains("a number that ends"))
    let piece: [UInt8] = [0x0A, 0x03, 0x0A, 0x01, 0x61]
    let bpe: [UInt8] = [0x12, 0x02, 0x18, 0x02]
    #expect(message(piece + bpe) == "t.model: pieces: expected one unknown piece, found 0")
    let mapped: [UInt8] = [0x1A, 0x07, 0x0A, 0x02] + Array("nf".utf8) + [0x12, 0x01, 0x00]
    #expect(message(piece + bpe + mapped) == "t.model: normalizer_spec.name: expected one of identity, found nf")
    #expect(message(piece + piece + bpe).contains("piece 1: expected each piece once, found \"a\" again"))
    #expect(message([0x0A, 0x00] + bpe).contains("piece 0: expected some UTF-8 text, found none"))
    #expect(message(try Self.bytes("llama"), entry("5", "xyzzy")).contains("found \"xyzzy\""))
    #expect(message(try Self.bytes("llama"), entry("05", "x")).contains("found \"05\""))
  }

  private func entry(_ id: String, _ content: String) -> String {
    #"{"added_tokens_decoder":{"\#(id)":{"content":"\#(content)","lstrip":false,"normalized":false,"rstrip":false,"#
      + #""single_word":false,"special":true}}}"#
  }

  @Test func `no damaged file makes the reader trap`() throws {
    let good = Array(try Self.bytes("plain").prefix(3000))
    var generator = SeededGenerator(seed: 7)
    for _ in 0..<400 {
      var bytes = good
      for _ in 0..<Int.random(in: 1...4, using: &generator) {
        bytes[Int.random(in: bytes.indices, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
      }
      bytes.removeLast(Int.random(in: 0..<bytes.count, using: &generator))
      if let tokenizer = try? Tokenizer(sentencePiece: bytes, file: "t") {
        _ = tokenizer.encode("the quick", addingSpecialTokens: true)
      }
    }
  }

  @Test(.enabled(if: SharedFolder.exists, "needs the shared folder's tokenizers"))
  func `Llama 2's two files are one tokenizer but for the special tokens, which are normalized there`() throws {
    let folder = URL(filePath: try #require(SharedFolder.path)).appending(path: "tokenizers")
    let model = try Data(contentsOf: folder.appending(path: "llama2/tokenizer.model"))
    let json = try Data(contentsOf: folder.appending(path: "llama2/tokenizer.json"))
    let one = try Tokenizer(sentencePiece: model, file: "tokenizer.model")
    let other = try Tokenizer(json: json, file: "tokenizer.json")
    #expect(one.vocabularySize == other.vocabularySize)
    #expect(one.addedTokens.map(\.id) == other.addedTokens.map(\.id))
    let golden = try JSONValue(parsing: Data(contentsOf: folder.appending(path: "golden.json")))
    var texts = Self.texts + (golden["texts"]?.arrayValue ?? []).compactMap(\.stringValue)
    let held = folder.deletingLastPathComponent().appending(path: "texts/wikitext2-test.txt")
    texts.append(String(decoding: try Data(contentsOf: held).prefix(100_000), as: UTF8.self))
    #expect(texts.count == 317)
    for text in texts {
      let ids = other.encode(text, addingSpecialTokens: true, matchingSpecialTokens: false)
      #expect(
        one.encode(text, addingSpecialTokens: true, matchingSpecialTokens: false) == ids,
        "\(text.prefix(60).debugDescription)")
      #expect(
        sameScalars(one.decode(ids, skippingSpecialTokens: true), other.decode(ids, skippingSpecialTokens: true)))
    }
  }
}
