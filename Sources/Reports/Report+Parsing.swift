public import StrictJSON

extension Report {
  /// Reads a report.json back; keys that are not known are passed over, since later versions may add some.
  ///
  /// A number that is `null` was not finite when it was written and is read as +∞.
  public init(json: JSONValue) throws(ReportsError) {
    let root = try Node(json, "report")
    self.init(
      version: try root.text("version"), seed: try root.seed("seed"), reference: try Reference(root.node("reference")),
      candidate: try Candidate(root.node("candidate")), machine: try Machine(root.node("machine")))
    accuracy = json["tokens"] == nil ? nil : try ComparisonSummary(root)
    size = try root.optionalNode("size").map { (node) throws(ReportsError) in try Size(node) }
    gate = try root.nodes("gate").map { (node) throws(ReportsError) in try GateCheck(node) }
    integrity = try Integrity(root.node("integrity"))
    layers = try root.nodes("layers").map { (node) throws(ReportsError) in try Layer(node) }
    folds = try root.nodes("folds").map { (node) throws(ReportsError) in try Fold(node) }
    ledger = try Ledger(root.node("ledger"))
    recipe = json["recipe"] ?? .null
    calibration = try root.optionalNode("calibration").map { (node) throws(ReportsError) in try Calibration(node) }
    text = try root.optionalNode("text").map { (node) throws(ReportsError) in try Text(node) }
    let stages = try root.node("time")
    time = try stages.names.map { (name) throws(ReportsError) in
      Stage(name: name, seconds: try stages.number(name))
    }
    peakMemory = try root.whole("peakMemory")
    warnings = try root.texts("warnings")
  }
}

/// A value and the path that leads to it, for errors.
private struct Node {
  let value: JSONValue
  let path: String

  init(_ value: JSONValue, _ path: String) throws(ReportsError) {
    guard value.objectValue != nil else { throw .malformedReport(key: path, expected: "an object") }
    self.value = value
    self.path = path
  }

  var names: [String] { value.objectValue?.members.map(\.name) ?? [] }

  private func key(_ name: String) -> String { path == "report" ? name : path + "." + name }

  private func get<Value>(_ name: String, _ expected: String, _ read: (JSONValue) -> Value?) throws(ReportsError)
    -> Value
  {
    guard let result = value[name].flatMap(read) else { throw .malformedReport(key: key(name), expected: expected) }
    return result
  }

  func text(_ name: String) throws(ReportsError) -> String { try get(name, "a string") { $0.stringValue } }

  func optionalText(_ name: String) throws(ReportsError) -> String? {
    value[name].map(\.isNull) ?? true ? nil : try text(name)
  }

  func whole(_ name: String) throws(ReportsError) -> Int { try get(name, "a whole number") { $0.intValue } }

  func wholes(_ name: String) throws(ReportsError) -> [Int] {
    try get(name, "an array of whole numbers") { value in
      value.arrayValue.flatMap { elements in
        let numbers = elements.compactMap(\.intValue)
        return numbers.count == elements.count ? numbers : nil
      }
    }
  }

  func seed(_ name: String) throws(ReportsError) -> UInt64 {
    try get(name, "a whole number") { if case .number(let text) = $0 { UInt64(text) } else { nil } }
  }

  func truth(_ name: String) throws(ReportsError) -> Bool { try get(name, "true or false") { $0.boolValue } }

  func number(_ name: String) throws(ReportsError) -> Double {
    try get(name, "a number or null") { $0.isNull ? .infinity : $0.doubleValue }
  }

  func optionalNumber(_ name: String) throws(ReportsError) -> Double? {
    value[name].map(\.isNull) ?? true ? nil : try number(name)
  }

  func numbers(_ name: String) throws(ReportsError) -> [Double] {
    try get(name, "an array of numbers") { value in
      value.arrayValue.flatMap { elements in
        let numbers = elements.compactMap { $0.isNull ? .infinity : $0.doubleValue }
        return numbers.count == elements.count ? numbers : nil
      }
    }
  }

  func texts(_ name: String) throws(ReportsError) -> [String] {
    try get(name, "an array of strings") { value in
      value.arrayValue.flatMap { elements in
        let texts = elements.compactMap(\.stringValue)
        return texts.count == elements.count ? texts : nil
      }
    }
  }

  func node(_ name: String) throws(ReportsError) -> Node { try Node(value[name] ?? .null, key(name)) }

  func optionalNode(_ name: String) throws(ReportsError) -> Node? {
    value[name].map(\.isNull) ?? true ? nil : try node(name)
  }

  func nodes(_ name: String) throws(ReportsError) -> [Node] {
    let elements = try get(name, "an array") { $0.arrayValue }
    var nodes: [Node] = []
    for (index, element) in elements.enumerated() { nodes.append(try Node(element, "\(key(name))[\(index)]")) }
    return nodes
  }

  func estimate(_ name: String) throws(ReportsError) -> Estimate {
    let node = try node(name)
    return Estimate(
      try node.number("value"), low: try node.optionalNumber("low"), high: try node.optionalNumber("high"))
  }

