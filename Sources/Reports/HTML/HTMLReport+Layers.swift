extension Report {
  /// Where in the model the error arises: one plot, or two where there are experts, the worst linears, and all of them.
  func writeLayers(_ page: inout Markup) {
    guard !layers.isEmpty else { return }
    page.newline()
    page.element("h2", text: "Where the error arises")
    page.element(
      "p", ["class": "lead"],
      text:
        "Signal to quantization noise (SQNR) at the output of each linear, fed with the same inputs in both models, so "
        + "that errors of earlier layers do not count. 6 dB more is half the error, or about one bit per weight.")
    let experts = layers.count { LinearPlace($0.name).part == .expert }
    page.element("div", ["class": "stack"]) { page in
      let plot = LayerPlot(layers)
      if !plot.series.isEmpty {
        var reading =
          "Each dot is a linear; higher is closer to full precision. Look for a dot far below its colour's line."
        if plot.hasStems {
          reading +=
            " The stem ends where rounding to nearest alone would be: below the dot is a gain, above it a loss."
        }
        if plot.series.contains(where: \.isHollow) { reading += " Rings are experts that see every token." }
        let count = NumberText.count(layers.count - experts)
        writeFigure(
          experts == 0
            ? "\(count) quantized linears, by decoder layer" : "\(count) quantized linears outside the experts",
          reading: reading, isWide: true, into: &page
        ) { plot.drawing(width: $0) }
      }
    }
    page.element("div", ["class": "stack"]) { page in
      let plot = LayerPlot(layers, experts: true)
      if !plot.series.isEmpty {
        writeFigure(
          "\(NumberText.count(experts)) quantized linears of experts",
          reading:
            "Each dot is the middle one of a layer's experts, and its stem ends at the worst. A long stem means that "
            + "some expert is far worse than its neighbours, often because it saw few tokens.",
          isWide: true, into: &page
        ) { plot.drawing(width: $0) }
      }
    }
    let worst = worstLayers
    let shown = min(8, worst.count)
    let rows = LayerRow.rows(of: layers)
    if layers.count > 12 && shown > 0 {
      page.newline()
      page.element("div", ["class": "card stack"]) { page in
        page.element("h3", text: "The \(shown) with the most noise")
        page.element("div", ["class": "scroll"]) {
          writeLayerTable(worst.prefix(shown).map { LayerRow(name: $0.name, layers: [$0]) }, isSortable: false, &$0)
        }
      }
      page.element("details") { page in
        let summary =
          rows.count == layers.count
          ? "All \(NumberText.count(layers.count)) linears, in checkpoint order; press a title to sort"
          : "All \(NumberText.count(layers.count)) linears, experts of a layer together by their median; press a title to sort"
        page.element("summary", text: summary)
        page.element("div", ["class": "card scroll"]) { writeLayerTable(rows, isSortable: true, &$0) }
      }
    } else {
      page.element("div", ["class": "card stack scroll"]) { writeLayerTable(rows, isSortable: true, &$0) }
    }
  }

  private func writeLayerTable(_ rows: [LayerRow], isSortable: Bool, _ page: inout Markup) {
    let top = layers.lazy.compactMap(\.sqnr).filter(\.isFinite).max() ?? 1
    let hasBaseline = rows.contains { $0.gain != nil }
    let hasExperts = rows.contains { $0.layers.count > 1 }
    var titles = ["Linear", "#SQNR, dB"]
    if hasExperts { titles.append("#Lowest") }
    if hasBaseline { titles.append("#Over rounding, dB") }
    titles += ["#Cosine", "#Bits / weight", "Scheme"]
    writeTable(titles, isSortable: isSortable, into: &page) { page in
      for row in rows {
        page.element("tr") { page in
          page.element("td") { page in
            writeName(row.name, &page)
            if row.layers.count > 1 {
              page.element("span", ["class": "sub"], text: " ×" + NumberText.count(row.layers.count))
            }
          }
          writeMeter(row.sqnr, of: top, &page)
          if hasExperts { writeWorst(row, &page) }
          if hasBaseline { writeGain(row.gain, &page) }
          writeNumber(row.cosine, row.cosine.map { NumberText.fixed($0, decimals: 5) } ?? "–", &page)
          writeNumber(row.bitsPerWeight, NumberText.fixed(row.bitsPerWeight, decimals: 2), &page)
          page.element("td", text: row.schemes)
        }
        page.newline()
      }
    }
  }

  /// The lowest SQNR of a row and the expert that has it.
  private func writeWorst(_ row: LayerRow, _ page: inout Markup) {
    guard row.layers.count > 1, let worst = row.worst, let sqnr = worst.sqnr else {
      return writeNumber(nil, "", &page)
    }
    page.element("td", ["class": "n", "title": worst.name, "data-v": Self.sortKey(sqnr)]) { page in
      page.write(NumberText.decibels(sqnr))
      let owner = LinearPlace.expert(worst.name).map { "expert \($0)" } ?? worst.name
      page.element("span", ["class": "sub"], text: " " + owner)
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

  /// A number for the script that sorts; eight digits are enough for that.
  private static func sortKey(_ value: Double) -> String { Float(value).description }

  func writeNumber(_ value: Double?, _ text: String, _ page: inout Markup) {
    page.element("td", ["class": "n", "data-v": value.map(Self.sortKey) ?? ""], text: text)
  }

  private func writeMeter(_ value: Double?, of top: Double, _ page: inout Markup) {
    page.element("td", ["class": "n", "data-v": value.map(Self.sortKey) ?? ""]) { page in
      guard let value else { return page.write("–") }
      page.write(NumberText.decibels(value))
      page.element("span", ["class": "meter hide"]) {
        $0.element("i", ["style": "width:\(Whisker.percent(value / max(top, 1)))"]) { _ in }
      }
    }
  }

  private func writeGain(_ gain: Double?, _ page: inout Markup) {
    guard let gain else { return writeNumber(nil, "–", &page) }
    page.element("td", ["class": gain < 0 ? "n bad" : "n", "data-v": Self.sortKey(gain)]) {
      $0.write((gain > 0 ? "+" : "") + NumberText.fixed(gain, decimals: 1))
    }
  }
}
