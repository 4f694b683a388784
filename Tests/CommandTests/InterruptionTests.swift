import Foundation
import StrictJSON
import TestSupport
import Testing

/// Exit code 6: runs that are stopped, and continued to the same bytes.
///
/// They use the embedded model, whose layers take long enough to be hit.
@Suite(.serialized) struct InterruptionTests {
  private static let model = SharedFolder.repository + "/calibration/pocket-qwen2"
  private static let common = ["--calibration", "stories", "--samples", "12", "--seqlen", "128"]
  private static let judged = ["--text", "stories-heldout", "--tokens", "256", "--verify-seqlen", "128"]
  /// What is said when the second decoder layer begins.
  private static let atLayer1 = "\"stage\":\"quantize\",\"done\":2"

  /// The digest and folds of a run that nothing stopped.
  private static let whole: Swift.Result<(sha256: JSONValue?, folds: JSONValue?), any Error> = Swift.Result {
    let folder = try TestFolder()
    let result = try Command.run([model, "-o", folder("out.tar.zst"), "--json", "-q"] + common + judged)
    let json = try result.json()
    return (json["candidate"]?["digest"], json["folds"])
  }

  @Test(arguments: [SIGINT, SIGTERM])
  func `a signal ends a run with 6, and resume finishes with the same bytes and folds`(_ number: Int32) throws {
    let folder = try TestFolder()
    let arguments = [Self.model, "-o", folder("out.tar.zst"), "--json"] + Self.common + Self.judged
    let running = try Command.start(arguments)
    try running.signal(number, after: Self.atLayer1)
    let stopped = try running.finish()
    expect(stopped, fails: 6, saying: ["stopped", "layer", "--resume"])
    #expect(try folder.names() == ["out.tar.zst.journal", "out.tar.zst.partial"])
    // Another run is not this one.
    let other = try Command.run(arguments + ["--resume", "--group-size", "64", "-q"])
    expect(other, fails: 3, saying: ["out.tar.zst.journal", "another one"])
    let resumed = try Command.run(arguments + ["--resume", "--threads", "1"])
    #expect(resumed.status == 0, "\(resumed.error)")
    #expect(try folder.names() == ["out.report", "out.tar.zst"])
    let (json, whole) = (try resumed.json(), try Self.whole.get())
    #expect(json["candidate"]?["digest"] == whole.sha256 && whole.sha256 != nil)
    #expect(json["folds"] == whole.folds && json["folds"]?.arrayValue?.count == 16)
    #expect(try folder.json("out.report/report.json")["folds"] == whole.folds)
  }

  @Test func `a killed run continues to the same bytes`() throws {
    let folder = try TestFolder()
    let arguments = [Self.model, "-o", folder("out.tar.zst"), "--json", "--no-verify"] + Self.common
    let running = try Command.start(arguments)
    try running.signal(SIGKILL, after: Self.atLayer1)
    #expect(try running.finish().status == -SIGKILL)
    #expect(!folder.has("out.tar.zst"))
    let resumed = try Command.run(arguments + ["--resume", "-q"])
    #expect(resumed.status == 0, "\(resumed.error)")
    #expect(try resumed.json()["sha256"] == Self.whole.get().sha256)
  }

  @Test func `a number of samples that is found is found again`() throws {
    let folder = try TestFolder()
    let rest = ["--json", "--no-verify", "--method", "awq", "--calibration", "stories", "--seqlen", "128"]
    let arguments = [Self.model, "-o", folder("out.tar.zst")] + rest
    let running = try Command.start(arguments)
    try running.signal(SIGKILL, after: Self.atLayer1)
    #expect(try running.finish().status == -SIGKILL)
    let resumed = try Command.run(arguments + ["--resume"])
    #expect(resumed.status == 0, "\(resumed.error)")
    #expect(resumed.error.contains("calibrating with 16 samples: 32 would"), "\(resumed.error)")
    let given = try Command.run([Self.model, "-o", folder("given.tar.zst"), "-q", "--samples", "16"] + rest)
    #expect(try resumed.json()["sha256"] == given.json()["sha256"])
  }

  @Test func `what earlier layers lost is known again after a stop`() throws {
    let folder = try TestFolder()
    let rest = ["--json", "--no-verify", "--method", "gptq"] + Self.common
    let running = try Command.start([Self.model, "-o", folder("out.tar.zst")] + rest)
    try running.signal(SIGTERM, after: Self.atLayer1)
    expect(try running.finish(), fails: 6, saying: ["--resume"])
    let resumed = try Command.run([Self.model, "-o", folder("out.tar.zst"), "--resume", "-q"] + rest)
    #expect(resumed.status == 0, "\(resumed.error)")
    let whole = try Command.run([Self.model, "-o", folder("whole.tar.zst"), "-q"] + rest)
    #expect(try resumed.json()["sha256"] == whole.json()["sha256"])
  }

