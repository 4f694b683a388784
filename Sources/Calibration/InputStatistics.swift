internal import CKernels
public import Kernels
public import Tensors

/// What calibration keeps of the activations that a linear reads; the activations themselves are not kept.
public struct InputStatistics: Sendable {
  /// Number of input channels.
  public let channels: Int
  /// Columns of each Gram block: the group size of the quantization, or 0 if no blocks are kept.
  public let groupSize: Int
  /// Sum of the tokens' weights: the number of tokens, less what was taken from outlying ones.
  public private(set) var weight = 0.0
  /// Largest |x| a channel of any token, outliers included.
  public private(set) var maxima: [Float]
  private var magnitudeSum: [Double]
  private var sum: [Double]
  private var squareSum: [Double]
  /// Weight and squares of the first half of the tokens of each ``add(_:)``.
  private var firstWeight = 0.0
  private var firstSquareSum: [Double]
  private var gramSum: [Float] = []
  /// Whether the second moments of all pairs of channels are kept, as rounding with feedback needs them.
  public let keepsMoments: Bool
  private let precision: ProductPrecision

  /// Groups wider than this keep no Gram block: means and variances stand in for it.
  public static let widestBlock = 512

  /// How many times the median energy a token may have before it is weighed down.
  ///
  /// Attention sinks and byte-order tokens reach a thousand times the median and would decide every scale alone.
  static let energyCap = 16.0

  /// Empty statistics.
  ///
  /// - Parameter precision: what may be done to activations of whose channels all second moments are kept.
  public init(
    channels: Int, groupSize: Int, keepsMoments: Bool = false, precision: ProductPrecision = .float32
  ) {
    self.precision = precision
    self.channels = channels
    self.keepsMoments = keepsMoments
    self.groupSize = groupSize <= Self.widestBlock ? groupSize : 0
    magnitudeSum = [Double](repeating: 0, count: channels)
    sum = magnitudeSum
    squareSum = magnitudeSum
    firstSquareSum = magnitudeSum
    maxima = [Float](repeating: 0, count: channels)
  }

  /// Statistics of an input of which nothing is known: every channel alike, around zero.
  static func uniform(channels: Int) -> InputStatistics {
    var result = InputStatistics(channels: channels, groupSize: 0)
    result.weight = 1
    result.magnitudeSum = [Double](repeating: 1, count: channels)
    result.squareSum = result.magnitudeSum
    return result
  }

  /// Adds activations, `[tokens, channels]`.
  ///
  /// - Returns: the weight of each token; outlying ones have less than 1.
  @discardableResult
  public mutating func add(_ x: Matrix) -> [Double] {
    precondition(x.columns == channels, "\(x.columns) channels for \(channels)")
    guard x.rows > 0 else { return [] }
    let energies = (0..<x.rows).map { row in
      x.values.withUnsafeBufferPointer { buffer in
        buffer.baseAddress.map { ck_sum_of_squares($0 + row * channels, channels) } ?? 0
      }
    }
    // The lower median: of two tokens, the quieter one decides.
    let cap = energies.sorted()[(x.rows - 1) / 2] * Self.energyCap
    let weights = energies.map { $0 > cap && cap > 0 ? cap / $0 : 1 }
    let before = (weight, squareSum)
    for row in 0..<x.rows {
      if row == x.rows / 2 {
        firstWeight += weight - before.0
        for channel in 0..<channels { firstSquareSum[channel] += squareSum[channel] - before.1[channel] }
      }
      weight += weights[row]
      x.values.withUnsafeBufferPointer { buffer in
        guard let base = buffer.baseAddress else { return }
        ck_accumulate_moments(base + row * channels, weights[row], &magnitudeSum, &sum, &squareSum, channels)
        maxima.withUnsafeMutableBufferPointer { maxima in
          for channel in 0..<channels {
            let magnitude = abs(base[row * channels + channel])
            maxima[channel] = magnitude > maxima[channel] ? magnitude : maxima[channel]
          }
        }
      }
    }
    if groupSize > 0 || keepsMoments { addGram(x, weights) }
    return weights
  }

