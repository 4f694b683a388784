extension Report {
  /// Where in the model the error arises: one plot, the worst linears, and all of them.
  func writeLayers(_ page: inout Markup) {
    guard !layers.isEmpty else { return }
    page.newline()
    page.element("h2", text: "Where the error arises")
    let plot = LayerPlot(layers)
    page.element(
      "p", ["class": "lead"],
      text:
        "Signal to quantization noise (SQNR) at the output of each linear, fed with the same inputs in both models, so "
        + "that errors of earlier layers do not count. 6 dB more is half the error, or about one bit per weight.")
    page.element("div", ["class": "stack"]) { page in
      if !plot.series.isEmpty {
        let stems =
          plot.hasStems
          ? " The stem ends where rounding to nearest alone would be: below the dot is a gain, above it a loss."
          : ""
        writeFigure(
          "\(NumberText.count(layers.count)) quantized linears, by decoder layer",
          reading:
            "Each dot is a linear; higher is closer to full precision. Look for a dot far below its colour's line."
            + stems,
          isWide: true, into: &page
        ) { plot.drawing(width: $0) }
      }
    }
    let worst = worstLayers
    let shown = min(8, worst.count)
    if layers.count > 12 && shown > 0 {
      page.newline()
      page.element("div", ["class": "card stack"]) { page in
        page.element("h3", text: "The \(shown) with the most noise")
        page.element("div", ["class": "scroll"]) { writeLayerTable(Array(worst.prefix(shown)), isSortable: false, &$0) }
      }
      page.element("details") { page in
        page.element(
          "summary", text: "All \(NumberText.count(layers.count)) linears, in checkpoint order; press a title to sort")
        page.element("div", ["class": "card scroll"]) { writeLayerTable(layers, isSortable: true, &$0) }
      }
    } else {
      page.element("div", ["class": "card stack scroll"]) { writeLayerTable(layers, isSortable: true, &$0) }
    }
  }

  private func writeLayerTable(_ layers: [Layer], isSortable: Bool, _ page: inout Markup) {
    let values = self.layers.compactMap(\.sqnr).filter(\.isFinite)
    let top = values.max() ?? 1
    let hasBaseline = layers.contains { $0.roundToNearestSqnr != nil }
    var titles = ["Linear", "#SQNR, dB"]
    if hasBaseline { titles.append("#Over rounding, dB") }
    titles += ["#Cosine", "#Bits / weight", "Scheme"]
    writeTable(titles, isSortable: isSortable, into: &page) { page in
      for layer in layers {
        page.element("tr") { page in
          page.element("td", ["data-v": layer.name]) { writeName(layer.name, &$0) }
          writeMeter(layer.sqnr, of: top, &page)
          if hasBaseline { writeGain(layer, &page) }
          writeNumber(layer.cosine, layer.cosine.map { NumberText.fixed($0, decimals: 5) } ?? "–", &page)
          writeNumber(layer.bitsPerWeight, NumberText.fixed(layer.bitsPerWeight, decimals: 2), &page)
          page.element("td", text: layer.scheme)
        }
        page.newline()
      }
    }
  }

  /// A name that may break after its dots.
  func writeName(_ name: String, _ page: inout Markup) {
    page.element("code") { page in
      for (index, part) in name.split(separator: ".", omittingEmptySubsequences: false).enumerated() {
        if index > 0 {
          page.write(".")
          page.empty("wbr")
        }
        page.write(String(part))
      }
    }
  }

  private func writeNumber(_ value: Double?, _ text: String, _ page: inout Markup) {
    page.element("td", ["class": "n", "data-v": value.map { $0.description } ?? ""], text: text)
  }

  private func writeMeter(_ value: Double?, of top: Double, _ page: inout Markup) {
    page.element("td", ["class": "n", "data-v": value.map { $0.description } ?? ""]) { page in
      guard let value else { return page.write("–") }
      page.write(NumberText.decibels(value))
      page.element("span", ["class": "meter hide"]) {
        $0.element("i", ["style": "width:\(Whisker.percent(value / max(top, 1)))"]) { _ in }
      }
    }
  }

  private func writeGain(_ layer: Layer, _ page: inout Markup) {
    guard let sqnr = layer.sqnr, let baseline = layer.roundToNearestSqnr else { return writeNumber(nil, "–", &page) }
    let gain = sqnr - baseline
    page.element("td", ["class": gain < 0 ? "n bad" : "n", "data-v": gain.description]) {
      $0.write((gain > 0 ? "+" : "") + NumberText.fixed(gain, decimals: 1))
    }
  }

  /// What was folded, what was not, and why.
  func writeFolds(_ page: inout Markup) {
    guard !folds.isEmpty else { return }
    let dropped = folds.filter { !$0.kept }
    page.newline()
    page.element("h2", text: "Folded scales")
    page.element(
      "p", ["class": "lead"],
      text: "AWQ scales channels up before rounding and takes the scale back in the operation before. "
        + "\(folds.count - dropped.count) of \(folds.count) foldings made the error smaller and were kept.")
    if !dropped.isEmpty {
      page.element("div", ["class": "card stack"]) { page in
        page.element("h3", text: "\(dropped.count) dropped")
        page.element("div", ["class": "scroll"]) { writeFoldTable(dropped, hasReason: true, &$0) }
      }
    }
    page.newline()
    page.element("details") { page in
      page.element("summary", text: "All \(folds.count) foldings")
      page.element("div", ["class": "card scroll"]) { writeFoldTable(folds, hasReason: !dropped.isEmpty, &$0) }
    }
  }

  private func writeFoldTable(_ folds: [Fold], hasReason: Bool, _ page: inout Markup) {
    var titles = ["Operation", "Kind", "Kept", "#Change", "#Loss before", "#Loss after", "#α"]
    if hasReason { titles.append("Reason") }
    writeTable(titles, isSortable: true, into: &page) { page in
      for fold in folds {
        let change = fold.lossWithout == 0 ? 0 : fold.lossWith / fold.lossWithout - 1
        page.element("tr") { page in
          page.element("td", ["data-v": fold.name]) { writeName(fold.name, &$0) }
          page.element("td", text: fold.kind)
          page.element("td", ["class": fold.kept ? "good" : "bad"], text: fold.kept ? "kept" : "dropped")
          writeNumber(change, NumberText.signedPercent(change), &page)
          writeNumber(fold.lossWithout, NumberText.significant(fold.lossWithout), &page)
          writeNumber(fold.lossWith, NumberText.significant(fold.lossWith), &page)
          writeNumber(fold.alpha, NumberText.fixed(fold.alpha, decimals: 2), &page)
          if hasReason { page.element("td", ["class": "muted w"], text: fold.reason ?? "") }
        }
        page.newline()
      }
    }
  }
}
