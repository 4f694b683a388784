import StrictJSON
import Testing

@testable import Reports

@Suite struct ReportFileTests {
  @Test func `report.json keeps its keys and their order`() throws {
    try Golden.expect(SampleReport.small.json().prettyText, is: "report.json")
  }

  @Test func `report.json has every key that DESIGN §4 names`() throws {
    let json = SampleReport.small.json()
    for path in [
      "kl.mean", "kl.p99", "kl.max", "top1Agreement", "perplexity.reference", "perplexity.candidate",
      "perplexity.ratio",
    ] {
      let value = path.split(separator: ".").reduce(json as JSONValue?) { $0?[String($1)] }
      #expect(value?.objectValue?.members.map(\.name) == ["value", "low", "high"], "\(path)")
    }
    for path in [
      "tokens", "size.bytes", "size.bitsPerWeight", "layers", "gate", "reference.digest", "candidate.digest", "recipe",
      "version", "seed", "machine", "time", "peakMemory",
    ] {
      #expect(path.split(separator: ".").reduce(json as JSONValue?) { $0?[String($1)] } != nil, "\(path)")
    }
    let layer = try #require(json["layers"]?.arrayValue?.first?.objectValue)
    #expect(layer.members.prefix(5).map(\.name) == ["name", "scheme", "bitsPerWeight", "sqnr", "cosine"])
  }

  @Test func `a report is read back as it was written`() throws {
    let mixture = SampleReport.mixture(layers: 4, dense: 1, experts: 8, tokens: 9000, quota: 300)
    for report in [SampleReport.small, SampleReport.large(), SampleReport.large(passing: false), mixture] {
      let text = report.json().prettyText
      #expect(try Report(json: JSONValue(parsing: text.utf8)) == report)
    }
  }

  @Test func `a number of samples that was given has no search to show`() throws {
    var report = SampleReport.small
    #expect(report.html().contains("chosen by the error that each number leaves in the first layer"))
    report.calibration?.convergence = []
    #expect(report.json()["calibration"]?["convergence"] == nil && !report.html().contains("chosen by the error"))
    #expect(try Report(json: report.json()) == report)
  }

  @Test func `a report without a comparison is read back too`() throws {
    var report = SampleReport.small
    report.accuracy?.comparison = nil
    report.gate = []
    #expect(try Report(json: report.json()) == report)
    #expect(report.verdict == .unlimited)
    report.accuracy = nil
    report.size = nil
    report.calibration = nil
    report.text = nil
    report.recipe = .null
    report.seed = .max
    #expect(try Report(json: report.json()) == report)
    try WellFormed.check(report.html())
    try WellFormed.check(report.junit())
    #expect(report.markdown().hasPrefix("### ℹ️ Measured: no limits were set\n"))
  }

  @Test func `a report that lacks a key is refused with the key's path`() throws {
    var members = try #require(SampleReport.small.json().objectValue)
    members["seed"] = nil
    #expect(throws: ReportsError.malformedReport(key: "seed", expected: "a whole number")) {
      try Report(json: .object(members))
    }
    members["seed"] = 1
    members["kl"] = ["mean": ["value": "much"]]
    #expect(throws: ReportsError.malformedReport(key: "kl.mean.value", expected: "a number or null")) {
      try Report(json: .object(members))
    }
    #expect(throws: ReportsError.malformedReport(key: "report", expected: "an object")) { try Report(json: []) }
  }

  @Test func `the Markdown comment`() throws {
    try Golden.expect(SampleReport.small.markdown(), is: "report.md")
  }

  @Test func `the JUnit file`() throws {
    let xml = SampleReport.small.junit()
    try Golden.expect(xml, is: "report.xml")
    let names = try WellFormed.check(xml)
    #expect(names.count { $0 == "testcase" } == 4 && names.count { $0 == "failure" } == 1)
  }

  @Test func `a corrupt artifact fails the report even without limits`() throws {
    var report = SampleReport.small
    report.gate = []
    report.integrity = .corrupt(problems: ["tensor \"a\" has another digest"])
    #expect(report.verdict == .failed)
    #expect(report.verdictReason == "the artifact failed its checks; no limits were set")
    #expect(report.junit().contains("failures=\"1\""))
    #expect(try WellFormed.check(report.junit()).contains("failure"))
    report.integrity = .notChecked
    #expect(report.verdict == .unlimited && report.junit().contains("skipped=\"1\""))
  }

  @Test func `a value that looks equal to its limit is given more digits`() {
    let check = GateCheck(measure: .meanDivergence, limit: 0.03, value: 0.030004, bound: .value)
    #expect(check.sentence == "Mean KL divergence 0.0300040 nats, allowed ≤ 0.03 nats")
  }
}
