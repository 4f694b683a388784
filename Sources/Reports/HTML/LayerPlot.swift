/// SQNR of every linear over the layer index, a colour per kind, with a stem down to what rounding alone gives.
struct LayerPlot {
  /// One mark: a linear, or the worst of the experts of one layer.
  struct Point {
    let layer: Int
    let sqnr: Double
    let roundToNearest: Double?
    let title: String
  }

  /// All marks of one kind, by layer.
  struct Series {
    let kind: String
    let points: [Point]
  }

  /// Linears within decoder layers, by kind in the order a layer computes them.
  let series: [Series]

  init(_ layers: [Report.Layer]) {
    var groups: [LinearPlace: [Report.Layer]] = [:]
    for layer in layers where layer.sqnr?.isFinite == true {
      let place = LinearPlace(layer.name)
      guard place.layer != nil else { continue }
      groups[place, default: []].append(layer)
    }
    let kinds = Set(groups.keys.map(\.kind)).sorted()
    let known = LinearPlace.order.filter(kinds.contains)
    series = (known + kinds.filter { !known.contains($0) }).map { kind in
      let places = groups.keys.filter { $0.kind == kind }.sorted { ($0.layer ?? 0) < ($1.layer ?? 0) }
      return Series(kind: kind, points: places.compactMap { place in Self.point(groups[place] ?? [], place) })
    }
  }

  private static func point(_ layers: [Report.Layer], _ place: LinearPlace) -> Point? {
    guard let worst = layers.min(by: { ($0.sqnr ?? .infinity) < ($1.sqnr ?? .infinity) }), let sqnr = worst.sqnr,
      let layer = place.layer
    else { return nil }
    var title = layers.count > 1 ? "worst of \(layers.count): " : ""
    title += "\(worst.name), \(NumberText.decibels(sqnr, unit: " dB"))"
    let baseline = worst.roundToNearestSqnr.flatMap { $0.isFinite ? $0 : nil }
    if let baseline { title += ", rounding alone \(NumberText.decibels(baseline, unit: " dB"))" }
    return Point(layer: layer, sqnr: sqnr, roundToNearest: baseline, title: title)
  }

  /// Whether any mark has a stem.
  var hasStems: Bool { series.contains { $0.points.contains { $0.roundToNearest != nil } } }

  func drawing(width: Double) -> SVG {
    let points = series.flatMap(\.points)
    // Exact linears would flatten all others; they are drawn at the top instead.
    let values = points.flatMap { [$0.sqnr, $0.roundToNearest ?? $0.sqnr] }.filter { $0 < NumberText.exactDecibels }
    let low = ((values.min() ?? 190) / 2.5 - 0.4).rounded(.down) * 2.5
    let high = ((values.max() ?? 200) / 2.5 + 0.2).rounded(.up) * 2.5
    let lastLayer = points.map(\.layer).max() ?? 0
    var frame = PlotFrame(
      width: width, height: width > 600 ? 360 : 320, x: -0.5...Double(lastLayer) + 0.5, y: low...high, left: 34,
      right: 44)
    frame.drawAxes(
      x: frame.x.wholeTicks(Int(width / 80)).filter { $0 >= 0 }.map { ($0, String(Int($0))) }, label: "decoder layer",
      y: PlotFrame.ticks(frame.y.ticks(6)), label: "SQNR of the layer's output, dB (higher is better)")
    let slot = frame.x(1) - frame.x(0)
    let spread = min(slot * 0.72, 34)
    for (index, one) in series.enumerated() {
      let share = series.count == 1 ? 0 : Double(index) / Double(series.count - 1) - 0.5
      draw(one, class: "s\(index % 8)", shift: share * spread, slot: slot, &frame)
    }
    drawNames(&frame)
    drawLowest(&frame, spread: spread)
    return frame.svg
  }

  /// Names the lowest mark, the first that a reviewer looks for.
  private func drawLowest(_ frame: inout PlotFrame, spread: Double) {
    let marks = series.enumerated().flatMap { index, one in one.points.map { (index: index, kind: one.kind, point: $0) }
    }
    guard let lowest = marks.min(by: { $0.point.sqnr < $1.point.sqnr }) else { return }
    let share = series.count == 1 ? 0 : Double(lowest.index) / Double(series.count - 1) - 0.5
    let x = frame.x(Double(lowest.point.layer)) + share * spread
    let isLeft = x > (frame.x.range.start + frame.x.range.end) / 2
    let label =
      "lowest: layer \(lowest.point.layer) \(lowest.kind), \(NumberText.decibels(lowest.point.sqnr, unit: " dB"))"
    frame.svg.text(
      label, x: x + (isLeft ? -8 : 8), y: frame.y(lowest.point.sqnr) + 4, anchor: isLeft ? .end : .start,
      class: "marklabel halo")
  }

  private func draw(_ one: Series, class name: String, shift: Double, slot: Double, _ frame: inout PlotFrame) {
    let radius = min(max(slot * 0.085, 1.6), 3.2)
    frame.svg.path(one.points.map { (frame.x(Double($0.layer)) + shift, frame.y($0.sqnr)) }, class: "thread \(name)")
    for point in one.points {
      let x = frame.x(Double(point.layer)) + shift
      if let baseline = point.roundToNearest {
        frame.svg.line(x, frame.y(baseline), x, frame.y(point.sqnr), class: "stem \(name)")
      }
      frame.svg.circle(x: x, y: frame.y(point.sqnr), radius: radius, class: "point \(name)", title: point.title)
    }
  }

  /// The kinds beside their last marks, moved apart where they would touch.
  private func drawNames(_ frame: inout PlotFrame) {
    let ends = series.enumerated().compactMap { index, one in
      one.points.last.map { (index: index, kind: one.kind, y: frame.y($0.sqnr) + 4) }
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
        String(end.kind.prefix(8)), x: frame.x.range.end + 4, y: y, class: "seriesname s\(end.index % 8)")
    }
  }
}
