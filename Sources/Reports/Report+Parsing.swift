public import StrictJSON

extension Report {
  /// Reads a report.json back; keys that are not known are passed over, since later versions may add some.
  ///
  /// A number that is `null` was not finite when it was written and is read as +∞.
  public init(json: JSONValue) throws(ReportsError) {
    let root = try ReportNode(json, "report")
    self.init(
      version: try root.text("version"), seed: try root.seed("seed"), reference: try Reference(root.node("reference")),
      candidate: try Candidate(root.node("candidate")), machine: try Machine(root.node("machine")))
    accuracy = json["tokens"] == nil ? nil : try ComparisonSummary(root)
    size = try root.optionalNode("size").map { (node) throws(ReportsError) in try Size(node) }
    gate = try root.nodes("gate").map { (node) throws(ReportsError) in try GateCheck(node) }
    integrity = try Integrity(root.node("integrity"))
    layers = try root.nodes("layers").map { (node) throws(ReportsError) in try Layer(node) }
    folds = try root.nodes("folds").map { (node) throws(ReportsError) in try Fold(node) }
    ledger = try root.optionalNode("ledger").flatMap { (node) throws(ReportsError) in try Ledger(node) }
    experts = try root.optionalNode("experts").map { (node) throws(ReportsError) in try Experts(node) }
    recipe = json["recipe"] ?? .null
    calibration = try root.optionalNode("calibration").map { (node) throws(ReportsError) in try Calibration(node) }
    text = try root.optionalNode("text").map { (node) throws(ReportsError) in try Text(node) }
    arithmetic = try root.optionalNode("arithmetic").map { (node) throws(ReportsError) in
      Arithmetic(
        activations: try node.named("activations", Arithmetic.Rounding.self, among: "float, rounded, int8"),
        keysAndValues: try node.named("keysAndValues", Arithmetic.Rounding.self, among: "float, rounded"),
        floatLinears: node.value["floatLinears"] == nil ? nil : try node.whole("floatLinears"))
    }
    let stages = try root.node("time")
    time = try stages.names.map { (name) throws(ReportsError) in
      Stage(name: name, seconds: try stages.number(name))
    }
    peakMemory = try root.whole("peakMemory")
    warnings = try root.texts("warnings")
  }
}

extension ComparisonSummary {
  fileprivate init(_ root: ReportNode) throws(ReportsError) {
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
  fileprivate init(_ node: ReportNode) throws(ReportsError) {
    let names = Measure.allCases.map(\.rawValue).joined(separator: ", ")
    self.init(
      measure: try node.named("name", Measure.self, among: names), limit: try node.number("limit"),
      value: try node.number("value"), bound: try node.named("bound", Gate.Bound.self, among: "value, cautious"))
  }
}

extension Report.Integrity {
  fileprivate init(_ node: ReportNode) throws(ReportsError) {
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
  fileprivate init(_ node: ReportNode) throws(ReportsError) {
    self.init(
      name: try node.text("name"), digest: try node.text("digest"), scheme: try node.optionalText("scheme"))
  }
}

extension Report.Candidate {
  fileprivate init(_ node: ReportNode) throws(ReportsError) {
    self.init(name: try node.text("name"), digest: try node.text("digest"), format: try node.text("format"))
  }
}

extension Report.Size {
  fileprivate init(_ node: ReportNode) throws(ReportsError) {
    self.init(
      bytes: try node.whole("bytes"), bitsPerWeight: try node.number("bitsPerWeight"),
      weightsBitsPerWeight: try node.optionalNumber("weightsBitsPerWeight"),
      referenceBytes: try node.whole("referenceBytes"))
  }
}

extension Report.Layer {
  fileprivate init(_ node: ReportNode) throws(ReportsError) {
    self.init(
      name: try node.text("name"), scheme: try node.text("scheme"), bitsPerWeight: try node.number("bitsPerWeight"),
      sqnr: try node.optionalNumber("sqnr"), cosine: try node.optionalNumber("cosine"),
      roundToNearestSqnr: try node.optionalNumber("roundToNearestSqnr"))
  }
}

extension Report.Fold {
  fileprivate init(_ node: ReportNode) throws(ReportsError) {
    self.init(
      name: try node.text("name"), kind: try node.text("kind"), layer: try node.whole("layer"),
      kept: try node.truth("kept"), alpha: try node.number("alpha"), lossWithout: try node.number("lossWithout"),
      lossWith: try node.number("lossWith"), reason: try node.optionalText("reason"))
  }
}

extension Report.Calibration {
  fileprivate init(_ node: ReportNode) throws(ReportsError) {
    self.init(
      source: try node.text("source"), tokens: try node.whole("tokens"), samples: try node.whole("samples"),
      digest: try node.text("digest"))
    int8Activations = try node.optionalNode("int8Activations").map { (node) throws(ReportsError) in
      try Report.Int8Activations(node)
    }
    guard node.value["convergence"].map({ !$0.isNull }) ?? false else { return }
    convergence = try node.nodes("convergence").map { (node) throws(ReportsError) in
      Convergence(samples: try node.whole("samples"), error: try node.number("error"))
    }
  }
}

extension Report.Text {
  fileprivate init(_ node: ReportNode) throws(ReportsError) {
    self.init(
      source: try node.text("source"), tokens: try node.whole("tokens"), windowLength: try node.whole("windowLength"),
      digest: try node.text("digest"))
  }
}

extension Report.Machine {
  fileprivate init(_ node: ReportNode) throws(ReportsError) {
    self.init(
      cpu: try node.text("cpu"), cores: try node.whole("cores"), instructionSet: try node.text("instructionSet"),
      blas: try node.text("blas"), memory: try node.whole("memory"))
  }
}