  func named<Name: RawRepresentable<String>>(
    _ name: String, _ type: Name.Type, among expected: String
  ) throws(ReportsError) -> Name {
    try get(name, "one of " + expected) { $0.stringValue.flatMap(Name.init(rawValue:)) }
  }
}

extension ComparisonSummary {
  fileprivate init(_ root: Node) throws(ReportsError) {
    let perplexity = try root.node("perplexity")
    self.init(
      tokens: try root.whole("tokens"), windows: try root.whole("windows"),
      referencePerplexity: try perplexity.estimate("reference"), comparison: nil)
    guard root.value["kl"] != nil else { return }
    let divergence = try root.node("kl")
    let change = try root.node("targetProbabilityChange")
    let distribution = try root.node("distribution")
    comparison = Comparison(
      divergence: Divergence(
        mean: try divergence.estimate("mean"), median: try divergence.estimate("median"),
        p90: try divergence.estimate("p90"), p99: try divergence.estimate("p99"),
        p999: try divergence.estimate("p999"), max: try divergence.estimate("max")),
      perplexity: try perplexity.estimate("candidate"), perplexityRatio: try perplexity.estimate("ratio"),
      top1Agreement: try root.estimate("top1Agreement"), meanProbabilityChange: try change.estimate("mean"),
      rmsProbabilityChange: try change.estimate("rms"),
      distribution: DivergenceDistribution(
        histogram: try distribution.wholes("histogram"), windowMeans: try distribution.numbers("windowMeans"),
        positionMeans: try distribution.numbers("positionMeans"),
        positionsPerStretch: try distribution.whole("positionsPerStretch")))
  }
}

extension GateCheck {
  fileprivate init(_ node: Node) throws(ReportsError) {
    let names = Measure.allCases.map(\.rawValue).joined(separator: ", ")
    self.init(
      measure: try node.named("name", Measure.self, among: names), limit: try node.number("limit"),
      value: try node.number("value"), bound: try node.named("bound", Gate.Bound.self, among: "value, cautious"))
  }
}

extension Report.Integrity {
  fileprivate init(_ node: Node) throws(ReportsError) {
    switch try node.text("verdict") {
    case "notChecked": self = .notChecked
    case "passed": self = .intact(parts: try node.whole("parts"))
    case "failed": self = .corrupt(problems: try node.texts("problems"))
    default:
      throw .malformedReport(key: node.path + ".verdict", expected: "one of notChecked, passed, failed")
    }
  }
}

extension Report.Reference {
  fileprivate init(_ node: Node) throws(ReportsError) {
    self.init(
      name: try node.text("name"), digest: try node.text("digest"), scheme: try node.optionalText("scheme"))
  }
}

extension Report.Candidate {
  fileprivate init(_ node: Node) throws(ReportsError) {
    self.init(name: try node.text("name"), digest: try node.text("digest"), format: try node.text("format"))
  }
}

extension Report.Size {
  fileprivate init(_ node: Node) throws(ReportsError) {
    self.init(
      bytes: try node.whole("bytes"), bitsPerWeight: try node.number("bitsPerWeight"),
      weightsBitsPerWeight: try node.optionalNumber("weightsBitsPerWeight"),
      referenceBytes: try node.whole("referenceBytes"))
  }
}

extension Report.Layer {
  fileprivate init(_ node: Node) throws(ReportsError) {
    self.init(
      name: try node.text("name"), scheme: try node.text("scheme"), bitsPerWeight: try node.number("bitsPerWeight"),
      sqnr: try node.optionalNumber("sqnr"), cosine: try node.optionalNumber("cosine"),
      roundToNearestSqnr: try node.optionalNumber("roundToNearestSqnr"))
  }
}

extension Report.Fold {
  fileprivate init(_ node: Node) throws(ReportsError) {
    self.init(
      name: try node.text("name"), kind: try node.text("kind"), layer: try node.whole("layer"),
      kept: try node.truth("kept"), alpha: try node.number("alpha"), lossWithout: try node.number("lossWithout"),
      lossWith: try node.number("lossWith"), reason: try node.optionalText("reason"))
  }
}

extension Report.Ledger {
  fileprivate init(_ node: Node) throws(ReportsError) {
    self.init(
      quantized: try node.whole("quantized"), copied: try node.whole("copied"), dropped: try node.whole("dropped"))
  }
}

extension Report.Calibration {
  fileprivate init(_ node: Node) throws(ReportsError) {
    self.init(
      source: try node.text("source"), tokens: try node.whole("tokens"), samples: try node.whole("samples"),
      digest: try node.text("digest"))
  }
}

extension Report.Text {
  fileprivate init(_ node: Node) throws(ReportsError) {
    self.init(
      source: try node.text("source"), tokens: try node.whole("tokens"), windowLength: try node.whole("windowLength"),
      digest: try node.text("digest"))
  }
}

extension Report.Machine {
  fileprivate init(_ node: Node) throws(ReportsError) {
    self.init(
      cpu: try node.text("cpu"), cores: try node.whole("cores"), instructionSet: try node.text("instructionSet"),
      blas: try node.text("blas"), memory: try node.whole("memory"))
  }
}
