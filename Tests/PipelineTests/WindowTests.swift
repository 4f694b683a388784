import Foundation
import Pipeline
import TestSupport
import Testing
import Tokenizers

@Suite struct WindowTests {
  private static func windows(
    _ texts: [String], separator: Int? = nil, begin: Int? = nil, length: Int, limit: Int? = nil
  ) throws -> [[Int]] {
    let bench = try Workbench()
    let inputs = try ModelInputs(try ModelInputs.openModel(bench.model))
    let names = try texts.enumerated().map { try bench.folder.write("text\($0.offset)", $0.element) }
    return try TokenWindows(
      try TextSource(names), tokenizer: inputs.tokenizer, separator: separator, begin: begin, length: length,
      limit: limit
    ).windows
  }

  @Test func `texts are joined by the separator and cut without overlap`() throws {
    #expect(
      try Self.windows(["abcd", "efg"], separator: 256, length: 4) == [
        [256, 97, 98, 99], [100, 256, 101, 102],
      ])
    // A remainder of at least half a window is kept.
    #expect(try Self.windows(["abcdef"], length: 4) == [[97, 98, 99, 100], [101, 102]])
    #expect(try Self.windows(["abcde"], length: 4) == [[97, 98, 99, 100]])
    #expect(try Self.windows(["abc"], length: 100) == [[97, 98, 99]])
  }

  @Test func `a begin token stands before every window, once`() throws {
    #expect(
      try Self.windows(["abcdef"], separator: 256, begin: 256, length: 4) == [
        [256, 97, 98], [256, 99, 100, 101], [256, 102],
      ])
  }

  @Test func `a limit takes windows evenly over the whole`() throws {
    let found = try Self.windows(["abcdefghijklmnopqrst"], length: 2, limit: 3)
    #expect(found == [[97, 98], [103, 104], [109, 110]])
  }

  @Test func `texts with nothing to predict are refused`() throws {
    #expect(refusal { _ = try Self.windows(["a"], length: 8) }.contains("fewer than two tokens"))
    #expect(refusal { _ = try Self.windows([""], length: 8) }.contains("is empty"))
    #expect(refusal { _ = try Self.windows(["abcd"], begin: 256, length: 1) }.contains("windows of 1"))
  }

  @Test func `lines of JSON are documents, and a line that is none is named`() throws {
    let folder = try TestFolder()
    let good = try folder.write("a.jsonl", "{\"text\": \"one\"}\n{\"id\": 3, \"text\": \"two\"}\n")
    #expect(try TextSource([good]).documents == ["one", "two"])
    let bad = try folder.write("b.jsonl", "{\"text\": \"one\"}\n{\"text\": 2}\n")
    #expect(refusal { _ = try TextSource([bad]) }.contains("b.jsonl line 2"))
    let bytes = try folder.write("c.txt", [0x61, 0xFF, 0x62])
    #expect(refusal { _ = try TextSource([bytes]) }.contains("is not UTF-8"))
    #expect(refusal { _ = try TextSource([folder("none.txt")]) }.contains("none.txt"))
  }

  @Test func `the built-in texts are there, and no document is both for calibration and for judging`() throws {
    for (calibration, judged) in [("builtin", "builtin-heldout"), ("stories", "stories-heldout")] {
      let (one, other) = (try TextSource([calibration]), try TextSource([judged]))
      #expect(one.documents.count > 5 && other.documents.count > 5)
      #expect(Set(one.documents).isDisjoint(with: other.documents))
      #expect(one.digest.count == 64)
    }
  }
}
