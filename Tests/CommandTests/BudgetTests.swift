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
