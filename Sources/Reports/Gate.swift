/// The limits that a candidate must keep, and what became of them.
public struct Gate: Sendable, Equatable {
  /// Which number is held against a limit.
  public enum Bound: String, Sendable, CaseIterable {
    /// The value over all tokens: the default. A build passes or fails on what was measured.
    case value
    /// The 95 % bound on the unfavourable side: the limit is kept even if the text was a lucky one. Where there is no
    /// bound, as with a single window, the value is used and the check says so.
    case cautious
  }

  /// The largest mean KL divergence allowed, nats.
  public var maxKL: Double?
  /// The largest increase of perplexity allowed, as a fraction: 0.01 lets it grow by 1 %.
  public var maxPerplexityIncrease: Double?
  /// The smallest top-1 agreement allowed, as a fraction.
  public var minTop1: Double?
  /// Which number is held against the limits.
  public var bound: Bound

  /// Limits; `nil` means none.
  public init(
    maxKL: Double? = nil, maxPerplexityIncrease: Double? = nil, minTop1: Double? = nil, bound: Bound = .value
  ) {
    self.maxKL = maxKL
    self.maxPerplexityIncrease = maxPerplexityIncrease
    self.minTop1 = minTop1
    self.bound = bound
  }

  /// Whether there is no limit at all.
  public var isEmpty: Bool { maxKL == nil && maxPerplexityIncrease == nil && minTop1 == nil }

  /// Holds a comparison against every limit.
  ///
  /// A value equal to its limit passes; NaN fails.
  public func checks(of comparison: ComparisonSummary.Comparison) -> [GateCheck] {
    var checks: [GateCheck] = []
    if let maxKL {
      checks.append(check(.meanDivergence, limit: maxKL, measured: comparison.divergence.mean))
    }
    if let maxPerplexityIncrease {
      let ratio = comparison.perplexityRatio
      let increase = Estimate(ratio.value - 1, low: ratio.low.map { $0 - 1 }, high: ratio.high.map { $0 - 1 })
      checks.append(check(.perplexityIncrease, limit: maxPerplexityIncrease, measured: increase))
    }
    if let minTop1 {
      checks.append(check(.top1Agreement, limit: minTop1, measured: comparison.top1Agreement))
    }
    return checks
  }

  private func check(_ measure: GateCheck.Measure, limit: Double, measured: Estimate) -> GateCheck {
    let unfavourable = measure.isUpperLimit ? measured.high : measured.low
    let isCautious = bound == .cautious && unfavourable != nil
    let value = isCautious ? unfavourable ?? measured.value : measured.value
    return GateCheck(measure: measure, limit: limit, value: value, bound: isCautious ? .cautious : .value)
  }
}

/// One limit and the number that was held against it.
public struct GateCheck: Sendable, Equatable {
  /// What is limited; the raw values are the names in report.json.
  public enum Measure: String, Sendable, CaseIterable {
    /// Mean KL divergence, nats, at most the limit.
    case meanDivergence = "kl.mean"
    /// Perplexity ratio minus one, at most the limit.
    case perplexityIncrease = "perplexity.increase"
    /// Top-1 agreement, at least the limit.
    case top1Agreement = "top1Agreement"

    /// Whether the limit is the largest value allowed, not the smallest.
    public var isUpperLimit: Bool { self != .top1Agreement }
  }

  /// Kept or not.
  public enum Verdict: String, Sendable {
    /// The limit is kept.
    case passed
    /// The limit is not kept.
    case failed
  }

  /// What is limited.
  public var measure: Measure
  /// The limit.
  public var limit: Double
  /// The number held against it.
  public var value: Double
  /// Which number that is.
  public var bound: Gate.Bound

  /// A limit and the number to hold against it.
  public init(measure: Measure, limit: Double, value: Double, bound: Gate.Bound) {
    self.measure = measure
    self.limit = limit
    self.value = value
    self.bound = bound
  }

  /// Passed when `value` ≤ `limit`, or ≥ for the smallest value allowed; failed otherwise, and for NaN.
  public var verdict: Verdict {
    let isKept = measure.isUpperLimit ? value <= limit : value >= limit
    return isKept ? .passed : .failed
  }
}
