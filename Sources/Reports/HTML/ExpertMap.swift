/// Tokens per expert as a map: a row per layer, a column per expert, a stronger colour for more, on a logarithmic scale.
struct ExpertMap {
  let experts: Report.Experts

  /// Number of colours for counts above zero.
  static let levels = 9
  /// Above so many cells, neighbours of one colour are drawn as one.
  static let largestSingleCells = 20_000

  private let columns: Int
  private let cellWidth: Double
  private let cellHeight: Double
  private let left: Double
  /// Decimal logarithms of the smallest count above zero and of the largest.
  private let range: ClosedRange<Double>

  init(_ experts: Report.Experts) {
    self.experts = experts
    columns = experts.layers.map(\.tokens.count).max() ?? 0
    let rows = Double(max(1, experts.layers.count))
    let longest = experts.layers.map { SVG.widthOfText(String($0.shortName.prefix(24))) }.max() ?? 0
    left = max(26, longest + 8)
    cellWidth = min(46, max(3, ((1080 - left - 4) / Double(max(1, columns)) * 2).rounded(.down) / 2))
    cellHeight = min(28, max(7, (430 / rows).rounded(.down)))
    let counts = experts.layers.flatMap(\.tokens).filter { $0 > 0 }
    let low = Double(counts.min() ?? 1).decimalLogarithm
    range = low...max(low, Double(counts.max() ?? 1).decimalLogarithm)
  }

  /// The colour of a count: 0 for no token at all, 1 … `levels` from few to many.
  func level(of tokens: Int) -> Int {
    guard tokens > 0 else { return 0 }
    let width = range.upperBound - range.lowerBound
    guard width > 0 else { return Self.levels }
    let share = (Double(tokens).decimalLogarithm - range.lowerBound) / width
    return 1 + min(Self.levels - 1, max(0, Int(share * Double(Self.levels))))
  }

  /// The smallest count of a colour.
  func lowest(ofLevel level: Int) -> Double {
    (range.lowerBound + (range.upperBound - range.lowerBound) * Double(level - 1) / Double(Self.levels)).powerOfTen
  }

  func drawing() -> SVG {
    let top = 18.0
    let bottom = top + cellHeight * Double(experts.layers.count)
    let width = max(left + cellWidth * Double(columns) + 4, left + 530)
    var svg = SVG(width: width, height: bottom + 82)
    svg.text("decoder layer", x: 0, y: 11, class: "label")
    let isSingle = experts.count <= Self.largestSingleCells
    let labelEvery = [1, 2, 5, 10, 20, 50].first { Double($0) * cellHeight >= 14 } ?? 100
    let cells = experts.layers.enumerated().flatMap { index, layer in
      row(layer, y: top + cellHeight * (Double(index) + 0.5) - 0.5, isSingle: isSingle)
    }
    for level in 0...Self.levels {
      svg.bars(cells.filter { $0.level == level }.map(\.bar), thickness: cellHeight - 1, class: "h\(level)")
    }
    for (index, layer) in experts.layers.enumerated() {
      let y = top + cellHeight * Double(index)
      let number = LinearPlace(layer.name).layer ?? index
      if number.isMultiple(of: labelEvery) || labelEvery == 1 {
        svg.text(String(layer.shortName.prefix(24)), x: left - 6, y: y + cellHeight / 2 + 4, anchor: .end)
      }
      drawMarks(layer, y: y, &svg)
    }
    drawColumns(y: bottom, &svg)
    drawLegend(y: bottom + 52, &svg)
    return svg
  }

  private var gap: Double { cellWidth >= 8 ? 1 : cellWidth > 4 ? 0.5 : 0 }

  private func row(_ layer: Report.Experts.Layer, y: Double, isSingle: Bool) -> [(level: Int, bar: SVG.Bar)] {
    let levels = layer.tokens.map(level(of:))
    var cells: [(level: Int, bar: SVG.Bar)] = []
    var first = 0
    while first < levels.count {
      var end = first + 1
      if !isSingle { while end < levels.count && levels[end] == levels[first] { end += 1 } }
      let x = left + cellWidth * Double(first)
      let width = cellWidth * Double(end - first) - gap
      cells.append((levels[first], (x, y, width, title(layer, first..<end))))
      first = end
    }
    return cells
  }

