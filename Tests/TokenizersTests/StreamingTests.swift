import StrictJSON
import TestSupport
import Testing

@testable import Tokenizers

/// Text that comes out token by token, and round trips of random text.
@Suite struct StreamingTests {
  @Test func `an unfinished character waits for its last byte`() throws {
    let tokenizer = try Vectors.tokenizer("no pre-tokenizer")
    var stream = tokenizer.streamingDecoder(skippingSpecialTokens: false)
    let bytes = ["a", "ð", "Ł", "¦", "Ļ", "b"]  // a 🦙 b in the byte alphabet
    let ids = try bytes.map { try #require(tokenizer.id(of: $0)) }
    #expect(ids.map { stream.append($0) } == ["a", "", "", "", "🦙", "b"])
    #expect(stream.finish() == "")
  }

  @Test func `what never becomes a character is repaired at the end`() throws {
    let tokenizer = try Vectors.tokenizer("no pre-tokenizer")
    var stream = tokenizer.streamingDecoder(skippingSpecialTokens: false)
    let ids = try ["ð", "Ł", "a", "ã"].map { try #require(tokenizer.id(of: $0)) }
    #expect(ids.map { stream.append($0) } == ["", "", "\u{FFFD}a", ""])
    #expect(stream.finish() == "\u{FFFD}")
  }

  @Test func `byte tokens are given out as soon as they are characters`() throws {
    let tokenizer = try Vectors.tokenizer("llama2")
    var stream = tokenizer.streamingDecoder(skippingSpecialTokens: true)
    let tokens = ["<s>", "▁", "<0xC3>", "<0xA9>", "▁", "<0xC3>", "</s>", "<0xE2>"]
    let ids = try tokens.map { try #require(tokenizer.id(of: $0)) }
    // The space that the tokenizer itself put in front is gone.
    #expect(ids.map { stream.append($0) } == ["", "", "", "é", " ", "", "", ""])
    #expect(stream.finish() == "\u{FFFD}\u{FFFD}")
    #expect(stream.append(ids[1]) == "", "ready for another text")
  }

  @Test(arguments: Vectors.caseNames)
  func `the parts together are the whole`(_ name: String) throws {
    let tokenizer = try Vectors.tokenizer(name)
    for text in Vectors.texts {
      let ids = tokenizer.encode(text, addingSpecialTokens: true)
      for skips in [false, true] {
        var stream = tokenizer.streamingDecoder(skippingSpecialTokens: skips)
        let parts = ids.map { stream.append($0) } + [stream.finish()]
        #expect(sameScalars(parts.joined(), tokenizer.decode(ids, skippingSpecialTokens: skips)))
      }
    }
  }

  @Test(arguments: ["gpt2", "gpt2 as a split", "llama3", "deepseek", "o200k", "added tokens of two kinds"])
  func `any text comes back from a byte-level tokenizer`(_ name: String) throws {
    let tokenizer = try Vectors.tokenizer(name)
    for seed in UInt64(0)..<300 {
      var generator = SeededGenerator(seed: seed)
      let text = Self.randomText(using: &generator)
      let ids = tokenizer.encode(text, addingSpecialTokens: false)
      #expect(sameScalars(tokenizer.decode(ids, skippingSpecialTokens: false), text), "seed \(seed)")
    }
  }

  /// Mostly ASCII, with scalars of every plane and of the kinds that pre-tokenizers look at.
  private static func randomText(using generator: inout SeededGenerator) -> String {
    let special = Array("'sſ \u{A0}\r\n\t½日のé\u{301}가\u{11A8}🦙\u{200D}<s>".unicodeScalars)
    let count = Int.random(in: 0..<60, using: &generator)
    return String(
      scalars: (0..<count).map { _ in
        switch Int.random(in: 0..<4, using: &generator) {
        case 0: Unicode.Scalar(UInt32.random(in: 0...0x10FFFF, using: &generator)) ?? "x"
        case 1: special.randomElement(using: &generator) ?? "x"
        default: Unicode.Scalar(UInt8.random(in: 0...127, using: &generator))
        }
      })
  }

  @Test func `long words are merged as short ones are`() throws {
    let tokenizer = try Vectors.tokenizer("no pre-tokenizer")
    // A letter in between that is in no merge keeps the parts apart: together they are one long word.
    let parts = ["Hello", "world", "quick", "abababab", "comment", "lines"]
    let separator = "\u{1}"
    let ids = parts.map { tokenizer.encode($0, addingSpecialTokens: false) }
    let long = Array(repeating: parts, count: 50).joined().joined(separator: separator)
    let bar = tokenizer.encode(separator, addingSpecialTokens: false)
    let expected = Array(Array(repeating: ids, count: 50).joined().joined(separator: bar))
    #expect(tokenizer.encode(long, addingSpecialTokens: false) == expected)
  }

  @Test func `a megabyte without a space is encoded in a moment`() throws {
    let tokenizer = try Vectors.tokenizer("no pre-tokenizer")
    let text = String(repeating: "ab", count: 1 << 19)
    let clock = ContinuousClock()
    var ids: [Int] = []
    let time = clock.measure { ids = tokenizer.encode(text, addingSpecialTokens: false) }
    #expect(tokenizer.decode(ids, skippingSpecialTokens: false) == text)
    #expect(time < .seconds(60), "with a list instead of a heap this takes hours")
  }
}
