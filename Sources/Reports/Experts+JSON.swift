internal import StrictJSON

extension Report.Experts {
  var json: JSONValue { ["layers": .array(layers.map(\.json))] }

  init(_ node: ReportNode) throws(ReportsError) {
    self.init(layers: try node.nodes("layers").map { (node) throws(ReportsError) in try Layer(node) })
  }
}

extension Report.Experts.Layer {
  fileprivate var json: JSONValue {
    let helped = help.sorted { $0.key < $1.key }
    return [
      "name": .string(name), "routedTokens": .integer(routedTokens), "quota": .integer(quota),
      "tokens": .array(tokens.map { .integer($0) }),
      "help": .array(
        helped.map { expert, help in
          switch help {
          case .extraSamples(let tokens):
            ["expert": .integer(expert), "kind": "extraSamples", "tokens": .integer(tokens)]
          case .layerStatistics: ["expert": .integer(expert), "kind": "layerStatistics"]
          }
        }),
    ]
  }

  fileprivate init(_ node: ReportNode) throws(ReportsError) {
    self.init(
      name: try node.text("name"), routedTokens: try node.whole("routedTokens"), tokens: try node.wholes("tokens"),
      quota: try node.whole("quota"))
    for helped in try node.nodes("help") {
      let expert = try helped.whole("expert")
      guard tokens.indices.contains(expert), help[expert] == nil else {
        throw .malformedReport(key: helped.path + ".expert", expected: "one of the layer's experts, once")
      }
      switch try helped.text("kind") {
      case "extraSamples": help[expert] = .extraSamples(tokens: try helped.whole("tokens"))
      case "layerStatistics": help[expert] = .layerStatistics
      default: throw .malformedReport(key: helped.path + ".kind", expected: "one of extraSamples, layerStatistics")
      }
    }
  }
}
