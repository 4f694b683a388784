internal import COpenBLAS
internal import Tensors

/// The second moments of a linear's inputs, factored for rounding with feedback.
///
/// H = D·R·D with D the deviations √H_jj and R the correlations, drawn towards the identity: R′ = (1 − ρ)·R + ρ·I = L·Lᵀ.
/// Dividing the inputs by channel factors changes D alone, so one factor serves every fold. R′ has eigenvalues of at least ρ, which makes floats
/// precise enough.
public struct MomentFactor: Sendable {
  /// Number of input channels.
  public let channels: Int
  /// The channel at each place; the last place is rounded first, so channels come in ascending second moment.
  public let order: [Int]
  /// √H_jj a channel; 0 for a channel that was always 0.
  public let deviations: [Float]
  /// H before it was drawn towards the diagonal, by channel; `nil` where nothing but the diagonal is known.
  let moments: Moments?
  /// L, lower triangular, row-major by place; `nil` where it is the identity.
  ///
  /// What is above the diagonal is not used.
  private let factor: TensorStorage?
  /// L for products that may be rounded, where that is faster and was asked for.
  private(set) var rounded: RoundedFactor?

  /// Factors second moments.
  ///
  /// - Parameters:
  ///   - moments: the sum of x·xᵀ, `[channels, channels]`; its lower half is read.
  ///   - scale: one over the number of tokens.
  ///   - shrinkage: ρ, above 0 and at most 1.
  /// - Returns: `nil` if they are no moments: NaN, infinite, or not positive.
  public init?(_ moments: [Float], scale: Float = 1, channels: Int, shrinkage: Float) {
    precondition(moments.count == channels * channels, "\(moments.count) moments of \(channels) channels")
    let squares = (0..<channels).map { moments[$0 * channels + $0] * scale }
    guard squares.allSatisfy({ $0.isFinite && $0 >= 0 }) else { return nil }
    let order = (0..<channels).sorted { (squares[$0], $0) < (squares[$1], $1) }
    let deviations = squares.map { $0 > 0 ? $0.squareRoot() : 0 }
    let inverse = deviations.map { $0 > 0 ? scale.squareRoot() / $0 : 0 }
    var isPositive = true
    let factor = TensorStorage(byteCount: channels * channels * MemoryLayout<Float>.size) { bytes in
      guard let target = SharedPointer(bytes.assumingMemoryBound(to: Float.self)) else { return }
      Parallel.forEachRange(of: channels, size: 32) { places in
        for place in places {
          let channel = order[place]
          let line = target.base + place * channels
          for other in 0..<channels { line[other] = 0 }
          for other in 0..<place {
            let (low, high) = (min(channel, order[other]), max(channel, order[other]))
            line[other] = moments[high * channels + low] * inverse[low] * inverse[high] * (1 - shrinkage)
          }
          line[place] = 1
        }
      }
      isPositive = Cholesky.factor(target.base, size: channels)
    }
    guard isPositive else { return nil }
    self.channels = channels
    self.order = order
    self.deviations = deviations
    self.factor = factor
    self.moments = Moments(sums: moments, scale: scale, shrinkage: shrinkage)
  }

  /// Second moments as they were given.
  struct Moments: Sendable {
    /// The sum of x·xᵀ, `[channels, channels]`; its lower half counts.
    let sums: [Float]
    /// One over the number of tokens.
    let scale: Float
    /// ρ.
    let shrinkage: Float
  }

  /// The factor of inputs whose channels have nothing to do with each other; nothing is fed back.
  ///
  /// - Parameter deviations: √H_jj a channel.
  public init(uncorrelated deviations: [Float]) {
    channels = deviations.count
    order = Array(0..<channels)
    self.deviations = deviations
    factor = nil
    moments = nil
  }

  /// The same factor, whose products with errors and corrections may be rounded to BF16 where that is faster; half
  /// as large again.
  ///
  /// - Parameter rows: how many rows of weights it is for.
  package func rounding(rows: Int) -> MomentFactor {
    var result = self
    result.rounded = lower.flatMap { RoundedFactor($0, size: channels, rows: rows) }
    return result
  }

  /// ρ; `nil` where nothing but the diagonal is known.
  package var shrinkage: Float? { moments?.shrinkage }

  /// L; `nil` where it is the identity.
  var lower: UnsafePointer<Float>? {
    factor.flatMap { UnsafePointer($0.bytes.assumingMemoryBound(to: Float.self).baseAddress) }
  }

  /// The deviation of each channel, given those that are rounded after it: D·L's diagonal.
  package var conditionalDeviations: [Float] {
    guard let l = lower else { return deviations }
    var result = [Float](repeating: 0, count: channels)
    for (place, channel) in order.enumerated() { result[channel] = l[place * channels + place] * deviations[channel] }
    return result
  }
}
