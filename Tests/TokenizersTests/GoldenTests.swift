import Foundation
import StrictJSON
import TestSupport
import Testing

@testable import Tokenizers

/// Real tokenizers against the reference library and llama.cpp; they are too large for the repository.
@Suite(.enabled(if: SharedFolder.exists, "needs the shared folder's tokenizers")) struct GoldenTests {
  private static func data(_ path: String) throws -> Data {
    try Data(contentsOf: URL(filePath: try #require(SharedFolder.path) + "/" + path))
  }

  private static func tokenizer(_ folder: String) throws -> Tokenizer {
    try Tokenizer(json: data(folder + "/tokenizer.json"), file: folder)
  }

  @Test(arguments: ["gpt2", "llama2", "llama3.1", "qwen2.5", "deepseek-v3"])
  func `every text of the golden file has the reference's ids and comes back`(_ name: String) throws {
    let golden = try JSONValue(parsing: Self.data("tokenizers/golden.json"))
    let texts = try #require(golden["texts"]?.arrayValue).compactMap(\.stringValue)
    let rows = try #require(golden["ids"]?[name]?.arrayValue)
    let decoded = try #require(Vectors.shared["decoded"]?[name])
    let tokenizer = try Self.tokenizer("tokenizers/" + name)
    #expect(texts.count == 120 && rows.count == 120)
    for (index, (text, row)) in zip(texts, rows).enumerated() {
      let ids = try #require(row.ids)
      #expect(tokenizer.encode(text, addingSpecialTokens: false) == ids, "text \(index)")
      for (key, skips) in [("", false), ("skipped", true)] {
        let expected = decoded["\(index)\(key)"]?.stringValue ?? text
        #expect(sameScalars(tokenizer.decode(ids, skippingSpecialTokens: skips), expected), "text \(index)")
        var stream = tokenizer.streamingDecoder(skippingSpecialTokens: skips)
        let parts = ids.map { stream.append($0) } + [stream.finish()]
        #expect(sameScalars(parts.joined(), expected), "text \(index)")
      }
    }
  }

  @Test(arguments: ["pocket-qwen2", "pocket-deepseek", "stories260K", "babyllama-tok361"])
  func `the small models' tokenizers agree with the reference`(_ name: String) throws {
    let golden = try JSONValue(parsing: Self.data("tokenizers/golden.json"))
    let texts = try #require(golden["texts"]?.arrayValue).compactMap(\.stringValue)
    let rows = try #require(Vectors.shared["models"]?[name]?.objectValue).members
    let tokenizer = try Self.tokenizer("models/" + name)
    #expect(rows.count > 30)
    for row in rows {
      let text = texts[try #require(Int(row.name))]
      let ids = try #require(row.value["ids"]?.ids)
      #expect(tokenizer.encode(text, addingSpecialTokens: true) == ids, "text \(row.name)")
      let expected = try #require(row.value["decoded"]?.stringValue)
      #expect(sameScalars(tokenizer.decode(ids, skippingSpecialTokens: true), expected), "text \(row.name)")
    }
  }

  @Test(arguments: [
    ("gpt-2", "gpt2"), ("llama-bpe", "llama3.1"), ("qwen2", "qwen2.5"), ("deepseek-r1-qwen", "qwen2.5"),
    ("llama-spm", "llama2"), ("phi-3", "llama2"),
  ])
  func `llama.cpp's vectors come out the same`(_ vector: String, _ name: String) throws {
    let base = "tokenizers/vectors/ggml-vocab-\(vector).gguf"
    let input = String(decoding: try Self.data(base + ".inp"), as: UTF8.self)
    let output = String(decoding: try Self.data(base + ".out"), as: UTF8.self)
    let texts = input.components(separatedBy: "\n__ggml_vocab_test__\n").dropLast()
    let lines = output.components(separatedBy: "\n").prefix(texts.count)
    let tokenizer = try Self.tokenizer("tokenizers/" + name)
    #expect(texts.count == 46 && lines.count == 46)
    for (text, line) in zip(texts, lines) {
      let ids = line.split(separator: " ").compactMap { Int($0) }
      #expect(tokenizer.encode(text, addingSpecialTokens: false) == ids, "\(text.debugDescription)")
    }
  }

  @Test(arguments: ["gpt2", "llama3", "qwen2", "deepseek_v3", "o200k"])
  func `pre-tokenizers cut as Oniguruma does, by hand and by Foundation`(_ name: String) throws {
    let fixture = try JSONValue(parsing: Self.data("facts/fixtures/pretokenizer_golden.json"))
    let patterns = try #require(fixture["patterns"]?[name])
    let sources = patterns.stringValue.map { [$0] } ?? patterns.arrayValue?.compactMap(\.stringValue) ?? []
    let cases = try #require(fixture["cases"]?.arrayValue)
    #expect(cases.count == 164 && !sources.isEmpty)
    for byHand in name == "o200k" ? [false] : [true, false] {
      let steps = try sources.map { source in
        byHand
          ? SplitPattern.known(try #require(KnownPattern(source)))
          : SplitPattern.regex(try ForeignPattern(source, file: "test", place: name))
      }
      for example in cases {
        let text = try #require(example["text"]?.stringValue)
        let expected = try #require(example[name]?.arrayValue).compactMap(\.stringValue)
        var pieces = Pieces(Array(text.unicodeScalars), beginsDocument: true)
        for step in steps { pieces.split(by: step, .isolated, isInverted: false) }
        let found = pieces.ranges.map { String(scalars: pieces.text[$0]) }
        #expect(found.elementsEqual(expected, by: sameScalars), "\(text.debugDescription): \(found)")
      }
    }
  }
}
