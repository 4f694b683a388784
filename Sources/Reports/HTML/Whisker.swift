/// A value with its 95 % interval on a track of fixed ends, with the limit and what lies beyond it.
struct Whisker {
  let estimate: Estimate
  /// The values at both ends.
  let domain: ClosedRange<Double>
  /// The limit, and whether values above it are the bad ones.
  var limit: (value: Double, isUpper: Bool)?

  /// - Parameter title: what appears when the pointer rests on it.
  func write(into html: inout Markup, title: String) {
    html.element("div", ["class": "track", "title": title]) { html in
      if let limit {
        let edge = share(limit.value)
        let beyond = limit.isUpper ? (edge, 1 - edge) : (0, edge)
        html.element(
          "i", ["class": "beyond", "style": "left:\(Self.percent(beyond.0));width:\(Self.percent(beyond.1))"]
        ) { _ in }
      }
      if let low = estimate.low, let high = estimate.high {
        let width = max(0, share(high) - share(low))
        html.element(
          "i", ["class": "interval", "style": "left:\(Self.percent(share(low)));width:\(Self.percent(width))"]
        ) { _ in }
      }
      if let limit {
        html.element("i", ["class": "limit", "style": "left:\(Self.percent(share(limit.value)))"]) { _ in }
      }
      html.element("i", ["class": "value", "style": "left:\(Self.percent(share(estimate.value)))"]) { _ in }
    }
  }

  private func share(_ value: Double) -> Double { PlotScale(domain, to: 0, 1)(value) }

  /// A share as CSS wants it.
  static func percent(_ share: Double) -> String { SVG.number(min(max(share.isNaN ? 0 : share, 0), 1) * 100) + "%" }
}
