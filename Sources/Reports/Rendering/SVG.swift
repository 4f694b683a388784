/// A drawing of our own making; colours are classes of the page's style, so that it follows light and dark.
struct SVG {
  /// Where a text begins, ends or has its middle.
  enum Anchor: String { case start, middle, end }

  /// Width, pixels at full size.
  let width: Double
  /// Height, pixels at full size.
  let height: Double
  private var body = Markup()

  init(width: Double, height: Double) {
    self.width = width
    self.height = height
  }

  /// The element, to be put into a page; the label is what a screen reader says.
  func markup(label: String, class name: String = "") -> String {
    var result = Markup()
    let box = "0 0 \(Self.number(width)) \(Self.number(height))"
    result.element(
      "svg",
      [
        "class": name, "viewBox": box, "width": Self.number(width), "height": Self.number(height), "role": "img",
        "aria-label": label,
      ]
    ) { $0.raw(body.text) }
    return result.text
  }

  mutating func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, class name: String) {
    body.empty(
      "line",
      ["class": name, "x1": Self.number(x1), "y1": Self.number(y1), "x2": Self.number(x2), "y2": Self.number(y2)])
  }

  mutating func rectangle(
    x: Double, y: Double, width: Double, height: Double, radius: Double = 0, class name: String, title: String? = nil
  ) {
    shape(
      "rect",
      [
        "class": name, "x": Self.number(x), "y": Self.number(y), "width": Self.number(max(0, width)),
        "height": Self.number(max(0, height)), "rx": Self.number(radius),
      ], title)
  }

  /// A rectangle as a thick line from left to right; `y` is its middle.
  typealias Bar = (x: Double, y: Double, width: Double, title: String)

  /// Rectangles of one height and colour, which the class names as that of a stroke, in few characters each.
  mutating func bars(_ bars: [Bar], thickness: Double, class name: String) {
    guard !bars.isEmpty else { return }
    var inner = SVG(width: width, height: height)
    for bar in bars {
      let path = "M\(Self.number(bar.x)) \(Self.number(bar.y))h\(Self.number(bar.width))"
      inner.shape("path", ["d": path], bar.title)
    }
    body.element("g", ["class": name, "stroke-width": Self.number(thickness)]) { $0.raw(inner.body.text) }
  }

  /// The outlines of rectangles.
  mutating func outlines(_ rectangles: [(x: Double, y: Double, width: Double, height: Double)], class name: String) {
    guard !rectangles.isEmpty else { return }
    let paths = rectangles.map { one in
      let sides = "h\(Self.number(one.width))v\(Self.number(one.height))h\(Self.number(-one.width))z"
      return "M\(Self.number(one.x)) \(Self.number(one.y))" + sides
    }
    body.empty("path", ["class": name, "d": paths.joined()])
  }

  mutating func circle(x: Double, y: Double, radius: Double, class name: String, title: String? = nil) {
    shape("circle", ["class": name, "cx": Self.number(x), "cy": Self.number(y), "r": Self.number(radius)], title)
  }

  /// A line through points; closed and filled where the class says so.
  mutating func path(
    _ points: [(x: Double, y: Double)], class name: String, isClosed: Bool = false, title: String? = nil
  ) {
    guard !points.isEmpty else { return }
    let steps = points.map { Self.number($0.x) + " " + Self.number($0.y) }.joined(separator: "L")
    shape("path", ["class": name, "d": "M" + steps + (isClosed ? "Z" : "")], title)
  }

  mutating func text(_ content: String, x: Double, y: Double, anchor: Anchor = .start, class name: String = "tick") {
    body.element(
      "text", ["class": name, "x": Self.number(x), "y": Self.number(y), "text-anchor": anchor.rawValue], text: content)
  }

  private mutating func shape(_ tag: String, _ attributes: KeyValuePairs<String, String>, _ title: String?) {
    guard let title else { return body.empty(tag, attributes) }
    body.element(tag, attributes) { $0.element("title", text: title) }
  }

  /// About how wide a text of 12 pixels is.
  static func widthOfText(_ text: String) -> Double { Double(text.count) * 6.4 }

  /// A coordinate with at most one decimal.
  static func number(_ value: Double) -> String {
    let tenths = value.isNaN ? 0 : Int((min(max(value, -1e6), 1e6) * 10).rounded())
    let sign = tenths < 0 ? "-" : ""
    let whole = String(tenths.magnitude / 10)
    return tenths % 10 == 0 ? sign + whole : sign + whole + "." + String(tenths.magnitude % 10)
  }
}
