/// What the comparison of two models on a text came to, or the perplexity of one.
public struct ComparisonSummary: Sendable, Equatable {
  /// KL(reference‖candidate) per token, nats.
  public struct Divergence: Sendable, Equatable {
    /// The mean over all tokens.
    public var mean: Estimate
    /// The median token.
    public var median: Estimate
    /// Not exceeded by 90 % of tokens.
    public var p90: Estimate
    /// Not exceeded by 99 % of tokens.
    public var p99: Estimate
    /// Not exceeded by 99.9 % of tokens.
    public var p999: Estimate
    /// The largest seen; without bounds, since resampling cannot find a larger one.
    public var max: Estimate

    /// Values made elsewhere.
    public init(mean: Estimate, median: Estimate, p90: Estimate, p99: Estimate, p999: Estimate, max: Estimate) {
      self.mean = mean
      self.median = median
      self.p90 = p90
      self.p99 = p99
      self.p999 = p999
      self.max = max
    }
  }

  /// What only two models have.
  public struct Comparison: Sendable, Equatable {
    /// KL divergence per token.
    public var divergence: Divergence
    /// exp of the candidate's mean loss.
    public var perplexity: Estimate
    /// The candidate's perplexity over the reference's, paired: exp(mean of the differences of loss).
    public var perplexityRatio: Estimate
    /// The share of tokens where both models hold the same token for the likeliest.
    public var top1Agreement: Estimate
    /// Mean of q[y] − p[y], the change in the probability of the token that follows.
    public var meanProbabilityChange: Estimate
    /// Root of the mean of (q[y] − p[y])².
    public var rmsProbabilityChange: Estimate
    /// How the divergences are spread.
    public var distribution: DivergenceDistribution

    /// Values made elsewhere.
    public init(
      divergence: Divergence, perplexity: Estimate, perplexityRatio: Estimate, top1Agreement: Estimate,
      meanProbabilityChange: Estimate, rmsProbabilityChange: Estimate, distribution: DivergenceDistribution
    ) {
      self.divergence = divergence
      self.perplexity = perplexity
      self.perplexityRatio = perplexityRatio
      self.top1Agreement = top1Agreement
      self.meanProbabilityChange = meanProbabilityChange
      self.rmsProbabilityChange = rmsProbabilityChange
      self.distribution = distribution
    }
  }

  /// Number of tokens scored.
  public var tokens: Int
  /// Number of windows that they came in.
  public var windows: Int
  /// exp of the reference's mean loss over all tokens scored.
  public var referencePerplexity: Estimate
  /// The comparison; `nil` when one model was measured alone.
  public var comparison: Comparison?

  /// Values made elsewhere.
  public init(tokens: Int, windows: Int, referencePerplexity: Estimate, comparison: Comparison?) {
    self.tokens = tokens
    self.windows = windows
    self.referencePerplexity = referencePerplexity
    self.comparison = comparison
  }
}

/// How KL divergence is spread over sizes, windows and positions; what the plots are drawn from.
public struct DivergenceDistribution: Sendable, Equatable {
  /// Bins per factor of ten.
  public static let binsPerDecade = 8
  /// The histogram begins at 10 to this power, nats.
  public static let lowestExponent = -8
  /// The histogram ends at 10 to this power, nats.
  public static let highestExponent = 3

  /// Tokens per bin of equal width in log KL; values beyond either end count in the last bin there.
  public var histogram: [Int]
  /// Per window, in the order of the text, its mean, nats.
  public var windowMeans: [Double]
  /// Per stretch of positions in a window, its mean over all windows, nats.
  public var positionMeans: [Double]
  /// Number of positions in each stretch but the last, which may be shorter.
  public var positionsPerStretch: Int

  /// Values made elsewhere.
  public init(histogram: [Int], windowMeans: [Double], positionMeans: [Double], positionsPerStretch: Int) {
    self.histogram = histogram
    self.windowMeans = windowMeans
    self.positionMeans = positionMeans
    self.positionsPerStretch = positionsPerStretch
  }

  /// The lower edge of a bin, nats.
  static func lowerEdge(ofBin bin: Int) -> Double {
    (Double(lowestExponent) + Double(bin) / Double(binsPerDecade)).powerOfTen
  }

  /// The bin of one divergence.
  static func bin(of divergence: Double) -> Int {
    let last = (highestExponent - lowestExponent) * binsPerDecade - 1
    guard divergence > 0 else { return 0 }
    let place = (divergence.decimalLogarithm - Double(lowestExponent)) * Double(binsPerDecade)
    return Int(min(max(place, 0), Double(last)))
  }
}
