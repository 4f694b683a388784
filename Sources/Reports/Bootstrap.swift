// The bootstrap over windows: tokens of one window depend on each other, windows nearly do not, so whole windows are
// drawn with replacement, as many as there are, and every statistic is computed again from the same draw (so ratios
// and differences are paired). See Efron & Tibshirani, An Introduction to the Bootstrap (1993), §8 and §13.

/// SplitMix64 (Steele, Lea, Flood 2014): the same draws on every machine.
struct ResamplingGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  /// 64 random bits.
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// A number below `bound`, uniform to within `bound` / 2⁶⁴.
  mutating func next(below bound: Int) -> Int {
    Int(next().multipliedFullWidth(by: UInt64(bound)).high)
  }

  /// How often each of `windows` windows occurs in one draw of as many.
  mutating func weights(windows: Int) -> [Int] {
    var weights = [Int](repeating: 0, count: windows)
    for _ in 0..<windows { weights[next(below: windows)] += 1 }
    return weights
  }
}

/// Where the 95 % bounds lie among the sorted values of the resamples.
///
/// The expanded percentile interval of Hesterberg (2015, The American Statistician 69:371, §4.3.3): plain percentiles
/// are too narrow for few windows, so the tail is Φ(−√(n/(n−1)) · t₀.₉₇₅,ₙ₋₁) instead of 2.5 %. For the mean of normal
/// values that is Student's interval; with many windows the difference vanishes.
struct PercentileBounds {
  /// The share of resamples outside each bound.
  let tail: Double

  init(windows: Int) {
    precondition(windows > 1, "bounds need two windows")
    let n = Double(windows)
    tail = (-(n / (n - 1)).squareRoot() * Self.studentQuantile(degreesOfFreedom: windows - 1)).normalProbability
  }

  /// The 97.5 % quantile of Student's distribution; to 4 digits.
  static func studentQuantile(degreesOfFreedom: Int) -> Double {
    let table = [
      12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448,
      2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
    ]
    if degreesOfFreedom <= table.count { return table[degreesOfFreedom - 1] }
    // Cornish–Fisher (Abramowitz & Stegun 26.7.5) with z = 1.959964.
    let v = Double(degreesOfFreedom)
    return 1.959964 + 2.372271 / v + 2.822502 / (v * v) + 2.555852 / (v * v * v)
  }

  /// A value with the bounds that its resamples give it.
  func estimate(_ value: Double, resamples: [Double]) -> Estimate {
    let sorted = resamples.sorted()
    let outside = min(Int(tail * Double(sorted.count)), (sorted.count - 1) / 2)
    return Estimate(value, low: sorted[outside], high: sorted[sorted.count - 1 - outside])
  }
}
