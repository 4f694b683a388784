extension Report {
  /// The four numbers that a reviewer wants first, each with its interval and its limit.
  func writeCards(_ page: inout Markup) {
    page.newline()
    page.element("section", ["class": "cards"]) { page in
      if let accuracy, let comparison = accuracy.comparison {
        writeDivergenceCard(comparison, &page)
        writePerplexityCard(accuracy, comparison, &page)
        writeAgreementCard(comparison, &page)
      } else if let accuracy {
        writeCard(
          "Perplexity", big: NumberText.significant(accuracy.referencePerplexity.value, digits: 4), unit: "", &page
        ) {
          $0.element(
            "p", ["class": "sub"],
            text: "95%: \(accuracy.referencePerplexity.boundsText { NumberText.significant($0, digits: 4) })")
          $0.element(
            "p", ["class": "reading"], text: "How many tokens the model hesitates between, on average; lower is better."
          )
        }
      }
      if let size { writeSizeCard(size, &page) }
    }
  }

  private func writeCard(
    _ title: String, big: String, unit: String, _ page: inout Markup, _ rest: (inout Markup) -> Void
  ) {
    page.newline()
    page.element("div", ["class": "card"]) { page in
      page.element("h3", text: title)
      page.element("p", ["class": "big"]) { page in
        page.write(big)
        if !unit.isEmpty { page.element("small", text: " " + unit) }
      }
      rest(&page)
    }
  }

  private func check(_ measure: GateCheck.Measure) -> GateCheck? { gate.first { $0.measure == measure } }

  private func writeMeasured(
    _ estimate: Estimate, _ measure: GateCheck.Measure, in domain: ClosedRange<Double>, reading: String,
    _ page: inout Markup, _ format: (Double) -> String
  ) {
    func end(_ value: Double) -> String {
      measure == .meanDivergence ? NumberText.trimmed(format(value)) : NumberText.roundPercent(value)
    }
    let check = check(measure)
    let bounds = estimate.low == nil ? "no interval: one window" : "95% interval \(estimate.boundsText(format))"
    page.element("p", ["class": "sub"], text: bounds)
    let whisker = Whisker(estimate: estimate, domain: domain, limit: check.map { ($0.limit, measure.isUpperLimit) })
    whisker.write(into: &page, title: "value \(format(estimate.value)), \(bounds)")
    page.element("div", ["class": "ends"]) { page in
      page.element("span", text: end(domain.lowerBound))
      if let check {
        page.element("span", ["class": check.verdict == .passed ? "good" : "bad"]) {
          $0.write((check.verdict == .passed ? "✓" : "✕") + " allowed " + check.limitText)
        }
      }
      page.element("span", text: end(domain.upperBound))
    }
    page.element("p", ["class": "reading"], text: reading)
  }

  private func writeDivergenceCard(_ comparison: ComparisonSummary.Comparison, _ page: inout Markup) {
    let mean = comparison.divergence.mean
    let top = [mean.value, mean.high ?? 0, check(.meanDivergence)?.limit ?? 0].filter(\.isFinite).max() ?? 1
    writeCard("Mean KL divergence", big: NumberText.significant(mean.value), unit: "nats", &page) { page in
      writeMeasured(
        mean, .meanDivergence, in: 0...PlotScale.roundedUp(top * 1.15),
        reading: "How far the predicted probabilities moved, per token. 0 means not at all.", &page
      ) { NumberText.significant($0) }
    }
  }

  private func writePerplexityCard(
    _ accuracy: ComparisonSummary, _ comparison: ComparisonSummary.Comparison, _ page: inout Markup
  ) {
    let ratio = comparison.perplexityRatio
    let change = Estimate(ratio.value - 1, low: ratio.low.map { $0 - 1 }, high: ratio.high.map { $0 - 1 })
    let values = [change.value, change.low ?? 0, change.high ?? 0, check(.perplexityIncrease)?.limit ?? 0, 0]
      .filter(\.isFinite)
    let top = PlotScale.roundedUp(max((values.max() ?? 0.01) * 1.15, 1e-4))
    let lowest = values.min() ?? 0
    let bottom = lowest < 0 ? -PlotScale.roundedUp(-lowest * 1.15) : 0
    writeCard("Perplexity", big: NumberText.signedPercent(change.value), unit: "", &page) { page in
      writeMeasured(
        change, .perplexityIncrease, in: bottom...top,
        reading: "From \(NumberText.significant(accuracy.referencePerplexity.value, digits: 4)) to "
          + "\(NumberText.significant(comparison.perplexity.value, digits: 4)); both models read the same "
          + "tokens, so the change is known far better than either.",
        &page
      ) { NumberText.signedPercent($0) }
    }
  }

  private func writeAgreementCard(_ comparison: ComparisonSummary.Comparison, _ page: inout Markup) {
    let agreement = comparison.top1Agreement
    let lowest = [agreement.value, agreement.low ?? 1, check(.top1Agreement)?.limit ?? 1].min() ?? 0
    let missing = PlotScale.roundedUp(max((1 - lowest) * 1.25, 1e-4))
    writeCard("Same top token", big: NumberText.percent(agreement.value), unit: "of tokens", &page) { page in
      writeMeasured(
        agreement, .top1Agreement, in: max(0, 1 - missing)...1,
        reading: "How often both models would pick the same next token.", &page
      ) { NumberText.percent($0) }
    }
  }

  private func writeSizeCard(_ size: Size, _ page: inout Markup) {
    let share = Double(size.bytes) / Double(max(1, size.referenceBytes))
    writeCard("Size", big: NumberText.bytes(size.bytes), unit: "", &page) { page in
      page.element(
        "p", ["class": "sub"], text: "\(NumberText.percent(share)) of \(NumberText.bytes(size.referenceBytes))")
      page.element("div", ["class": "track", "title": "artifact over reference"]) {
        $0.element("i", ["class": "fill", "style": "width:\(Whisker.percent(share))"]) { _ in }
      }
      page.element("div", ["class": "ends"]) { page in
        page.element("span", text: "0")
        page.element("span", text: NumberText.bytes(size.referenceBytes))
      }
      var reading = "\(NumberText.significant(size.bitsPerWeight)) bits per weight, everything included"
      if let weights = size.weightsBitsPerWeight {
        reading += "; \(NumberText.significant(weights)) in the quantized linears"
      }
      page.element("p", ["class": "reading"], text: reading + ".")
    }
  }
}