  @Test func `an entropy-coded run measures again, and continues to the same bytes`() throws {
    let folder = try TestFolder()
    let rest = ["--json", "--no-verify", "--scheme", "EC", "--bits", "3.5"] + Self.common
    let arguments = [Self.model, "-o", folder("out.tar.zst")] + rest
    // Before anything is written, nothing is left.
    let early = try Command.start(arguments)
    try early.signal(SIGINT, after: "\"stage\":\"measure\",\"done\":1")
    expect(try early.finish(), fails: 6, saying: ["while measuring", "nothing was written"])
    #expect(try folder.names() == [])
    let running = try Command.start(arguments + ["--resume"])
    try running.signal(SIGTERM, after: Self.atLayer1)
    expect(try running.finish(), fails: 6, saying: ["--resume"])
    let resumed = try Command.run(arguments + ["--resume", "--threads", "1", "-q"])
    #expect(resumed.status == 0, "\(resumed.error)")
    let whole = try Command.run([Self.model, "-o", folder("whole.tar.zst"), "-q"] + rest)
    #expect(try resumed.json()["sha256"] == whole.json()["sha256"])
  }

  @Test func `a search for a rate that was stopped at a later try begins again, and ends with the same bytes`() throws {
    var tiny = TinyModel(modelType: "qwen2")
    (tiny.hiddenSize, tiny.intermediateSize, tiny.layerCount) = (256, 512, 3)
    let bench = try Workbench(tiny)
    // The first try at one of these is far enough from it.
    var found: (arguments: [String], result: Command.Result)?
    for limit in ["0.005", "0.02", "0.1", "0.5"] where found == nil {
      let arguments = bench.arguments("--scheme", "EC", "--max-kl", limit, "--json", "--force") + bench.judged
      let result = try Command.run(arguments)
      if result.error.contains("coding again") { found = (arguments, result) }
    }
    let (arguments, whole) = try #require(found)
    #expect(whole.status == 0, "\(whole.error)")
    let digest = try #require(try whole.json()["candidate"]?["digest"])
    try FileManager.default.removeItem(atPath: bench.output)
    let running = try Command.start(arguments)
    try running.signal(SIGTERM, after: "coding again", "\"stage\":\"quantize\",\"done\":1")
    expect(try running.finish(), fails: 6, saying: ["stopped", "--resume"])
    #expect(try bench.folder.names().contains("out.tar.zst.journal"))
    expect(
      try Command.run(bench.arguments("--scheme", "EC", "--max-kl", "0.3", "--resume", "-q")), fails: 3,
      saying: ["another one"])
    // What was not measured yet is not called the result.
    let judging = try Command.start(arguments + ["--resume"])
    try judging.signal(SIGINT, after: "\"stage\":\"verify\"")
    expect(try judging.finish(), fails: 6, saying: ["holds the limit", "is not known", "--force"])
    let resumed = try Command.run(arguments + ["--resume"])
    #expect(resumed.status == 0, "\(resumed.error)")
    #expect(try resumed.json()["candidate"]?["digest"] == digest)
  }

  @Test func `a folder continues to the same files`() throws {
    let folder = try TestFolder()
    let arguments = [Self.model, "-o", folder("out/"), "--json", "--no-verify"] + Self.common
    let running = try Command.start(arguments)
    try running.signal(SIGTERM, after: Self.atLayer1)
    expect(try running.finish(), fails: 6, saying: ["--resume"])
    #expect(!folder.has("out"))
    #expect(try Command.run(arguments + ["--resume", "-q"]).status == 0)
    let direct = [Self.model, "-o", folder("direct/"), "--json", "--no-verify", "-q"] + Self.common
    #expect(try Command.run(direct).status == 0)
    #expect(try folder.names(in: "out") == folder.names(in: "direct"))
    for name in try folder.names(in: "out") {
      #expect(try folder.bytes("out/" + name) == folder.bytes("direct/" + name), "\(name)")
    }
  }

  @Test func `a signal during verification says that the artifact is complete`() throws {
    let folder = try TestFolder()
    let arguments =
      [Self.model, "-o", folder("out.tar.zst"), "--json", "--method", "rtn"]
      + ["--text", "stories-heldout", "--tokens", "16384", "--verify-seqlen", "256"]
    let running = try Command.start(arguments)
    try running.signal(SIGINT, after: "\"stage\":\"verify\",\"done\":1")
    expect(try running.finish(), fails: 6, saying: ["out.tar.zst is complete", "quantize verify"])
    #expect(try Command.run("inspect", folder("out.tar.zst"), "--check", "-q").status == 0)
  }

  @Test func `resume begins where nothing was left`() throws {
    let bench = try Workbench()
    let result = try Command.run([
      bench.model, "-o", bench.output, "--method", "rtn", "--no-verify", "--resume", "--json", "-q",
    ])
    #expect(result.status == 0, "\(result.error)")
    let shared = try Command.run("inspect", try Workbench.shared.get().output, "--json")
    #expect(try result.json()["sha256"] == shared.json()["sha256"])
  }
}
