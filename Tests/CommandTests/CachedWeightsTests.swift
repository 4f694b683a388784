import Foundation
import StrictJSON
import TestSupport
import Testing

/// `--weight-cache`.
@Suite struct CachedWeightsTests {
  private static func generate(_ bench: Workbench, _ more: String...) throws -> Command.Result {
    try Command.run(["generate", bench.output, "--prompt", "The", "--max-tokens", "4", "--json"] + more)
  }

  @Test func `the second run maps what the first has left, and says nothing`() throws {
    let bench = try Workbench()
    #expect(try bench.quantize().status == 0)
    let folder = bench.folder("a/b")
    let plain = try Self.generate(bench)
    let first = try Self.generate(bench, "--weight-cache", folder)
    let second = try Self.generate(bench, "--weight-cache", folder)
    for result in [plain, first, second] { #expect(result.status == 0, "\(result.error)") }
    #expect(try first.json()["text"] == plain.json()["text"] && second.json()["text"] == plain.json()["text"])
    #expect(first.error.contains("\"stage\":\"note\"") && first.error.contains(folder) && second.error == "")
    let names = try bench.folder.names(in: "a/b")
    #expect(names.count == 1 && names[0].hasSuffix(".safetensors"))
    let bytes = try bench.folder.bytes("a/b/" + names[0])
    // From here on it is damaged.
    try bench.folder.write("a/b/" + names[0], bytes.dropLast())
    let third = try Self.generate(bench, "--weight-cache", folder)
    #expect(third.status == 0 && third.error.contains("made again"), "\(third.error)")
    #expect(try bench.folder.bytes("a/b/" + names[0]) == bytes)
    let bench2 = try Command.run(
      "bench", "--model", bench.output, "--prompt-tokens", "4", "--generated-tokens", "2", "--rounds", "1",
      "--weight-cache", folder)
    #expect(bench2.status == 0 && bench2.error == "", "\(bench2.error)")
  }

  @Test func `a full disk leaves no file, and the text comes all the same`() throws {
    let bench = try Workbench()
    #expect(try bench.quantize().status == 0)
    let plain = try Self.generate(bench)
    let line =
      "ulimit -f 8; exec \"$QUANTIZE\" generate \"$0\" --prompt The --max-tokens 4 --json --weight-cache \"$1\""
    let result = try Command.shell(line, bench.output, bench.folder("kept"))
    #expect(try result.status == 0 && result.json()["text"] == plain.json()["text"])
    #expect(result.error.contains("the weights are not kept: cannot write"), "\(result.error)")
    #expect(try bench.folder.names(in: "kept").isEmpty)
  }

  @Test func `what cannot be kept is wrong usage`() throws {
    let bench = try Workbench()
    let folder = bench.folder("kept")
    expect(
      try Command.run("generate", bench.model, "--prompt", "a", "--weight-cache", folder), fails: 2,
      saying: ["--weight-cache is for artifacts"])
    expect(try Command.run("bench", "--weight-cache", folder), fails: 2, saying: ["--weight-cache is for --model"])
    #expect(!bench.folder.has("kept"))
  }
}
