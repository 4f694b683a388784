extension Report {
  /// The report as a comment for a pull request, in GitHub's Markdown: the verdict first, one table, the worst layers,
  /// what the experts saw, what was dropped, and where it all came from.
  public func markdown() -> String {
    let sections = [
      markdownVerdict, markdownWarnings, markdownNumbers, markdownWorstLayers, markdownExperts,
      markdownDroppedFolds, markdownLedger, markdownProvenance,
    ]
    return sections.filter { !$0.isEmpty }.joined(separator: "\n\n") + "\n"
  }

  private var markdownVerdict: String {
    let mark =
      switch verdict {
      case .passed: "✅"
      case .failed: "❌"
      case .unlimited: "ℹ️"
      }
    var lines = ["### \(mark) \(verdictTitle): \(verdictReason)"]
    lines.append(
      "\n\(Self.code(candidate.name)) compared with \(Self.code(reference.name))"
        + (sampleText.map { " on \($0)" } ?? "") + (arithmetic.map { "; \($0.sentence)." } ?? "."))
    if case .corrupt(let problems) = integrity {
      lines.append("\n" + problems.map { "- Artifact: \(Self.plain($0))" }.joined(separator: "\n"))
    }
    return lines.joined(separator: "\n")
  }

  private var markdownWarnings: String {
    warnings.isEmpty ? "" : warnings.map { "> ⚠️ \(Self.plain($0))" }.joined(separator: "\n>\n")
  }

  private var markdownNumbers: String {
    var rows: [[String]] = []
    if let comparison = accuracy?.comparison {
      let divergence = comparison.divergence
      rows.append(row("Mean KL divergence, nats", divergence.mean, .meanDivergence) { NumberText.significant($0) })
      rows.append(row("99% of tokens below, nats", divergence.p99, nil) { NumberText.significant($0) })
      rows.append(row("Same top token", comparison.top1Agreement, .top1Agreement) { NumberText.percent($0) })
      rows.append(
        row("Perplexity change", comparison.perplexityRatio, .perplexityIncrease) { NumberText.signedPercent($0 - 1) })
    }
    if let accuracy {
      rows.append(
        row("Perplexity, reference", accuracy.referencePerplexity, nil) { NumberText.significant($0, digits: 4) })
      if let perplexity = accuracy.comparison?.perplexity {
        rows.append(row("Perplexity, candidate", perplexity, nil) { NumberText.significant($0, digits: 4) })
      }
    }
    if let size {
      let share = NumberText.percent(Double(size.bytes) / Double(max(1, size.referenceBytes)))
      rows.append(["Size", NumberText.bytes(size.bytes), "\(share) of \(NumberText.bytes(size.referenceBytes))", ""])
      rows.append(["Bits per weight", NumberText.significant(size.bitsPerWeight), "everything in the artifact", ""])
    }
    return rows.isEmpty ? "" : Self.table(["", "Value", "95% interval", "Limit"], rows)
  }

  private func row(
    _ title: String, _ estimate: Estimate, _ measure: GateCheck.Measure?, _ format: (Double) -> String
  ) -> [String] {
    let limit = gate.first { $0.measure == measure }.map { check in
      (check.verdict == .passed ? "✅ " : "❌ ") + check.limitText + (check.bound == .cautious ? " (95% bound)" : "")
    }
    return [title, format(estimate.value), estimate.boundsText(format), limit ?? ""]
  }

  private var markdownWorstLayers: String {
    let worst = worstLayers.prefix(5)
    guard !worst.isEmpty else { return "" }
    let rows = worst.map { layer in
      [
        Self.code(layer.name), Self.code(layer.scheme), NumberText.significant(layer.bitsPerWeight),
        layer.sqnr.map { NumberText.decibels($0) } ?? "–",
        layer.roundToNearestSqnr.map { NumberText.decibels($0) } ?? "–",
      ]
    }
    return
      "**Worst of \(NumberText.count(layers.count)) linears** (signal to noise at the output; 6 dB is one bit)\n\n"
      + Self.table(["Linear", "Scheme", "Bits/weight", "SQNR, dB", "Rounding alone, dB"], rows)
  }

  private var markdownDroppedFolds: String {
    let dropped = folds.filter { !$0.kept }
    guard !dropped.isEmpty else { return "" }
    let lines = dropped.prefix(5).map { fold in
      "- \(Self.code(fold.name)) (\(Self.plain(fold.kind))): " + Self.plain(fold.reason ?? "no gain")
    }
    let more = dropped.count > 5 ? ["- and \(dropped.count - 5) more"] : []
    return "**\(dropped.count) of \(folds.count) foldings dropped**\n\n" + (lines + more).joined(separator: "\n")
  }

  private var markdownProvenance: String {
    var parts = [
      Self.plain(version), "seed \(seed)", "reference \(Self.code(reference.digest))",
      "artifact \(Self.code(candidate.digest))",
    ]
    if let calibration {
      parts.append("calibrated on \(NumberText.count(calibration.tokens)) tokens of \(Self.code(calibration.source))")
      if let activations = calibration.int8Activations { parts.append(activations.sentence) }
    }
    if let text { parts.append("measured on \(Self.code(text.source))") }
    parts.append(
      "\(Self.plain(machine.cpu)), \(machine.cores) cores, \(NumberText.duration(totalSeconds)), "
        + "peak \(NumberText.bytes(peakMemory))")
    return "<sub>" + parts.joined(separator: " · ") + "</sub>"
  }

  static func table(_ titles: [String], _ rows: [[String]]) -> String {
    let rule = titles.indices.map { $0 == 0 ? "---" : "---:" }
    return ([titles, rule] + rows).map { "| " + $0.joined(separator: " | ") + " |" }.joined(separator: "\n")
  }

  /// A foreign name as inline code: the fence is longer than any run of backticks within, and `|` is escaped as
  /// tables want it.
  static func code(_ text: String) -> String {
    var longest = 0
    var run = 0
    var clean = ""
    for scalar in text.unicodeScalars {
      run = scalar == "`" ? run + 1 : 0
      longest = max(longest, run)
      if scalar == "|" { clean += "\\" }
      clean.unicodeScalars.append(
        scalar == "\n" || scalar == "\t" ? " " : Markup.isUnsafe(scalar) ? "\u{FFFD}" : scalar)
    }
    let fence = String(repeating: "`", count: longest + 1)
    let padding = clean.isEmpty || longest > 0 ? " " : ""
    return fence + padding + clean + padding + fence
  }

  /// Foreign prose: nothing in it is markup, a mention or a reference to an issue.
  static func plain(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "&": result += "&amp;"
      case "@", "#": result += String(scalar) + "\u{2060}"
      case "\\", "`", "*", "_", "{", "}", "[", "]", "|", "~", "!": result += "\\" + String(scalar)
      case "\n", "\t": result += " "
      case _ where Markup.isUnsafe(scalar): result += "\u{FFFD}"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}
