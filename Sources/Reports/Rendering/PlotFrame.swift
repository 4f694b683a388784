/// A plot's area with its two axes; the labels say what and in which unit.
struct PlotFrame {
  /// One mark on an axis.
  typealias Tick = (value: Double, label: String)

  /// The drawing; content is added after the axes.
  var svg: SVG
  /// From values to pixels, left to right.
  let x: PlotScale
  /// From values to pixels, upwards.
  let y: PlotScale

  /// - Parameters:
  ///   - width: of the whole drawing, pixels.
  ///   - height: of the whole drawing, pixels.
  ///   - x: the values of the horizontal axis.
  ///   - y: the values of the vertical axis.
  ///   - left: room for the labels of the vertical axis.
  ///   - right: room at the right.
  ///   - top: room above the plot, under the vertical axis' label.
  init(
    width: Double, height: Double, x: ClosedRange<Double>, y: ClosedRange<Double>, left: Double = 44,
    right: Double = 14, top: Double = 26
  ) {
    svg = SVG(width: width, height: height)
    self.x = PlotScale(x, to: left, width - right)
    self.y = PlotScale(y, to: height - 40, top)
  }

  /// Draws grid lines, ticks and labels.
  mutating func drawAxes(x xTicks: [Tick], label xLabel: String, y yTicks: [Tick], label yLabel: String) {
    for tick in yTicks {
      svg.line(x.range.start, y(tick.value), x.range.end, y(tick.value), class: "grid")
      svg.text(tick.label, x: x.range.start - 6, y: y(tick.value) + 4, anchor: .end)
    }
    svg.line(x.range.start, y.range.start, x.range.end, y.range.start, class: "axis")
    for tick in xTicks {
      svg.line(x(tick.value), y.range.start, x(tick.value), y.range.start + 4, class: "axis")
      svg.text(tick.label, x: x(tick.value), y: y.range.start + 17, anchor: .middle)
    }
    svg.text(xLabel, x: x.range.end, y: y.range.start + 34, anchor: .end, class: "label")
    svg.text(yLabel, x: 0, y: 12, class: "label")
  }

  /// Draws vertical marks with labels beside them; labels that would touch go into rows below each other.
  mutating func drawMarks(_ marks: [(value: Double, label: String)], class name: String) {
    var ends: [Double] = []
    for mark in marks.sorted(by: { $0.value < $1.value }) {
      let place = x(mark.value)
      let width = SVG.widthOfText(mark.label) + 8
      let isLeft = place + width > x.range.end
      let start = isLeft ? place - width : place
      let row = ends.firstIndex { $0 <= start } ?? ends.count
      if row == ends.count { ends.append(0) }
      ends[row] = start + width
      let top = y.range.end + Double(row) * 15
      svg.line(place, top, place, y.range.start, class: "mark " + name)
      svg.text(mark.label, x: place + (isLeft ? -4 : 4), y: top + 9, anchor: isLeft ? .end : .start, class: "marklabel")
    }
  }

  /// Ticks with plain numbers.
  static func ticks(_ values: [Double]) -> [Tick] {
    values.map { ($0, NumberText.trimmed(NumberText.significant(abs($0) < 1e-12 ? 0 : $0))) }
  }
}
