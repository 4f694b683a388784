/// A map from values to pixels, with ticks at round values.
struct PlotScale {
  /// The values at both ends.
  let domain: ClosedRange<Double>
  /// The pixels at both ends; may run downwards.
  let range: (start: Double, end: Double)

  /// A scale over at least the domain; a domain of no width is widened.
  init(_ domain: ClosedRange<Double>, to start: Double, _ end: Double) {
    let isEmpty = domain.upperBound - domain.lowerBound <= 1e-12 * abs(domain.upperBound)
    let margin = max(abs(domain.upperBound) * 0.05, 1e-9)
    self.domain = isEmpty ? domain.lowerBound - margin...domain.upperBound + margin : domain
    range = (start, end)
  }

  /// The pixel of a value; values outside are held at the ends.
  func callAsFunction(_ value: Double) -> Double {
    let share = (value - domain.lowerBound) / (domain.upperBound - domain.lowerBound)
    return range.start + min(max(share.isNaN ? 0 : share, 0), 1) * (range.end - range.start)
  }

  /// Ticks at multiples of 1, 2 or 5 times a power of ten, about `count` of them.
  func ticks(_ count: Int) -> [Double] {
    let step = Self.roundStep((domain.upperBound - domain.lowerBound) / Double(max(1, count)))
    let first = (domain.lowerBound / step - 1e-9).rounded(.up)
    let last = (domain.upperBound / step + 1e-9).rounded(.down)
    guard last >= first, last - first < 100 else { return [] }
    return (0...Int(last - first)).map { (first + Double($0)) * step }
  }

  /// Ticks at whole numbers.
  func wholeTicks(_ count: Int) -> [Double] {
    ticks(count).filter { abs($0 - $0.rounded()) < 1e-6 }.map { $0.rounded() }
  }

  /// The smallest of 1, 2, 5, 10 … that is at least `step`.
  private static func roundStep(_ step: Double) -> Double {
    let power = step.decimalLogarithm.rounded(.down).powerOfTen
    for factor in [1.0, 2, 5] where factor * power >= step * 0.999 { return factor * power }
    return 10 * power
  }

  /// The smallest round value, 1, 2, 2.5, 3, 4, 5, 6 or 8 times a power of ten, that is at least `value`.
  static func roundedUp(_ value: Double) -> Double {
    guard value > 0, value.isFinite else { return 1 }
    let power = value.decimalLogarithm.rounded(.down).powerOfTen
    for factor in [1.0, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8] where factor * power >= value { return factor * power }
    return 10 * power
  }
}
