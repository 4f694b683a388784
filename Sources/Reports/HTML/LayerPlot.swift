/// SQNR of every linear over the layer index, a colour per kind, with a stem: down to what rounding alone gives, or,
/// for experts, from the median to the worst.
struct LayerPlot {
  /// One mark: a linear, or the experts of one layer that do the same.
  struct Point {
    let layer: Int
    /// The linear's, or the experts' median, dB.
    let sqnr: Double
    /// Where the stem ends, dB.
    let stem: Double?
    /// The lowest value the mark stands for, dB, and whose it is.
    let lowest: (sqnr: Double, owner: String)
    let title: String
  }

  /// All marks of one kind, by layer.
  struct Series {
    let label: String
    /// The colour; a shared expert has that of the dense linear it stands for.
    let hue: Int
    let isHollow: Bool
    let points: [Point]
  }

  /// Linears within decoder layers, by kind in the order a layer computes them.
  let series: [Series]

  /// - Parameters:
  ///   - layers: all linears.
  ///   - experts: whether to show the experts that a router picks from, or all others.
  init(_ layers: [Report.Layer], experts: Bool = false) {
    var groups: [LinearPlace: [Report.Layer]] = [:]
    for layer in layers where layer.sqnr?.isFinite == true {
      let place = LinearPlace(layer.name)
      guard place.layer != nil, (place.part == .expert) == experts else { continue }
      groups[place, default: []].append(layer)
    }
    let found = Set(groups.keys.map(\.kind))
    let known = LinearPlace.order.filter(found.contains)
    let kinds = known + found.subtracting(known).sorted()
    let byName = Dictionary(grouping: groups.keys) { $0.label }
    series = [LinearPlace.Part.plain, .shared, .expert].flatMap { part in
      kinds.enumerated().compactMap { hue, kind in
        let places = (byName[part == .shared ? "shared " + kind : kind] ?? [])
          .filter { $0.part == part }.sorted { ($0.layer ?? 0, $0.pattern) < ($1.layer ?? 0, $1.pattern) }
        guard let label = places.first?.label else { return nil }
        return Series(
          label: label, hue: hue, isHollow: part == .shared,
          points: places.compactMap { Self.point(LayerRow(name: $0.pattern, layers: groups[$0] ?? []), $0) })
      }
    }
  }

  private static func point(_ row: LayerRow, _ place: LinearPlace) -> Point? {
    guard let median = row.sqnr, let worst = row.worst, let lowest = worst.sqnr, let layer = place.layer else {
      return nil
    }
    func text(_ value: Double) -> String { NumberText.decibels(value, unit: " dB") }
    let owner = String(place.label)
    guard row.layers.count == 1 else {
      let count = NumberText.count(row.layers.count)
      let title = "\(row.name), \(count) experts: median \(text(median)), lowest \(text(lowest)) in \(worst.name)"
      return Point(layer: layer, sqnr: median, stem: lowest, lowest: (lowest, owner), title: title)
    }
    var title = "\(worst.name), \(text(lowest))"
    let baseline = worst.roundToNearestSqnr.flatMap { $0.isFinite ? $0 : nil }
    if let baseline { title += ", rounding alone \(text(baseline))" }
    return Point(layer: layer, sqnr: lowest, stem: baseline, lowest: (lowest, owner), title: title)
  }

  /// Whether any mark has a stem.
  var hasStems: Bool { series.contains { $0.points.contains { $0.stem != nil } } }

