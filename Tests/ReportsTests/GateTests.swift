import Testing

@testable import Reports

@Suite struct GateTests {
  private var comparison: ComparisonSummary.Comparison {
    get throws { try #require(SampleReport.small.accuracy?.comparison) }
  }

  @Test func `a value at its limit passes, one beyond fails`() throws {
    let comparison = try comparison
    let kept = Gate(maxKL: 0.0275, maxPerplexityIncrease: 0.0152, minTop1: 0.943).checks(of: comparison)
    #expect(kept.map(\.verdict) == [.passed, .passed, .passed])
    let broken = Gate(maxKL: 0.02749, maxPerplexityIncrease: 0.015, minTop1: 0.9431).checks(of: comparison)
    #expect(broken.map(\.verdict) == [.failed, .failed, .failed])
    #expect(broken.map(\.measure) == [.meanDivergence, .perplexityIncrease, .top1Agreement])
    #expect(broken.map(\.bound) == [.value, .value, .value])
  }

  @Test func `a cautious gate uses the unfavourable bound`() throws {
    let gate = Gate(maxKL: 0.03, maxPerplexityIncrease: 0.0191, minTop1: 0.94, bound: .cautious)
    let checks = gate.checks(of: try comparison)
    #expect(checks.map(\.verdict) == [.failed, .failed, .failed])
    #expect(checks[0].value == 0.0302 && checks[2].value == 0.938)
    var single = try comparison
    single.divergence.mean = Estimate(0.02)
    let check = try #require(gate.checks(of: single).first)
    #expect(check.value == 0.02 && check.bound == .value && check.verdict == .passed)
  }

  @Test func `no limit means no check; NaN fails`() throws {
    let comparison = try comparison
    #expect(Gate().isEmpty && Gate().checks(of: comparison).isEmpty)
    #expect(!Gate(minTop1: 0).isEmpty)
    for measure in GateCheck.Measure.allCases {
      #expect(GateCheck(measure: measure, limit: 0.5, value: .nan, bound: .value).verdict == .failed)
    }
  }

  @Test func `a zero limit lets only equal models pass`() {
    #expect(GateCheck(measure: .meanDivergence, limit: 0, value: 0, bound: .value).verdict == .passed)
    #expect(GateCheck(measure: .meanDivergence, limit: 0, value: 1e-12, bound: .value).verdict == .failed)
    #expect(GateCheck(measure: .perplexityIncrease, limit: 0, value: -0.01, bound: .value).verdict == .passed)
  }

  @Test(arguments: [
    ("1%", 0.01), ("0.01", 0.01), ("95%", 0.95), ("0.5%", 0.005), ("0", 0), ("1.0", 1), ("100%", 1), ("1e-3", 0.001),
  ])
  func `fractions are read as written`(text: String, value: Double) throws {
    #expect(abs(try Gate.fraction(parsing: text, option: "--min-top1", atMost: 1) - value) < 1e-15)
  }

  @Test(arguments: [
    "", "%", "abc", "-1%", "+1%", "1 %", " 1%", "0x1p-3", "nan", "inf", "1%%", "1e999", "1,5%", "e", "½", "-0.0",
  ])
  func `what is no fraction is refused`(text: String) {
    #expect(
      throws: ReportsError.badLimit(
        option: "--min-top1", text: text, expected: "a percentage such as 1% or a fraction such as 0.01")
    ) { try Gate.fraction(parsing: text, option: "--min-top1") }
  }

  @Test func `spellings that are usually slips are refused with the likely meaning`() {
    #expect {
      try Gate.fraction(parsing: "95", option: "--min-top1")
    } throws: {
      String(describing: $0) == "--min-top1 is \"95\", expected a fraction up to 1.0, or 95% with the percent sign"
    }
    #expect {
      try Gate.fraction(parsing: "1", option: "--max-ppl-increase")
    } throws: {
      String(describing: $0) == "--max-ppl-increase is \"1\", expected 1% or 100%, since a bare 1 may mean either"
    }
    #expect {
      try Gate.fraction(parsing: "101%", option: "--min-top1", atMost: 1)
    } throws: { String(describing: $0) == "--min-top1 is \"101%\", expected at most 100%" }
  }

  @Test func `divergences are plain numbers`() throws {
    #expect(try Gate.divergence(parsing: "0.03", option: "--max-kl") == 0.03)
    #expect(try Gate.divergence(parsing: "2", option: "--max-kl") == 2)
    for text in ["3%", "-1", "nan", ""] {
      #expect(throws: ReportsError.self) { try Gate.divergence(parsing: text, option: "--max-kl") }
    }
  }
}
