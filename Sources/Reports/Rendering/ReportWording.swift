// The sentences that the page, the comment and the JUnit file share.

extension GateCheck {
  /// What is limited, as a person says it.
  var title: String {
    switch measure {
    case .meanDivergence: "Mean KL divergence"
    case .perplexityIncrease: "Perplexity increase"
    case .top1Agreement: "Same top token"
    }
  }

  /// The value with its unit; with more digits where three would look equal to the limit.
  var valueText: String {
    let short = Self.text(value, of: measure)
    guard short == Self.text(limit, of: measure), value != limit else { return short }
    return measure == .meanDivergence
      ? NumberText.significant(value, digits: 6) + " nats" : NumberText.significant(value * 100, digits: 6) + "%"
  }

  /// The limit, such as `≤ 0.03 nats`.
  var limitText: String {
    let number =
      measure == .meanDivergence
      ? NumberText.trimmed(NumberText.significant(limit)) + " nats"
      : NumberText.roundPercent(limit)
    return (measure.isUpperLimit ? "≤ " : "≥ ") + number
  }

  /// Value, bound and limit in one line.
  var sentence: String {
    let bound = bound == .cautious ? " (unfavourable 95% bound)" : ""
    return "\(title) \(valueText)\(bound), allowed \(limitText)"
  }

  private static func text(_ value: Double, of measure: Measure) -> String {
    switch measure {
    case .meanDivergence: NumberText.trimmed(NumberText.significant(value)) + " nats"
    case .perplexityIncrease: NumberText.signedPercent(value)
    case .top1Agreement: NumberText.percent(value)
    }
  }
}

extension Report {
  /// The verdict in one or two words.
  var verdictTitle: String {
    switch verdict {
    case .passed: "Passed"
    case .failed: "Failed"
    case .unlimited: "Measured"
    }
  }

  /// Why.
  var verdictReason: String {
    var reasons: [String] = []
    if integrity.isCorrupt { reasons.append("the artifact failed its checks") }
    let failed = gate.filter { $0.verdict == .failed }
    if gate.isEmpty {
      reasons.append("no limits were set")
    } else if failed.isEmpty {
      reasons.append(gate.count == 1 ? "the one limit is kept" : "all \(gate.count) limits are kept")
    } else {
      let verb = failed.count == 1 ? "is" : "are"
      reasons.append(
        gate.count == 1 ? "the one limit is not kept" : "\(failed.count) of \(gate.count) limits \(verb) not kept")
    }
    return reasons.joined(separator: "; ")
  }

  /// The layers with a measured SQNR, worst first; ties in checkpoint order.
  var worstLayers: [Layer] {
    let measured = layers.enumerated().compactMap { index, layer in
      layer.sqnr.map { (sqnr: $0, index: index, layer: layer) }
    }
    return measured.sorted { ($0.sqnr, $0.index) < ($1.sqnr, $1.index) }.map(\.layer)
  }

  /// All stages together, seconds.
  var totalSeconds: Double { time.reduce(0) { $0 + $1.seconds } }

  /// What the text was, such as `147,456 tokens in 288 windows of wikitext-2`.
  var sampleText: String? {
    guard let accuracy else { return nil }
    let windows = accuracy.windows == 1 ? "one window" : "\(NumberText.count(accuracy.windows)) windows"
    return "\(NumberText.count(accuracy.tokens)) tokens in \(windows)"
  }
}

extension Estimate {
  /// Both bounds, or a dash.
  func boundsText(_ format: (Double) -> String) -> String {
    guard let low, let high else { return "–" }
    return format(low) + " … " + format(high)
  }
}
