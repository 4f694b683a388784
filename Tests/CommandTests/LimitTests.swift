import Checkpoints
import Foundation
import StrictJSON
import TestSupport
import Testing

/// Exit codes 4 and 5: not good enough, and not enough room.
@Suite struct LimitTests {
  @Test func `accuracy worse than allowed ends with 4, and the report is written`() throws {
    let bench = try Workbench()
    let result = try Command.run(bench.arguments("--max-kl", "0", "--min-top1", "1%", "--quiet") + bench.judged)
    #expect(result.status == 4)
    #expect(result.sentences.count == 1 && result.error.hasPrefix("quantize: accuracy is worse than allowed"))
    #expect(result.error.contains("kl.mean is 0.") && !result.error.contains("top1"), "\(result.error)")
    #expect(result.output.contains("allowed 0.00000: failed"), "\(result.output)")
    #expect(bench.folder.has("out.tar.zst"))
    #expect(
      try bench.folder.names(in: "out.report") == ["junit.xml", "report.html", "report.json", "report.md"])
    let gate = try #require(try bench.folder.json("out.report/report.json")["gate"]?.arrayValue)
    #expect(gate.map { $0["verdict"]?.stringValue } == ["failed", "passed"])
    #expect(String(decoding: try bench.folder.bytes("out.report/junit.xml"), as: UTF8.self).contains("<failure"))
  }

  @Test func `limits that are held end with 0, and verify holds the same ones`() throws {
    let bench = try Workbench()
    let limits = ["--max-kl", "5", "--max-ppl-increase", "500%", "--min-top1", "1%"]
    #expect(
      try Command.run(bench.arguments("--quiet", "--report", bench.folder("r")) + bench.judged + limits).status == 0)
    #expect(bench.folder.has("r/report.json") && !bench.folder.has("out.report"))
    let verify = ["verify", bench.model, bench.output, "-q"] + bench.judged
    #expect(try Command.run(verify + limits).status == 0)
    let failed = try Command.run(verify + ["--min-top1", "100%", "--report", bench.folder("v")])
    #expect(failed.status == 4 && failed.sentences.count == 1 && bench.folder.has("v/report.html"))
    #expect(try Command.run(["verify", bench.model, bench.model, "-q", "--max-kl", "0"] + bench.judged).status == 0)
  }

  @Test func `a memory bound that is too small ends with 5 before anything is written`() throws {
    let bench = try Workbench()
    for command in [bench.arguments("-q"), ["plan", bench.model]] {
      let result = try Command.run(command + ["--max-memory", "1M"])
      expect(result, fails: 5, saying: ["--max-memory allows 1 MB"])
    }
    #expect(try bench.folder.names() == ["model", "text.txt"])
    #expect(try Command.run("plan", bench.model, "--max-memory", "8G").status == 0)
  }

  @Test(arguments: [1, 8, 24], ["out.tar.zst", "out/"])
  func `a full disk ends with 5, and the run continues when there is room`(_ blocks: Int, _ output: String) throws {
    let bench = try Workbench()
    let common = "\"$QUANTIZE\" \"$0\" -o \"$1\" --method rtn --no-verify --json -q"
    let whole = try Command.shell(common, bench.model, bench.folder("whole-" + output))
    #expect(whole.status == 0)
    let path = bench.folder(output)
    let result = try Command.shell("ulimit -f \(blocks); exec \(common)", bench.model, path)
    expect(result, fails: 5, saying: ["cannot write", output.replacingOccurrences(of: "/", with: ".partial")])
    #expect(!bench.folder.has(output.replacingOccurrences(of: "/", with: "")))
    let resumed = try Command.shell(common + " --resume", bench.model, path)
    #expect(resumed.status == 0, "\(resumed.error)")
    #expect(try resumed.json()["sha256"] == whole.json()["sha256"])
  }
}