  func drawing(width: Double) -> SVG {
    let points = series.flatMap(\.points)
    // Exact linears would flatten all others; they are drawn at the top instead.
    let values = points.flatMap { [$0.sqnr, $0.stem ?? $0.sqnr] }.filter { $0 < NumberText.exactDecibels }
    let low = ((values.min() ?? 190) / 2.5 - 0.4).rounded(.down) * 2.5
    let high = ((values.max() ?? 200) / 2.5 + 0.2).rounded(.up) * 2.5
    let lastLayer = points.map(\.layer).max() ?? 0
    let longest = series.map { SVG.widthOfText(Self.shortened($0.label)) }.max() ?? 0
    var frame = PlotFrame(
      width: width, height: width > 600 ? 360 : 320, x: -0.5...Double(lastLayer) + 0.5, y: low...high, left: 34,
      right: max(44, longest * 1.15 + 10))
    frame.drawAxes(
      x: frame.x.wholeTicks(Int(width / 80)).filter { $0 >= 0 }.map { ($0, String(Int($0))) }, label: "decoder layer",
      y: PlotFrame.ticks(frame.y.ticks(6)), label: "SQNR of the layer's output, dB (higher is better)")
    let slot = frame.x(1) - frame.x(0)
    let spread = min(slot * 0.72, 34)
    for (index, one) in series.enumerated() { draw(one, shift: shift(index, spread), slot: slot, &frame) }
    drawNames(&frame)
    drawLowest(&frame, spread: spread)
    return frame.svg
  }

  /// How far right of its layer's middle a series stands, pixels.
  private func shift(_ index: Int, _ spread: Double) -> Double {
    series.count == 1 ? 0 : (Double(index) / Double(series.count - 1) - 0.5) * spread
  }

  private static func shortened(_ label: String) -> String { String(label.prefix(14)) }

  /// Names the lowest mark, the first that a reviewer looks for.
  private func drawLowest(_ frame: inout PlotFrame, spread: Double) {
    let marks = series.enumerated().flatMap { index, one in one.points.map { (index: index, point: $0) } }
    guard let lowest = marks.min(by: { $0.point.lowest.sqnr < $1.point.lowest.sqnr }) else { return }
    let x = frame.x(Double(lowest.point.layer)) + shift(lowest.index, spread)
    let isLeft = x > (frame.x.range.start + frame.x.range.end) / 2
    let value = NumberText.decibels(lowest.point.lowest.sqnr, unit: " dB")
    frame.svg.text(
      "lowest: layer \(lowest.point.layer) \(lowest.point.lowest.owner), \(value)", x: x + (isLeft ? -8 : 8),
      y: frame.y(lowest.point.lowest.sqnr) + 4, anchor: isLeft ? .end : .start, class: "marklabel halo")
  }

  private func draw(_ one: Series, shift: Double, slot: Double, _ frame: inout PlotFrame) {
    let radius = min(max(slot * 0.085, 1.6), 3.2)
    let name = "s\(one.hue % 8)"
    // A drawing for phones needs no titles: nothing hovers there.
    frame.svg.path(one.points.map { (frame.x(Double($0.layer)) + shift, frame.y($0.sqnr)) }, class: "thread \(name)")
    for point in one.points {
      let x = frame.x(Double(point.layer)) + shift
      if let stem = point.stem { frame.svg.line(x, frame.y(stem), x, frame.y(point.sqnr), class: "stem \(name)") }
      frame.svg.circle(
        x: x, y: frame.y(point.sqnr), radius: radius, class: (one.isHollow ? "ring " : "point ") + name,
        title: frame.svg.width < 400 ? nil : point.title)
    }
  }

  /// The kinds beside their last marks, moved apart where they would touch.
  private func drawNames(_ frame: inout PlotFrame) {
    let ends = series.enumerated().compactMap { index, one in
      one.points.last.map { (index: index, one: one, y: frame.y($0.sqnr) + 4) }
    }.sorted { ($0.y, $0.index) < ($1.y, $1.index) }
    let lowest = frame.y.range.start
    var places = ends.map(\.y)
    for index in places.indices.dropFirst() { places[index] = max(places[index], places[index - 1] + 13) }
    if let last = places.last, last > lowest {
      places[places.count - 1] = lowest
      for index in places.indices.reversed().dropFirst() { places[index] = min(places[index], places[index + 1] - 13) }
    }
    for (end, y) in zip(ends, places) {
      frame.svg.text(
        Self.shortened(end.one.label), x: frame.x.range.end + 4, y: y, class: "seriesname s\(end.one.hue % 8)")
    }
  }
}