  /// Counts where there is room for them, and the outlines of starved experts.
  private func drawMarks(_ layer: Report.Experts.Layer, y: Double, _ svg: inout SVG) {
    if cellWidth >= 38 && cellHeight >= 20 {
      for (expert, count) in layer.tokens.enumerated() {
        svg.text(
          Self.short(count), x: left + cellWidth * (Double(expert) + 0.5) - gap / 2, y: y + cellHeight / 2 + 4,
          anchor: .middle, class: level(of: count) > 5 ? "oncell" : "cell")
      }
    }
    let inset = cellWidth >= 8 ? 1.6 : 0.8
    svg.outlines(
      layer.starved.map { expert in
        (
          left + cellWidth * Double(expert) + inset / 2, y + inset / 2, cellWidth - gap - inset,
          cellHeight - 1 - inset
        )
      }, class: cellWidth >= 8 ? "starved wide" : "starved")
  }

  private func title(_ layer: Report.Experts.Layer, _ cells: Range<Int>) -> String {
    let part = layer.tokens[cells]
    let low = NumberText.count(part.min() ?? 0)
    let high = NumberText.count(part.max() ?? 0)
    let who =
      cells.count == 1 ? "expert \(cells.lowerBound)" : "experts \(cells.lowerBound) to \(cells.upperBound - 1)"
    return "layer \(layer.shortName), \(who): \(low == high ? low : low + " to " + high)"
  }

  private func drawColumns(y: Double, _ svg: inout SVG) {
    var step = 1
    while Double(step) * cellWidth < 34 { step *= 2 }
    for expert in stride(from: 0, to: columns, by: step) {
      svg.text(String(expert), x: left + cellWidth * (Double(expert) + 0.5), y: y + 14, anchor: .middle)
    }
    svg.text(
      "expert", x: max(left + cellWidth * Double(columns), left + 40), y: y + 31, anchor: .end, class: "label")
  }

  private func drawLegend(y: Double, _ svg: inout SVG) {
    let size = 26.0
    let start = left + size + 8
    svg.text("0", x: left + size / 2, y: y + 21, anchor: .middle)
    svg.bars([(left, y, size, "no token")], thickness: 11, class: "h0")
    for level in 1...Self.levels {
      let lowest = NumberText.significant(lowest(ofLevel: level).rounded(.up), digits: 2)
      svg.bars(
        [(start + size * Double(level - 1), y, size, "from " + lowest)], thickness: 11, class: "h\(level)")
    }
    let middle = (range.lowerBound + range.upperBound) / 2
    let ends = [(range.lowerBound, SVG.Anchor.start, 0.0), (middle, .middle, 0.5), (range.upperBound, .end, 1)]
    for (exponent, anchor, share) in range.upperBound > range.lowerBound ? ends : [ends[2]] {
      svg.text(
        Self.short(Int(exponent.powerOfTen.rounded())), x: start + size * Double(Self.levels) * share, y: y + 21,
        anchor: anchor)
    }
    let end = start + size * Double(Self.levels)
    svg.text("tokens (log scale)", x: end + 10, y: y + 4, class: "label")
    if !experts.starved.isEmpty {
      svg.outlines([(end + 128, y - 5, 12, 10)], class: "starved wide")
      svg.text("under the quota", x: end + 147, y: y + 4, class: "label")
    }
  }

  /// A count that fits into a cell.
  static func short(_ count: Int) -> String {
    switch count {
    case ..<10_000: NumberText.count(count)
    case ..<10_000_000: NumberText.count((count + 500) / 1000) + "k"
    default: NumberText.count((count + 500_000) / 1_000_000) + "M"
    }
  }
}
