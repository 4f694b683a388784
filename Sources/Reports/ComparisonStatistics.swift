/// Takes the scores of one window after another and sums them up, with bounds by bootstrap over windows.
///
/// Holds 8 bytes per position until the end, and twice that while summing up.
public struct ComparisonStatistics: Sendable {
  /// The shares of tokens whose quantiles are reported.
  private static let shares = [0.5, 0.9, 0.99, 0.999]
  private static let mostStretches = 64

  private let seed: UInt64
  private let resamples: Int
  private var sums: [WindowSums] = []
  private var divergences: [Double] = []
  private var windowOfToken: [Int32] = []
  private var positionSums: [(divergence: Double, count: Int)] = []
  private var hasCandidate: Bool?

  /// Nothing measured yet.
  ///
  /// - Parameters:
  ///   - seed: of the bootstrap's draws.
  ///   - resamples: number of draws; 1,000 give bounds that vary by a few per cent of their distance with the seed.
  public init(seed: UInt64 = 0, resamples: Int = 1000) {
    precondition(resamples > 0, "no resamples")
    self.seed = seed
    self.resamples = resamples
  }

  /// Number of windows added.
  public var windows: Int { sums.count }

  /// Number of tokens added.
  public var tokens: Int { sums.reduce(0) { $0 + $1.tokens } }

  /// The mean divergence of what was added so far, for progress messages; `nil` before the first comparison.
  public var runningDivergence: Double? {
    guard hasCandidate == true else { return nil }
    return sums.reduce(0) { $0 + $1.divergence } / Double(tokens)
  }

  /// Adds one window; windows without positions are skipped.
  ///
  /// Either all windows have a candidate or none has.
  public mutating func add(_ window: TokenScores) {
    guard let first = window.positions.first else { return }
    precondition(
      hasCandidate ?? (first.candidate != nil) == (first.candidate != nil), "windows with and without candidate")
    hasCandidate = first.candidate != nil
    var total = WindowSums()
    for (position, score) in window.positions.enumerated() {
      total.add(score)
      guard let candidate = score.candidate else { continue }
      divergences.append(candidate.divergence)
      windowOfToken.append(Int32(sums.count))
      if position == positionSums.count { positionSums.append((0, 0)) }
      positionSums[position].divergence += candidate.divergence
      positionSums[position].count += 1
    }
    sums.append(total)
  }

  /// The statistics of all windows added; `nil` before the first.
  public func summary() -> ComparisonSummary? {
    guard !sums.isEmpty else { return nil }
    let values = Statistics(sums.reduce(into: WindowSums()) { $0.add($1, times: 1) })
    let sorted = SortedDivergences(values: divergences, windows: windowOfToken)
    let quantiles = sorted.values.isEmpty ? [] : sorted.quantiles(Self.shares)
    let draws = drawResamples(sorted)
    let bounds = windows > 1 ? PercentileBounds(windows: windows) : nil
    func estimate(_ statistic: (Statistics) -> Double) -> Estimate {
      bounds?.estimate(statistic(values), resamples: draws.map { statistic($0.statistics) })
        ?? Estimate(statistic(values))
    }
    func estimate(quantile: Int) -> Estimate {
      bounds?.estimate(quantiles[quantile], resamples: draws.map { $0.quantiles[quantile] })
        ?? Estimate(quantiles[quantile])
    }
    var summary = ComparisonSummary(
      tokens: tokens, windows: windows, referencePerplexity: estimate(\.referencePerplexity), comparison: nil)
    guard let largest = sorted.values.last else { return summary }
    summary.comparison = ComparisonSummary.Comparison(
      divergence: ComparisonSummary.Divergence(
        mean: estimate(\.divergence), median: estimate(quantile: 0), p90: estimate(quantile: 1),
        p99: estimate(quantile: 2), p999: estimate(quantile: 3), max: Estimate(largest)),
      perplexity: estimate(\.candidatePerplexity), perplexityRatio: estimate(\.perplexityRatio),
      top1Agreement: estimate(\.agreement), meanProbabilityChange: estimate(\.probabilityChange),
      rmsProbabilityChange: estimate(\.rmsProbabilityChange), distribution: distribution)
    return summary
  }

  private func drawResamples(_ sorted: SortedDivergences) -> [(statistics: Statistics, quantiles: [Double])] {
    guard windows > 1 else { return [] }
    var generator = ResamplingGenerator(seed: seed)
    return (0..<resamples).map { _ in
      let weights = generator.weights(windows: windows)
      var total = WindowSums()
      for (window, weight) in zip(sums, weights) where weight > 0 { total.add(window, times: weight) }
      let quantiles = hasCandidate == true ? sorted.quantiles(Self.shares, weights: weights, count: total.tokens) : []
      return (Statistics(total), quantiles)
    }
  }

  private var distribution: DivergenceDistribution {
    let bins =
      (DivergenceDistribution.highestExponent - DivergenceDistribution.lowestExponent)
      * DivergenceDistribution.binsPerDecade
    var histogram = [Int](repeating: 0, count: bins)
    for divergence in divergences { histogram[DivergenceDistribution.bin(of: divergence)] += 1 }
    let stretch = max(1, (positionSums.count + Self.mostStretches - 1) / Self.mostStretches)
    let positionMeans = stride(from: 0, to: positionSums.count, by: stretch).map { start in
      let part = positionSums[start..<min(start + stretch, positionSums.count)]
      return part.reduce(0) { $0 + $1.divergence } / Double(part.reduce(0) { $0 + $1.count })
    }
    return DivergenceDistribution(
      histogram: histogram, windowMeans: sums.map { $0.divergence / Double($0.tokens) }, positionMeans: positionMeans,
      positionsPerStretch: stretch)
  }
}

/// Sums over the tokens of one window, or of many.
private struct WindowSums {
  var tokens = 0
  var referenceLoss = 0.0
  var candidateLoss = 0.0
  var divergence = 0.0
  var agreements = 0
  var probabilityChange = 0.0
  var squaredProbabilityChange = 0.0

  mutating func add(_ score: TokenScore) {
    tokens += 1
    referenceLoss += score.referenceLoss
    guard let candidate = score.candidate else { return }
    candidateLoss += candidate.loss
    divergence += candidate.divergence
    agreements += candidate.agrees ? 1 : 0
    let change = candidate.targetProbability - score.targetProbability
    probabilityChange += change
    squaredProbabilityChange += change * change
  }

  mutating func add(_ other: WindowSums, times weight: Int) {
    let factor = Double(weight)
    tokens += weight * other.tokens
    referenceLoss += factor * other.referenceLoss
    candidateLoss += factor * other.candidateLoss
    divergence += factor * other.divergence
    agreements += weight * other.agreements
    probabilityChange += factor * other.probabilityChange
    squaredProbabilityChange += factor * other.squaredProbabilityChange
  }
}

/// The statistics that sums come to.
private struct Statistics {
  let referencePerplexity: Double
  let candidatePerplexity: Double
  let perplexityRatio: Double
  let divergence: Double
  let agreement: Double
  let probabilityChange: Double
  let rmsProbabilityChange: Double

  init(_ sums: WindowSums) {
    let count = Double(sums.tokens)
    referencePerplexity = (sums.referenceLoss / count).exponential
    candidatePerplexity = (sums.candidateLoss / count).exponential
    perplexityRatio = ((sums.candidateLoss - sums.referenceLoss) / count).exponential
    divergence = sums.divergence / count
    agreement = Double(sums.agreements) / count
    probabilityChange = sums.probabilityChange / count
    rmsProbabilityChange = (sums.squaredProbabilityChange / count).squareRoot()
  }
}
