extension Report {
  /// How the predictions changed: four plots and every number.
  func writeAccuracy(_ page: inout Markup) {
    guard let accuracy, let comparison = accuracy.comparison else { return }
    let divergence = comparison.divergence
    let distribution = comparison.distribution
    page.newline()
    page.element("h2", text: "How much the predictions changed")
    page.element(
      "p", ["class": "lead"],
      text:
        "At every token of the text both models give each possible next token a probability. KL divergence says how "
        + "far the two lists are apart: below 0.01 nats they can hardly be told apart, above 1 the models disagree.")
    page.element("div", ["class": "grid"]) { page in
      writeFigure(
        "How many tokens changed how much", reading: histogramReading(distribution), into: &page
      ) { DivergenceHistogram(divergence: divergence, distribution: distribution).drawing(width: $0) }
      writePerplexities(accuracy, comparison, &page)
      if distribution.windowMeans.count > 1 {
        let limit = gate.first { $0.measure == .meanDivergence }?.limit
        writeFigure(
          "Across the text",
          reading:
            "Each bar is one window of text. Even heights mean the damage does not depend on the kind of text; a "
            + "tall one marks a passage worth reading.", into: &page
        ) { WindowStrip(means: distribution.windowMeans, mean: divergence.mean.value, limit: limit).drawing(width: $0) }
      }
      if distribution.positionMeans.count > 1 {
        writeFigure(
          "Along a window",
          reading:
            "Mean over all windows at the same place. A line that climbs to the right means errors add up as the "
            + "context grows; it should stay level.", into: &page
        ) {
          PositionPlot(means: distribution.positionMeans, positionsPerStretch: distribution.positionsPerStretch)
            .drawing(width: $0)
        }
      }
    }
    writeNumbers(accuracy, comparison, &page)
  }

  private func histogramReading(_ distribution: DivergenceDistribution) -> String {
    var reading =
      "Each bar is the share of tokens whose divergence lies there; further right is worse. Dashed marks: the "
      + "middle token, the mean, and what 99% and 99.9% of tokens stay below."
    if (distribution.histogram.first ?? 0) > 0 {
      reading += " The first bar holds everything below 10⁻⁸, identical predictions too."
    }
    return reading
  }

  private func writePerplexities(
    _ accuracy: ComparisonSummary, _ comparison: ComparisonSummary.Comparison, _ page: inout Markup
  ) {
    let rows = [("Reference", accuracy.referencePerplexity), ("Candidate", comparison.perplexity)]
    let values = rows.flatMap { [$0.1.value, $0.1.low ?? $0.1.value, $0.1.high ?? $0.1.value] }.filter(\.isFinite)
    let low = values.min() ?? 0
    let high = values.max() ?? 1
    let margin = max((high - low) * 0.15, high * 0.005)
    page.newline()
    page.element("figure", ["class": "card", "style": "margin:0"]) { page in
      page.element("h3", text: "Perplexity, with 95% intervals")
      for (name, estimate) in rows {
        writeRow(
          name, NumberText.significant(estimate.value, digits: 4),
          estimate.boundsText { NumberText.significant($0, digits: 4) },
          Whisker(estimate: estimate, domain: low - margin...high + margin), &page)
      }
      writeEnds(NumberText.significant(low - margin), "lower is better", NumberText.significant(high + margin), &page)
      let ratio = comparison.perplexityRatio
      let limit = gate.first { $0.measure == .perplexityIncrease }?.limit
      let bounds = [ratio.value, ratio.low ?? 1, ratio.high ?? 1, 1 + (limit ?? 0), 1].filter(\.isFinite)
      let first = bounds.min() ?? 1
      let last = bounds.max() ?? 1
      let space = max((last - first) * 0.15, 1e-5)
      page.element("p", ["class": "gap"], text: "Candidate over reference")
      writeRow(
        "Ratio", NumberText.fixed(ratio.value, decimals: 4), ratio.boundsText { NumberText.fixed($0, decimals: 4) },
        Whisker(estimate: ratio, domain: first - space...last + space, limit: limit.map { (1 + $0, true) }), &page)
      writeEnds(
        NumberText.fixed(first - space, decimals: 4), "1 is no change", NumberText.fixed(last + space, decimals: 4),
        &page)
      writeProbabilityChange(comparison, &page)
      page.element(
        "figcaption", ["class": "reading"],
        text:
          "Mark: measured; band: 95% interval; red line: the limit. The two upper intervals are wide because texts "
          + "differ, and overlap says nothing; judge by the ratio, where both models read the same tokens.")
    }
  }

