extension Report {
  /// Who of the experts starved, and how even the layers were.
  var markdownExperts: String {
    guard let experts, experts.count > 0 else { return "" }
    var parts = ["**Experts**: " + experts.sentence]
    let starved = experts.starved
    if !starved.isEmpty {
      let lines = starved.prefix(20).map { one in
        "- \(Self.code(one.layer.name)) expert \(one.expert): \(NumberText.count(one.tokens)) tokens; "
          + Experts.text(one.help)
      }
      let more = starved.count > 20 ? ["- and \(NumberText.count(starved.count - 20)) more"] : []
      parts.append((lines + more).joined(separator: "\n"))
    }
    let rows = experts.layers.map { layer in
      let spread = layer.spread
      return [
        Self.code(layer.name), NumberText.count(spread.least),
        NumberText.trimmed(NumberText.fixed(spread.median, decimals: 1)), NumberText.count(spread.most),
        "\(NumberText.fixed(layer.effectiveExperts, decimals: 1)) of \(NumberText.count(layer.tokens.count))",
      ]
    }
    let table = Self.table(["Layer", "Least tokens", "Median", "Most", "As if evenly on"], rows)
    parts.append(Self.folded("Calibration tokens per expert, by layer", table, isLong: rows.count > 4))
    return parts.joined(separator: "\n\n")
  }

  /// What became of the tensors: counts, what was dropped and why, and the patterns.
  var markdownLedger: String {
    guard let ledger, !ledger.entries.isEmpty else { return "" }
    let totals = ledger.summary
    let counts = Ledger.Kind.allCases.compactMap { kind -> String? in
      guard let total = totals[kind], total.tensors > 0 else { return nil }
      let bytes =
        kind == .dropped
        ? NumberText.bytes(total.bytes) : "\(NumberText.bytes(total.bytes)) → \(NumberText.bytes(total.bytesWritten))"
      return "\(NumberText.count(total.tensors)) \(kind.rawValue) (\(bytes))"
    }
    var parts = [
      "**All \(NumberText.count(ledger.entries.count)) tensors accounted for**: " + counts.joined(separator: ", ")
    ]
    let dropped = ledger.dropped(upTo: 20)
    if !dropped.isEmpty {
      let lines = dropped.prefix(20).map { one in
        let count = one.count > 1 ? " ×\(NumberText.count(one.count))" : ""
        return "- dropped \(Self.code(one.pattern))\(count): \(Self.plain(one.detail))"
      }
      let more =
        dropped.count > 20 ? ["- and \(NumberText.count(dropped.count - 20)) more patterns, in report.json"] : []
      parts.append((lines + more).joined(separator: "\n"))
    }
    let patterns = ledger.patterns()
    let rows = patterns.prefix(40).map { one in
      [
        Self.code(one.pattern), NumberText.count(one.count),
        one.fate.kind.rawValue + (one.detail.isEmpty ? "" : ", " + Self.plain(one.detail)),
        NumberText.bytes(one.bytes.source), NumberText.bytes(one.bytes.written),
      ]
    }
    var table = Self.table(["Tensors", "Count", "Fate", "Source", "Written"], rows)
    if patterns.count > 40 { table += "\n\n\(NumberText.count(patterns.count - 40)) more patterns are in report.html." }
    parts.append(Self.folded("All tensors, as patterns", table, isLong: true))
    return parts.joined(separator: "\n\n")
  }

  /// A table that opens when its title is pressed, where it is long.
  private static func folded(_ title: String, _ table: String, isLong: Bool) -> String {
    isLong ? "<details><summary>\(title)</summary>\n\n\(table)\n\n</details>" : table
  }
}
