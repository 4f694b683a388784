import Foundation
import StrictJSON
import TestSupport
import Testing

/// Budgets of entropy-coded artifacts: bits, bytes, divergence.
@Suite struct BudgetTests {
  @Test func `a divergence that may be spent is nearly spent, and held`() throws {
    let bench = try Workbench()
    let result = try Command.run(
      bench.arguments("--scheme", "EC", "--max-kl", "0.02", "--quiet", "--report", bench.folder("r")) + bench.judged)
    #expect(result.status == 0, "\(result.error)")
    let measured = try #require(try bench.folder.json("r/report.json")["kl"]?["mean"]?["value"]?.doubleValue)
    #expect(measured <= 0.02 && measured > 0.01, "\(measured)")
  }

  @Test func `a size that may be used is not exceeded`() throws {
    let bench = try Workbench()
    #expect(try Command.run(bench.arguments("--scheme", "EC", "--bits", "6", "--no-verify", "-q")).status == 0)
    let roomy = try bench.folder.bytes("out.tar.zst").count
    let target = roomy * 9 / 10
    let result = try Command.run(
      bench.arguments("--scheme", "EC", "--target-size", "\(target)", "--no-verify", "-q", "--force"))
    #expect(result.status == 0, "\(result.error)")
    let size = try bench.folder.bytes("out.tar.zst").count
    #expect(size <= target && size > target * 8 / 10, "\(size) of \(target)")
  }

  @Test func `a size that is missed leaves nothing, and one sentence says what would do`() throws {
    let bench = try Workbench()
    let arguments = bench.arguments("--scheme", "EC", "--no-verify", "-q")
    // Hardly more than what is not coded takes: the least that codes take is more.
    let refused = try Command.run(arguments + ["--target-size", "9k"])
    expect(refused, fails: 5, saying: ["cannot be coded so coarsely", "bytes are left in all"])
    let least = try #require(refused.error.split(separator: " ").lazy.compactMap { Int($0) }.first)
    let result = try Command.run(arguments + ["--target-size", "\(least)"])
    expect(result, fails: 5, saying: ["out.tar.zst is not written", "--target-size"])
    #expect(try bench.folder.names() == ["model", "text.txt"])
    // What it says would do does.
    let words = result.error.split(separator: " ")
    let named = try #require(words.firstIndex(of: "--target-size").map { words[$0 + 1] })
    let again = try Command.run(arguments + ["--target-size", String(named)])
    #expect(again.status == 0, "\(again.error)")
    #expect(try bench.folder.bytes("out.tar.zst").count <= Int(named) ?? 0)
  }

  @Test func `a limit that anything holds says that less would do`() throws {
    let bench = try Workbench()
    let result = try Command.run(bench.arguments("--scheme", "EC", "--max-kl", "50") + bench.judged)
    #expect(result.status == 0, "\(result.error)")
    #expect(result.output.contains("note         the limit of the KL divergence would allow less than the 1."))
    #expect(!result.error.contains("coding again"))
  }

  @Test func `a limit that nothing holds is not tried for ever`() throws {
    let bench = try Workbench()
    let result = try Command.run(bench.arguments("--scheme", "EC", "--max-kl", "1e-12") + bench.judged)
    #expect(result.status == 4, "\(result.error)")
    #expect(result.error.split(separator: "\n").count { $0.contains("coding again") } <= 2, "\(result.error)")
  }

  @Test func `plan says what a budget implies`() throws {
    let bench = try Workbench()
    func plan(_ more: String...) throws -> (text: String, bytes: JSONValue?) {
      let arguments = ["plan", bench.model, "--scheme", "EC"] + more
      let text = try Command.run(arguments)
      #expect(text.status == 0, "\(text.error)")
      return (text.output, try Command.run(arguments + ["--json"]).json()["expectedOutputBytes"])
    }
    let (four, usual) = (try plan("--bits", "4"), try plan())
    #expect(four.text.contains("kB, at 4.00 bits a weight") && four.text == usual.text, "\(four.text)")
    let (less, more) = (try #require(try plan("--bits", "3").bytes?.intValue), try #require(four.bytes?.intValue))
    #expect(more > less && more < 8 * less / 4)
    let target = try plan("--target-size", "80k")
    #expect(target.text.contains("at most 80.0 kB, which leaves about") && target.bytes == 80_000, "\(target.text)")
    let limit = try plan("--max-kl", "0.02")
    #expect(limit.text.contains("not known before rates are measured; about") && limit.bytes == .null, "\(limit.text)")
    expect(
      try Command.run("plan", bench.model, "--scheme", "EC", "--target-size", "1k"), fails: 5,
      saying: ["what is not coded takes about"])
    expect(
      try Command.run("plan", bench.model, "-o", "out/", "--scheme", "EC", "--target-size", "1M"), fails: 2,
      saying: ["out/ is a folder"])
  }

  @Test func `more room than the finest codes take is left`() throws {
    let bench = try Workbench()
    let result = try Command.run(
      bench.arguments("--scheme", "EC", "--target-size", "10M", "--max-kl", "0.001", "-q") + bench.judged)
    #expect(result.status == 0, "\(result.error)")
    #expect(try bench.folder.bytes("out.tar.zst").count < 150_000)
  }

  @Test(arguments: [
    ["--scheme", "EC", "--bits", "3", "--target-size", "1M"], ["--target-size", "1M"],
    ["--scheme", "EC", "--bits", "9"],
    ["--bits", "3.6"],
  ]) func `rates that make no sense are refused`(options: [String]) throws {
    let bench = try Workbench()
    let result = try Command.run([bench.model, "-o", bench.output, "-q"] + options)
    #expect(result.status == 2 && result.sentences.count == 1, "\(result.error)")
  }
}