  private mutating func addGram(_ x: Matrix, _ weights: [Double]) {
    var weighted = x
    for row in 0..<x.rows where weights[row] < 1 {
      let factor = Float(weights[row].squareRoot())
      for column in 0..<channels { weighted[row, column] *= factor }
    }
    if keepsMoments {
      if gramSum.isEmpty { gramSum = [Float](repeating: 0, count: channels * channels) }
      return MatrixProduct.addGram(weighted, to: &gramSum, precision)
    }
    let gram = MatrixProduct.gramBlocks(weighted, groupSize: groupSize)
    if gramSum.isEmpty { gramSum = gram } else { for index in gram.indices { gramSum[index] += gram[index] } }
  }

  /// Largest |x| of any token, outliers included.
  public var maximum: Float { maxima.max() ?? 0 }

  /// Largest |x| of any token once its channels are divided by factors, as folding leaves it.
  public func maximum(dividedBy factors: [Float]?) -> Float {
    guard let factors else { return maximum }
    return zip(maxima, factors).map { $0 / $1 }.max() ?? 0
  }

  /// Before any token all means are zero.
  private var divisor: Double { weight > 0 ? weight : 1 }

  /// Mean |x| a channel.
  public var magnitudes: [Float] { magnitudeSum.map { Float($0 / divisor) } }

  /// Mean of x a channel.
  public var means: [Float] { sum.map { Float($0 / divisor) } }

  /// Mean of x² a channel.
  public var squares: [Float] { squareSum.map { Float($0 / divisor) } }

  /// How far the mean squares of two halves of the tokens are apart, relative to their mean, on average over the channels.
  ///
  /// What is learned from one half would be learned from the other if it is small; more text makes it smaller.
  /// `nil` before any token, or if nothing but one half was heard.
  public var halfDifference: Double? {
    let secondWeight = weight - firstWeight
    guard firstWeight > 0, secondWeight > 0 else { return nil }
    let differences = zip(firstSquareSum, squareSum).compactMap { first, all -> Double? in
      let (first, second) = (first / firstWeight, max(0, all - first) / secondWeight)
      return first + second > 0 ? 2 * abs(first - second) / (first + second) : nil
    }
    return differences.isEmpty ? nil : differences.reduce(0, +) / Double(differences.count)
  }

  /// Variance of x a channel.
  public var variances: [Float] {
    zip(sum, squareSum).map { sum, square in
      let mean = sum / divisor
      return Float(max(0, square / divisor - mean * mean))
    }
  }

  /// The mean of x·xᵀ within one group of columns, `[width, width]`; `nil` if no blocks are kept.
  public func gramBlock(_ group: Int) -> [Float]? {
    guard groupSize > 0, !gramSum.isEmpty else { return nil }
    let (first, width) = (group * groupSize, min(groupSize, channels - group * groupSize))
    let factor = Float(1 / weight)
    guard keepsMoments else {
      let start = first * groupSize
      return gramSum[start..<start + width * width].map { $0 * factor }
    }
    return (0..<width * width).map { index in
      let (row, column) = (first + index / width, first + index % width)
      return gramSum[max(row, column) * channels + min(row, column)] * factor
    }
  }

  /// The second moments of all channels, drawn towards each channel's own, and factored.
  ///
  /// - Parameter shrinkage: ρ of R′ = (1 − ρ)·R + ρ·I.
  /// - Returns: `nil` if the moments were not kept, or are not finite.
  func factor(shrinkage: Float) -> MomentFactor? {
    guard keepsMoments, !gramSum.isEmpty else { return nil }
    let factor = Float(1 / weight)
    return MomentFactor(gramSum, scale: factor, channels: channels, shrinkage: shrinkage)
  }
}
