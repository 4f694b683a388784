import Foundation
import StrictJSON
import TestSupport
import Testing

@testable import Reports

@Suite struct ComparisonStatisticsTests {
  /// Sums of a few hundred doubles in another order than NumPy's.
  let relative = 1e-12

  /// Whether loops run unoptimised, some thirty times slower; the two heavy tests then do a tenth.
  #if DEBUG
    private let isSlow = true
  #else
    private let isSlow = false
  #endif

  private func window(divergences: [Double], loss: Double = 2) -> TokenScores {
    TokenScores(
      divergences.map {
        TokenScore(
          referenceLoss: loss, candidate: TokenScore.Candidate(divergence: $0, loss: loss + $0, agrees: $0 < 0.5))
      })
  }

  @Test func `statistics are those of NumPy`() throws {
    let golden = try Golden.json("scores.json")
    var statistics = ComparisonStatistics(seed: 1)
    for window in try #require(golden["windows"]?.arrayValue) {
      let columns = try ["divergence", "referenceLoss", "candidateLoss", "agrees"].map { try numbers(window[$0]) }
      statistics.add(
        TokenScores(
          columns[0].indices.map {
            TokenScore(
              referenceLoss: columns[1][$0],
              candidate: TokenScore.Candidate(
                divergence: columns[0][$0], loss: columns[2][$0], agrees: columns[3][$0] == 1))
          }))
    }
    let summary = try #require(statistics.summary())
    let found = try #require(summary.comparison)
    let expected = try #require(golden["summary"])
    let pairs = [
      ("mean", found.divergence.mean), ("median", found.divergence.median), ("p90", found.divergence.p90),
      ("p99", found.divergence.p99), ("p999", found.divergence.p999), ("max", found.divergence.max),
      ("referencePerplexity", summary.referencePerplexity), ("candidatePerplexity", found.perplexity),
      ("ratio", found.perplexityRatio), ("top1", found.top1Agreement), ("meanChange", found.meanProbabilityChange),
      ("rmsChange", found.rmsProbabilityChange),
    ]
    for (name, estimate) in pairs {
      let value = try #require(expected[name]?.doubleValue)
      #expect(abs(estimate.value - value) <= relative * abs(value), "\(name)")
      if name != "max" {
        let low = try #require(estimate.low)
        let high = try #require(estimate.high)
        #expect(low <= estimate.value && estimate.value <= high, "\(name)")
      }
    }
    #expect(summary.tokens == expected["tokens"]?.intValue && summary.windows == 7)
    #expect(statistics.runningDivergence.map { abs($0 - found.divergence.mean.value) < 1e-15 } == true)
    #expect(found.distribution.histogram.reduce(0, +) == summary.tokens)
    #expect(found.distribution.windowMeans.count == 7 && found.distribution.positionMeans.count == 40)
  }

  @Test func `the same seed gives the same bounds, another seed gives others`() throws {
    func summary(seed: UInt64) -> ComparisonSummary? {
      var generator = SeededGenerator(seed: 2)
      var statistics = ComparisonStatistics(seed: seed, resamples: 200)
      for _ in 0..<20 { statistics.add(window(divergences: generator.normals(30).map { Double($0 * $0) * 0.1 })) }
      return statistics.summary()
    }
    #expect(summary(seed: 4) == summary(seed: 4))
    #expect(summary(seed: 4) != summary(seed: 5))
    #expect(summary(seed: 4)?.comparison?.divergence.mean.value == summary(seed: 5)?.comparison?.divergence.mean.value)
  }

  @Test func `one window has no bounds, none has no summary`() throws {
    var statistics = ComparisonStatistics()
    #expect(statistics.summary() == nil)
    statistics.add(TokenScores())
    #expect(statistics.summary() == nil)
    statistics.add(window(divergences: [0.1, 0.3]))
    let comparison = try #require(statistics.summary()?.comparison)
    #expect(comparison.divergence.mean == Estimate(0.2) && comparison.top1Agreement == Estimate(1))
    #expect(comparison.divergence.median == Estimate(0.1) && comparison.divergence.p999 == Estimate(0.3))
  }

  @Test func `a perplexity alone has bounds and no comparison`() throws {
    var statistics = ComparisonStatistics()
    for loss in [1.0, 2, 3] { statistics.add(TokenScores([TokenScore(referenceLoss: loss, candidate: nil)])) }
    let summary = try #require(statistics.summary())
    #expect(summary.comparison == nil && summary.tokens == 3)
    #expect(abs(summary.referencePerplexity.value - exp(2.0)) < 1e-12)
    #expect(try #require(summary.referencePerplexity.low) < exp(2.0))
  }

  @Test func `the perplexity ratio is paired: its bounds are far tighter than either perplexity's`() throws {
    var generator = SeededGenerator(seed: 8)
    var statistics = ComparisonStatistics()
    for _ in 0..<40 {
      let loss = 2 + Double(generator.normal())
      statistics.add(window(divergences: generator.normals(20).map { 0.01 + 0.001 * Double($0) }, loss: loss))
    }
    let comparison = try #require(statistics.summary()?.comparison)
    func width(_ estimate: Estimate) throws -> Double {
      try (#require(estimate.high) - #require(estimate.low)) / estimate.value
    }
    #expect(try width(comparison.perplexityRatio) * 50 < width(comparison.perplexity))
  }

  @Test(arguments: [5, 12, 60]) func `bounds hold the truth about 95 times in 100`(windows: Int) throws {
    var generator = SeededGenerator(seed: UInt64(windows))
    let truth = 1.0
    var held = 0
    let trials = isSlow ? 30 : 300
    for trial in 0..<trials {
      var statistics = ComparisonStatistics(seed: UInt64(trial), resamples: 400)
      for _ in 0..<windows {
        // Tokens of one window share a part: treating them as independent would give bounds three times too narrow.
        let shared = truth + 0.3 * Double(generator.normal())
        statistics.add(window(divergences: generator.normals(20).map { shared + 0.3 * Double($0) }))
      }
      let mean = try #require(statistics.summary()?.comparison?.divergence.mean)
      if try #require(mean.low) <= truth && truth <= #require(mean.high) { held += 1 }
    }
    let share = Double(held) / Double(trials)
    let error = 3 * (0.95 * 0.05 / Double(trials)).squareRoot()
    #expect(abs(share - 0.95) <= error, "\(windows) windows: \(share)")
  }

  @Test func `weighted quantiles are those of the repeated values`() {
    var generator = SeededGenerator(seed: 9)
    for _ in 0..<50 {
      let values = generator.normals(60).map { Double($0) }
      let windows = (0..<60).map { Int32($0 / 10) }
      var resampling = ResamplingGenerator(seed: generator.next())
      let weights = resampling.weights(windows: 6)
      #expect(weights.reduce(0, +) == 6)
      let repeated = zip(values, windows).flatMap { [Double](repeating: $0, count: weights[Int($1)]) }
      let plain = SortedDivergences(values: repeated, windows: [Int32](repeating: 0, count: repeated.count))
      let shares = [0.001, 0.5, 0.9, 0.99, 1]
      let found = SortedDivergences(values: values, windows: windows)
        .quantiles(shares, weights: weights, count: repeated.count)
      #expect(found == plain.quantiles(shares))
    }
  }

  @Test func `Student's quantile joins its series where the table ends`() {
    #expect(abs(PercentileBounds.studentQuantile(degreesOfFreedom: 21) - 2.0796) < 2e-4)
    #expect(abs(PercentileBounds.studentQuantile(degreesOfFreedom: 120) - 1.9799) < 1e-4)
    #expect(abs(PercentileBounds(windows: 100_000).tail - 0.025) < 1e-4)
    #expect(PercentileBounds(windows: 2).tail < 1e-6)
  }

  @Test func `a candidate that breaks down makes the mean infinite and fails every limit`() throws {
    var statistics = ComparisonStatistics(resamples: 50)
    for _ in 0..<4 { statistics.add(window(divergences: [0.1, 0.2])) }
    let broken = TokenScore.Candidate(divergence: .infinity, loss: .infinity, agrees: false)
    statistics.add(TokenScores([TokenScore(referenceLoss: 1, candidate: broken)]))
    let comparison = try #require(statistics.summary()?.comparison)
    #expect(comparison.divergence.mean.value == .infinity && comparison.perplexityRatio.value == .infinity)
    let checks = Gate(maxKL: 1000, maxPerplexityIncrease: 1000, minTop1: 0.95).checks(of: comparison)
    #expect(checks.map(\.verdict) == [.failed, .failed, .failed])
    var report = SampleReport.small
    report.accuracy?.comparison = comparison
    report.gate = checks
    try WellFormed.check(report.html())
    #expect(report.markdown().contains("∞"))
  }

  @Test func `a million tokens are summed up in seconds`() throws {
    var generator = SeededGenerator(seed: 10)
    var statistics = ComparisonStatistics()
    let windows = isSlow ? 50 : 500
    for _ in 0..<windows {
      statistics.add(window(divergences: (0..<2000).map { _ in Double.random(in: 0..<1, using: &generator) }))
    }
    let start = ContinuousClock.now
    #expect(statistics.summary()?.tokens == 2000 * windows)
    #expect(ContinuousClock.now - start < .seconds(30))  // about 2 s on one core
  }
}
