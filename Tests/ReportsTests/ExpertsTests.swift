import Foundation
import StrictJSON
import Testing

@testable import Reports

@Suite struct ExpertsTests {
  @Test func `an expert is starved below its quota, not at it`() {
    let layer = Report.Experts.Layer(name: "l", routedTokens: 30, tokens: [9, 10, 0, 41], quota: 10)
    #expect(layer.starved == [0, 2])
  }

  @Test func `counts and help are read back`() throws {
    var report = SampleReport.small
    report.experts = Report.Experts(layers: [
      .init(
        name: "model.layers.0.mlp", routedTokens: 100, tokens: [90, 4, 2, 104], quota: 10,
        help: [1: .extraSamples(tokens: 12), 2: .layerStatistics]),
      .init(name: "model.layers.1.mlp", routedTokens: 100, tokens: [], quota: 10),
    ])
    #expect(try Report(json: JSONValue(parsing: report.json().prettyText.utf8)) == report)
  }

  @Test func `help for an expert that is not there is refused`() throws {
    var members = try #require(SampleReport.small.json().objectValue)
    let layer: JSONValue = [
      "name": "l", "routedTokens": 1, "quota": 1, "tokens": [0, 1], "help": [["expert": 2, "kind": "layerStatistics"]],
    ]
    members["experts"] = ["layers": [layer]]
    #expect(
      throws: ReportsError.malformedReport(
        key: "experts.layers[0].help[0].expert", expected: "one of the layer's experts, once")
    ) { try Report(json: .object(members)) }
  }

  @Test func `balance is the number of experts that even sharing would need`() {
    func layer(_ tokens: [Int]) -> Report.Experts.Layer { .init(name: "l", routedTokens: 0, tokens: tokens, quota: 1) }
    #expect(abs(layer([5, 5, 5, 5]).effectiveExperts - 4) < 1e-12)
    #expect(layer([0, 9, 0]).effectiveExperts == 1 && layer([0, 0]).effectiveExperts == 0)
    #expect(abs(layer([1, 3]).effectiveExperts - 1.7547654) < 1e-6)  // 4 / 27^(1/4)
    #expect(layer([4, 1, 7, 2]).spread == (1, 3, 7) && layer([]).spread == (0, 0, 0))
  }

  @Test func `what was done for starved experts is counted`() {
    var experts = Report.Experts(layers: [
      .init(
        name: "a", routedTokens: 9, tokens: [1, 2, 3, 4, 50], quota: 10,
        help: [0: .extraSamples(tokens: 10), 1: .extraSamples(tokens: 9), 2: .layerStatistics])
    ])
    #expect(
      experts.sentence
        == "4 of 5 experts (80.0%) saw fewer than the quota of 10 calibration tokens: 1 reached it with more text, "
        + "1 got more text and still stayed under it, 1 took the statistics of everything that entered the layer "
        + "instead, 1 got no help.")
    experts.layers[0].quota = 1
    #expect(experts.sentence == "Each of the 5 experts saw at least the quota of 1 calibration tokens.")
  }

  @Test func `colours are logarithmic, none has its own`() {
    let map = ExpertMap(.init(layers: [.init(name: "l", routedTokens: 1, tokens: [0, 1, 9, 1000, 999, 31], quota: 1)]))
    #expect([0, 1, 9, 31, 999, 1000].map(map.level(of:)) == [0, 1, 3, 5, 9, 9])
    let even = ExpertMap(.init(layers: [.init(name: "l", routedTokens: 1, tokens: [7, 7], quota: 1)]))
    #expect(even.level(of: 7) == 9)
  }

  @Test func `a map has a cell with its count for every expert, and joins cells only when there are too many`() throws {
    let layer = Report.Experts.Layer(name: "model.layers.4.mlp", routedTokens: 1, tokens: [5, 0, 5000, 5000], quota: 9)
    let drawing = ExpertMap(.init(layers: [layer])).drawing().markup(label: "")
    try WellFormed.check(drawing)
    #expect(drawing.contains("<title>layer 4, expert 2: 5,000</title>"))
    #expect(drawing.components(separatedBy: "<title>layer 4").count == 5)
    let wide = Report.Experts.Layer(
      name: "x", routedTokens: 1, tokens: [Int](repeating: 3, count: 30_000) + [9], quota: 0)
    let joined = ExpertMap(.init(layers: [wide])).drawing().markup(label: "")
    #expect(
      joined.contains("<title>layer x, experts 0 to 29999: 3</title>")
        && joined.components(separatedBy: "<title>layer").count == 3)
    try WellFormed.check(ExpertMap(.init(layers: [])).drawing().markup(label: ""))
  }

  @Test func `the comment names at most twenty starved experts`() {
    var report = SampleReport.small
    report.experts = .init(layers: [
      .init(name: "model.layers.0.mlp", routedTokens: 40, tokens: Array(0..<40), quota: 25, help: [3: .layerStatistics])
    ])
    let text = report.markdown()
    #expect(text.contains("- `model.layers.0.mlp` expert 3: 3 tokens; statistics of the layer's input\n"))
    #expect(text.contains("expert 19: 19 tokens; nothing\n- and 5 more\n") && !text.contains("expert 20:"))
    #expect(text.contains("| `model.layers.0.mlp` | 0 | 19.5 | 39 | 32.5 of 40 |"))
  }
}
