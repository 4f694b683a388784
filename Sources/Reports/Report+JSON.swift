public import StrictJSON

extension Report {
  /// The report as report.json holds it: the same keys in the same order every time.
  ///
  /// Bounds that are missing are `null`, and so are numbers that are not finite.
  public func json() -> JSONValue {
    var members: [(String, JSONValue)] = [
      ("version", .string(version)),
      ("verdict", .string(verdict.rawValue)),
      ("reference", reference.json),
      ("candidate", candidate.json),
    ]
    if let accuracy { members += accuracy.members }
    members += [
      ("size", size.map(\.json) ?? .null),
      ("gate", .array(gate.map(\.json))),
      ("integrity", integrity.json),
      ("layers", .array(layers.map(\.json))),
      ("folds", .array(folds.map(\.json))),
      ("experts", experts.map(\.json) ?? .null),
      ("ledger", ledger.map(\.json) ?? .null),
      ("recipe", recipe),
      ("calibration", calibration.map(\.json) ?? .null),
      ("text", text.map(\.json) ?? .null),
      ("arithmetic", arithmetic.map(\.json) ?? .null),
      ("seed", .number(String(seed))),
      ("machine", machine.json),
      ("time", object(time.map { ($0.name, .real($0.seconds)) })),
      ("peakMemory", .integer(peakMemory)),
      ("warnings", .array(warnings.map { .string($0) })),
    ]
    if let distribution = accuracy?.comparison?.distribution { members.append(("distribution", distribution.json)) }
    return object(members)
  }
}

private func object(_ members: [(String, JSONValue)]) -> JSONValue {
  .object(JSONObject(members.map { JSONObject.Member($0.0, $0.1) }))
}

private func text(_ value: String?) -> JSONValue { value.map { .string($0) } ?? .null }

private func real(_ value: Double?) -> JSONValue { value.map { .real($0) } ?? .null }

extension Estimate {
  fileprivate var json: JSONValue { ["value": .real(value), "low": real(low), "high": real(high)] }
}

extension ComparisonSummary {
  fileprivate var members: [(String, JSONValue)] {
    var perplexity = [("reference", referencePerplexity.json)]
    var members: [(String, JSONValue)] = [("tokens", .integer(tokens)), ("windows", .integer(windows))]
    guard let comparison else { return members + [("perplexity", object(perplexity))] }
    let divergence = comparison.divergence
    perplexity += [("candidate", comparison.perplexity.json), ("ratio", comparison.perplexityRatio.json)]
    members += [
      (
        "kl",
        [
          "mean": divergence.mean.json, "median": divergence.median.json, "p90": divergence.p90.json,
          "p99": divergence.p99.json, "p999": divergence.p999.json, "max": divergence.max.json,
        ]
      ),
      ("top1Agreement", comparison.top1Agreement.json),
      ("perplexity", object(perplexity)),
      (
        "targetProbabilityChange",
        ["mean": comparison.meanProbabilityChange.json, "rms": comparison.rmsProbabilityChange.json]
      ),
    ]
    return members
  }
}

extension DivergenceDistribution {
  fileprivate var json: JSONValue {
    [
      "binsPerDecade": .integer(Self.binsPerDecade),
      "lowestExponent": .integer(Self.lowestExponent),
      "histogram": .array(histogram.map { .integer($0) }),
      "windowMeans": .array(windowMeans.map { .real($0) }),
      "positionsPerStretch": .integer(positionsPerStretch),
      "positionMeans": .array(positionMeans.map { .real($0) }),
    ]
  }
}

extension GateCheck {
  fileprivate var json: JSONValue {
    [
      "name": .string(measure.rawValue), "limit": .real(limit), "value": .real(value), "bound": .string(bound.rawValue),
      "verdict": .string(verdict.rawValue),
    ]
  }
}

extension Report.Reference {
  fileprivate var json: JSONValue { ["name": .string(name), "digest": .string(digest), "scheme": text(scheme)] }
}

extension Report.Candidate {
  fileprivate var json: JSONValue { ["name": .string(name), "digest": .string(digest), "format": .string(format)] }
}

extension Report.Size {
  fileprivate var json: JSONValue {
    [
      "bytes": .integer(bytes), "bitsPerWeight": .real(bitsPerWeight),
      "weightsBitsPerWeight": real(weightsBitsPerWeight), "referenceBytes": .integer(referenceBytes),
    ]
  }
}

extension Report.Integrity {
  fileprivate var json: JSONValue {
    switch self {
    case .notChecked: ["verdict": "notChecked"]
    case .intact(let parts): ["verdict": "passed", "parts": .integer(parts)]
    case .corrupt(let problems): ["verdict": "failed", "problems": .array(problems.map { .string($0) })]
    }
  }
}

extension Report.Layer {
  fileprivate var json: JSONValue {
    [
      "name": .string(name), "scheme": .string(scheme), "bitsPerWeight": .real(bitsPerWeight), "sqnr": real(sqnr),
      "cosine": real(cosine), "roundToNearestSqnr": real(roundToNearestSqnr),
    ]
  }
}

extension Report.Fold {
  fileprivate var json: JSONValue {
    [
      "name": .string(name), "kind": .string(kind), "layer": .integer(layer), "kept": .bool(kept),
      "alpha": .real(alpha), "lossWithout": .real(lossWithout), "lossWith": .real(lossWith), "reason": text(reason),
    ]
  }
}

extension Report.Calibration {
  fileprivate var json: JSONValue {
    var object: JSONObject = [
      "source": .string(source), "tokens": .integer(tokens), "samples": .integer(samples), "digest": .string(digest),
    ]
    if !convergence.isEmpty {
      object["convergence"] = .array(
        convergence.map { ["samples": .integer($0.samples), "error": .real($0.error)] })
    }
    if let int8Activations { object["int8Activations"] = int8Activations.json }
    return .object(object)
  }
}

extension Report.Text {
  fileprivate var json: JSONValue {
    [
      "source": .string(source), "tokens": .integer(tokens), "windowLength": .integer(windowLength),
      "digest": .string(digest),
    ]
  }
}

extension Report.Arithmetic {
  fileprivate var json: JSONValue {
    var object: JSONObject = [
      "activations": .string(activations.rawValue), "keysAndValues": .string(keysAndValues.rawValue),
    ]
    if let floatLinears { object["floatLinears"] = .integer(floatLinears) }
    return .object(object)
  }
}

extension Report.Machine {
  fileprivate var json: JSONValue {
    [
      "cpu": .string(cpu), "cores": .integer(cores), "instructionSet": .string(instructionSet), "blas": .string(blas),
      "memory": .integer(memory),
    ]
  }
}
