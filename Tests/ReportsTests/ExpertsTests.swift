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
}
