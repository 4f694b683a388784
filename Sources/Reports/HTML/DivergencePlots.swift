/// How many tokens have which divergence: a histogram over log KL.
struct DivergenceHistogram {
  let divergence: ComparisonSummary.Divergence
  let distribution: DivergenceDistribution

  func drawing(width: Double) -> SVG {
    let bins = distribution.histogram
    let total = Double(max(1, bins.reduce(0, +)))
    let perDecade = DivergenceDistribution.binsPerDecade
    let used = bins.indices.filter { Double(bins[$0]) / total > 0 }
    let lowest = (used.first ?? 0) / perDecade * perDecade
    let last = max(used.last ?? 0, DivergenceDistribution.bin(of: divergence.p999.value))
    let highest = min(bins.count, (last / perDecade + 1) * perDecade)
    let tallest = bins.max().map { Double($0) / total * 100 } ?? 1
    var frame = PlotFrame(
      width: width, height: 270, x: exponent(lowest)...exponent(highest),
      y: 0...PlotScale.roundedUp(tallest) * 1.3)
    let step = max(1, Int((Double((highest - lowest) / perDecade) * 40 / (width - 58)).rounded(.up)))
    let decades = stride(from: Int(exponent(lowest)), through: Int(exponent(highest)), by: step)
    frame.drawAxes(
      x: decades.map { (Double($0), NumberText.axisPower(of: $0)) },
      label: "KL divergence of a token, nats (log scale)",
      y: PlotFrame.ticks(frame.y.ticks(4)), label: "share of tokens, %")
    for bin in lowest..<highest where bins[bin] > 0 {
      let left = frame.x(exponent(bin))
      let top = frame.y(Double(bins[bin]) / total * 100)
      let from = NumberText.significant(DivergenceDistribution.lowerEdge(ofBin: bin), digits: 2)
      let to = NumberText.significant(DivergenceDistribution.lowerEdge(ofBin: bin + 1), digits: 2)
      frame.svg.rectangle(
        x: left + 0.5, y: top, width: frame.x(exponent(bin + 1)) - left - 1, height: frame.y.range.start - top,
        class: "bar", title: "\(from) … \(to) nats: \(NumberText.percent(Double(bins[bin]) / total)) of tokens")
    }
    let marks = [
      (divergence.median.value, "median"), (divergence.mean.value, "mean"), (divergence.p99.value, "99%"),
      (divergence.p999.value, "99.9%"),
    ]
    frame.drawMarks(
      marks.filter { $0.0 > 0 && $0.0.isFinite }.map { ($0.0.decimalLogarithm, $0.1) }, class: "quantile")
    return frame.svg
  }

  private func exponent(_ bin: Int) -> Double {
    Double(DivergenceDistribution.lowestExponent) + Double(bin) / Double(DivergenceDistribution.binsPerDecade)
  }
}

/// The mean divergence of every window, in the order of the text.
struct WindowStrip {
  let means: [Double]
  let mean: Double
  let limit: Double?

  func drawing(width: Double) -> SVG {
    let perColumn = max(1, Int((Double(means.count) * 3 / (width - 58)).rounded(.up)))
    let columns = stride(from: 0, to: means.count, by: perColumn).map { start in
      let part = means[start..<min(start + perColumn, means.count)]
      return (range: start..<part.endIndex, mean: part.reduce(0, +) / Double(part.count))
    }
    let tallest = columns.map(\.mean).filter(\.isFinite).max() ?? 1
    let ceiling = PlotScale.roundedUp(max(tallest, limit ?? 0) * 1.12)
    var frame = PlotFrame(width: width, height: 270, x: 0...Double(means.count), y: 0...ceiling)
    frame.drawAxes(
      x: frame.x.wholeTicks(Int(width / 90)).map { ($0, NumberText.count(Int($0))) },
      label: "window, in the order of the text", y: PlotFrame.ticks(frame.y.ticks(4)), label: "mean KL divergence, nats"
    )
    for column in columns {
      let left = frame.x(Double(column.range.lowerBound))
      let right = frame.x(Double(column.range.upperBound))
      let gap = right - left > 3 ? 1.0 : 0.3
      let top = frame.y(column.mean)
      let name =
        column.range.count == 1
        ? "window \(column.range.upperBound)" : "windows \(column.range.lowerBound + 1) to \(column.range.upperBound)"
      frame.svg.rectangle(
        x: left + gap / 2, y: top, width: right - left - gap, height: frame.y.range.start - top, class: "bar",
        title: "\(name): \(NumberText.significant(column.mean)) nats")
    }
    let isCrowded = limit.map { abs(frame.y($0) - frame.y(mean)) < 15 } ?? false
    drawLevel(mean, "mean", isBelow: isCrowded && mean < limit ?? 0, class: "level", &frame)
    if let limit { drawLevel(limit, "limit", isBelow: isCrowded && limit <= mean, class: "level limitline", &frame) }
    return frame.svg
  }

  private func drawLevel(_ value: Double, _ label: String, isBelow: Bool, class name: String, _ frame: inout PlotFrame)
  {
    guard value.isFinite else { return }
    frame.svg.line(frame.x.range.start, frame.y(value), frame.x.range.end, frame.y(value), class: name)
    frame.svg.text(
      label, x: frame.x.range.end, y: frame.y(value) + (isBelow ? 13 : -4), anchor: .end,
      class: "marklabel halo")
  }
}

/// The mean divergence along a window: how it changes with the length of what came before.
struct PositionPlot {
  let means: [Double]
  let positionsPerStretch: Int

  func drawing(width: Double) -> SVG {
    let ceiling = PlotScale.roundedUp((means.filter(\.isFinite).max() ?? 1) * 1.08)
    let end = Double(means.count * positionsPerStretch)
    var frame = PlotFrame(width: width, height: 270, x: 0...end, y: 0...ceiling)
    frame.drawAxes(
      x: frame.x.wholeTicks(Int(width / 80)).map { ($0, NumberText.count(Int($0))) },
      label: "position in the window, tokens", y: PlotFrame.ticks(frame.y.ticks(4)), label: "mean KL divergence, nats")
    let points = means.enumerated().map { index, mean in
      (x: frame.x((Double(index) + 0.5) * Double(positionsPerStretch)), y: frame.y(mean))
    }
    let floor = frame.y.range.start
    if let first = points.first, let last = points.last {
      frame.svg.path([(first.x, floor)] + points + [(last.x, floor)], class: "area", isClosed: true)
    }
    frame.svg.path(points, class: "curve")
    for (index, point) in points.enumerated() {
      let first = index * positionsPerStretch
      let title =
        "positions \(first) to \(first + positionsPerStretch - 1): \(NumberText.significant(means[index])) nats"
      frame.svg.circle(x: point.x, y: point.y, radius: means.count > 40 ? 1.6 : 2.5, class: "dot", title: title)
    }
    return frame.svg
  }
}

extension NumberText {
  /// A power of ten as an axis shows it: plain where that is short.
  static func axisPower(of exponent: Int) -> String {
    switch exponent {
    case -3: "0.001"
    case -2: "0.01"
    case -1: "0.1"
    case 0: "1"
    case 1: "10"
    case 2: "100"
    default: "10" + superscript(exponent)
    }
  }
}
