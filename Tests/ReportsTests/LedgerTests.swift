import Foundation
import StrictJSON
import Testing

@testable import Reports

@Suite struct LedgerTests {
  private let source: [(name: String, bytes: Int)] = [("a.weight", 100), ("b.weight", 60), ("c", 8), ("d", 2)]

  private let entries: [Report.Ledger.Entry] = [
    .init("d", .dropped(reason: "tied to c")), .init("c", .folded(), written: ["c"], bytesWritten: 8),
    .init("a.weight", .quantized(scheme: "W4A16"), written: ["a.weight_packed", "a.weight_scale"], bytesWritten: 28),
    .init("b.weight", .copied(reason: "ignored by the recipe"), written: ["b.weight"], bytesWritten: 60),
  ]

  @Test func `entries come in the order of the source with its sizes`() throws {
    let ledger = try Report.Ledger(source: source, entries: entries)
    #expect(ledger.entries.map(\.name) == ["a.weight", "b.weight", "c", "d"])
    #expect(ledger.entries.map(\.bytes) == [100, 60, 8, 2])
    #expect(ledger.total(.quantized) == .init(tensors: 1, bytes: 100, bytesWritten: 28))
    #expect(ledger.total(.dropped) == .init(tensors: 1, bytes: 2, bytesWritten: 0))
    #expect(ledger.summary.values.reduce(0) { $0 + $1.tensors } == 4)
  }

  @Test(arguments: 0..<4) func `a removed entry is named`(index: Int) throws {
    var short = entries
    let name = short.remove(at: index).name
    let error = try #require(throws: ReportsError.self) { try Report.Ledger(source: source, entries: short) }
    #expect(error == .unbalancedLedger(unaccounted: [name], repeated: [], unknown: []))
    #expect(error.description.hasSuffix(": nothing is said about \(name)"))
  }

  @Test func `two entries, unknown names and many at once are named`() throws {
    let error = try #require(throws: ReportsError.self) {
      try Report.Ledger(
        source: source + (0..<9).map { ("x.\($0)", 1) },
        entries: entries + [.init("b.weight", .copied()), .init("b.bias", .copied())])
    }
    #expect(
      error.description == "the ledger does not say exactly once what became of each source tensor: "
        + "nothing is said about x.0, x.1, x.2, x.3, x.4 and 4 more; more than once: b.weight; not in the source: b.bias"
    )
    #expect(throws: ReportsError.unbalancedLedger(unaccounted: [], repeated: ["d"], unknown: [])) {
      try Report.Ledger(source: source + [("d", 2)], entries: entries)
    }
  }

  @Test func `written names are kept whether or not they stand beside the source`() throws {
    let odd: [Report.Ledger.Entry] = [
      .init(
        "m.experts.gate_up_proj", .quantized(scheme: "s"),
        written: ["m.experts.0.gate_proj.w", "m.experts.0.up_proj.w"]),
      .init("x.y.weight", .copied(), written: ["elsewhere", "x.y.z"]),
      .init("plain", .copied(), written: [".odd", ""]),
      .init("", .copied()), .init("x.y.scale", .quantized(scheme: "s")),
    ]
    var report = SampleReport.small
    report.ledger = try Report.Ledger(source: odd.map { ($0.name, 3) }, entries: odd)
    #expect(try Report(json: JSONValue(parsing: report.json().prettyText.utf8)) == report)
  }

  @Test func `a large ledger is a few bytes more than its names`() throws {
    let names = (3..<61).flatMap { layer in
      (0..<256).flatMap { expert in
        ["gate_proj", "up_proj", "down_proj"].map { "model.layers.\(layer).mlp.experts.\(expert).\($0).weight" }
      }
    }
    let ledger = try Report.Ledger(
      source: names.map { ($0, 14_680_064) },
      entries: names.map {
        .init(
          $0, .quantized(scheme: "W4A16"), written: ["_packed", "_scale", "_shape"].map { [name = $0] in name + $0 },
          bytesWritten: 7_571_456)
      })
    let size = ledger.json.compactText.utf8.count
    #expect(size < names.reduce(0) { $0 + $1.utf8.count } + 25 * names.count)
  }

  @Test func `the counts of earlier versions are passed over, broken columns are not`() throws {
    var members = try #require(SampleReport.small.json().objectValue)
    members["ledger"] = ["quantized": 14, "copied": 9, "dropped": 1]
    members["experts"] = nil
    #expect(try Report(json: .object(members)).ledger == nil)
    members["ledger"] = nil
    #expect(try Report(json: .object(members)).ledger == nil)
    members["ledger"] = [
      "outcomes": [], "tensors": ["name": ["a"], "bytes": [1], "bytesWritten": [1], "outcome": [0]],
    ]
    #expect(
      throws: ReportsError.malformedReport(key: "ledger.tensors.outcome", expected: "rows of ledger.outcomes")
    ) { try Report(json: .object(members)) }
    members["ledger"] = ["outcomes": [], "tensors": ["name": ["a"], "bytes": [], "bytesWritten": [1], "outcome": [0]]]
    #expect(throws: ReportsError.malformedReport(key: "ledger.tensors", expected: "columns of one length")) {
      try Report(json: .object(members))
    }
  }

  @Test func `the example of formats/report.md is read`() throws {
    let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../formats/report.md")
    let text = try String(contentsOf: root, encoding: .utf8)
    let example = try #require(text.split(separator: "```").first { $0.hasPrefix("json\n\"ledger\":") })
    let json = try JSONValue(parsing: Array(("{" + example.dropFirst(5) + "}").utf8))
    var members = try #require(SampleReport.small.json().objectValue)
    members["ledger"] = json["ledger"]
    let ledger = try #require(try Report(json: .object(members)).ledger)
    #expect(
      ledger.entries[0].written == ["weight_packed", "weight_scale"].map { "model.layers.0.mlp.up_proj." + $0 })
    #expect(ledger.entries[1].fate == .dropped(reason: "computed from config.json"))
    #expect(ledger.json == json["ledger"])
  }

  @Test func `the comment lists what was dropped and why, and the rest as patterns`() throws {
    let text = SampleReport.small.markdown()
    #expect(text.contains("- dropped `lm_head.weight`: tied to model.embed\\_tokens.weight\n"))
    #expect(text.contains("| `model.layers.{0-1}.self_attn.q_proj.weight` | 2 | quantized, W4A16\\_ASYM |"))
    var report = SampleReport.small
    let names = (0..<30).map { "model.layers.\($0).inv_freq" }
    report.ledger = try Report.Ledger(
      source: names.map { ($0, 1) }, entries: names.map { .init($0, .dropped(reason: "computed")) })
    #expect(report.markdown().contains("- dropped `model.layers.{0-29}.inv_freq` ×30: computed\n"))
  }
}