  private func writeProbabilityChange(_ comparison: ComparisonSummary.Comparison, _ page: inout Markup) {
    let change = comparison.meanProbabilityChange
    let reach = PlotScale.roundedUp([change.value, change.low ?? 0, change.high ?? 0].map(abs).max() ?? 0)
    func points(_ value: Double) -> String { (value > 0 ? "+" : "") + NumberText.significant(value * 100, digits: 2) }
    page.element("p", ["class": "gap"], text: "Probability of the token that follows, mean change in points")
    writeRow(
      "Change", points(change.value), change.boundsText(points), Whisker(estimate: change, domain: -reach...reach),
      &page)
    writeEnds(points(-reach), "0 is no change", points(reach), &page)
  }

  private func writeRow(_ name: String, _ value: String, _ bounds: String, _ whisker: Whisker, _ page: inout Markup) {
    page.element("div", ["class": "row"]) { page in
      page.element("span", text: name)
      whisker.write(into: &page, title: "\(name) \(value), 95% interval \(bounds)")
      page.element("span") { page in
        page.element("b", text: value)
        page.element("span", ["class": "sub"], text: "  \(bounds)")
      }
    }
  }

  private func writeEnds(_ low: String, _ middle: String, _ high: String, _ page: inout Markup) {
    page.element("div", ["class": "ends inset"]) { page in
      page.element("span", text: low)
      page.element("span", text: middle)
      page.element("span", text: high)
    }
  }

  private func writeNumbers(
    _ accuracy: ComparisonSummary, _ comparison: ComparisonSummary.Comparison, _ page: inout Markup
  ) {
    let divergence = comparison.divergence
    func nats(_ value: Double) -> String { NumberText.significant(value) }
    let rows: [(String, Estimate, (Double) -> String, String)] = [
      ("KL divergence, mean", divergence.mean, nats, "nats per token; the limit is on this one"),
      ("KL divergence, median", divergence.median, nats, "half of the tokens change less"),
      ("KL divergence, 90%", divergence.p90, nats, "one token in 10 changes more"),
      ("KL divergence, 99%", divergence.p99, nats, "one token in 100 changes more"),
      ("KL divergence, 99.9%", divergence.p999, nats, "one token in 1,000 changes more"),
      ("KL divergence, largest", divergence.max, nats, "the worst token seen; no interval can be given"),
      ("Same top token", comparison.top1Agreement, NumberText.percent, "both models pick the same next token"),
      (
        "Perplexity, reference", accuracy.referencePerplexity, { NumberText.significant($0, digits: 4) },
        "exp of the mean loss over all tokens"
      ),
      ("Perplexity, candidate", comparison.perplexity, { NumberText.significant($0, digits: 4) }, "the same tokens"),
      (
        "Perplexity, ratio", comparison.perplexityRatio, { NumberText.fixed($0, decimals: 4) },
        "paired: candidate over reference"
      ),
      (
        "Probability of the true token, mean change", comparison.meanProbabilityChange, NumberText.signedPercent,
        "of 100%; negative means the candidate gives the text less"
      ),
      (
        "Probability of the true token, RMS change", comparison.rmsProbabilityChange, NumberText.percent,
        "of 100%; the typical size of the change"
      ),
    ]
    page.newline()
    page.element("details") { page in
      page.element("summary", text: "All numbers")
      page.element("div", ["class": "card scroll"]) { page in
        writeTable(["Measure", "#Value", "#95% interval", "Meaning"], into: &page) { page in
          for (name, estimate, format, meaning) in rows {
            page.element("tr") { page in
              page.element("td", text: name)
              page.element("td", ["class": "n"], text: format(estimate.value))
              page.element("td", ["class": "n muted"], text: estimate.boundsText(format))
              page.element("td", ["class": "muted w"], text: meaning)
            }
            page.newline()
          }
        }
      }
      page.element(
        "p", ["class": "reading"],
        text:
          "Intervals: bootstrap over whole windows (seed \(seed)), since tokens of one window depend on each other."
      )
    }
  }

  /// A table; titles that begin with `#` are columns of numbers.
  func writeTable(_ titles: [String], isSortable: Bool = false, into page: inout Markup, rows: (inout Markup) -> Void) {
    page.element("table", ["class": isSortable ? "sortable" : ""]) { page in
      page.element("thead") { page in
        page.element("tr") { page in
          for title in titles {
            let isNumber = title.hasPrefix("#")
            page.element(
              "th", ["class": isNumber ? "n" : "", "scope": "col"], text: isNumber ? String(title.dropFirst()) : title)
          }
        }
      }
      page.newline()
      page.element("tbody") { rows(&$0) }
    }
  }
}
