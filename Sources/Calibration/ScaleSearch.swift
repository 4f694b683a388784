internal import CKernels
internal import Kernels
public import Quantization
public import Tensors

/// The activation-aware search for channel scales (AWQ: Lin et al., 2024, §3.2).
///
/// For linears that read the same activation, find s that minimises the expected squared error of
/// Q(W · diag(s)) · diag(s)⁻¹ · x. Rounding errors are nearly independent between channels, so the error is
/// Σ_j Var(x_j)·‖ΔW_j‖² + ‖ΔW · E[x]‖²: means and variances stand in for the activations. On a synthetic layer the curve
/// over α differs from the exact one by less than 1 % and has the same lowest point (facts/algorithms.md §2.2).
///
/// Candidates are s = x̄^α and s = x̄^α / w̄^(1−α), with x̄ the mean magnitude of a channel and w̄ its mean weight
/// relative to its group's largest; α on a coarse grid first, then around the best.
public struct ScaleSearch: Sendable {
  /// What was found.
  public struct Result: Sendable {
    /// One factor a channel of the source.
    public var scales: [Float]
    /// The exponent; 0 with `usesWeights` false is no scaling.
    public var alpha: Double
    /// Whether the weights' magnitudes took part.
    public var usesWeights: Bool
    /// Expected squared error with these scales, relative to none.
    public var relativeError: Double
  }

  /// How the linears are stored; one for each.
  public let quantizations: [WeightQuantization]
  /// Element type of their scales.
  public let scaleType: DType
  /// The weights, `[outFeatures, channels]` each.
  public let weights: [WeightRows]
  /// What the linears read.
  public let statistics: InputStatistics
  /// Input channels that share a factor, as the index of the source's channel for each input channel.
  public let sourceChannel: [Int]

  /// A search; `sourceChannel` maps input channels to the source's channels (identity for norms).
  public init(
    quantizations: [WeightQuantization], scaleType: DType, weights: [WeightRows], statistics: InputStatistics,
    sourceChannel: [Int]
  ) {
    self.quantizations = quantizations
    self.scaleType = scaleType
    self.weights = weights
    self.statistics = statistics
    self.sourceChannel = sourceChannel
  }

  /// Rows of a linear by which candidates are compared, in tiles from all over the matrix.
  private static let mostRows = 1024

  private var sourceCount: Int { (sourceChannel.max() ?? -1) + 1 }
  private static let rowTile = 32

  /// Searches.
  ///
  /// - Parameter adjust: turns factors into those that can be stored exactly; applied to every candidate.
  public func run(adjust: ([Float]) -> [Float]) -> Result {
    let identity = [Float](repeating: 1, count: sourceCount)
    let baseline = error(identity)
    var best = Result(scales: identity, alpha: 0, usesWeights: false, relativeError: 1)
    guard baseline > 0 else { return best }
    let magnitudes = Self.floored(folded(statistics.magnitudes))
    let weightShares = folded(weightMagnitudes)
    for usesWeights in [false, true] {
      var tried: [Double: Double] = [:]
      func measure(_ alpha: Double) {
        guard tried[alpha] == nil, alpha >= 0, alpha <= 1, usesWeights || alpha > 0 else { return }
        let scales = adjust(Self.candidate(magnitudes, weightShares, alpha: alpha, usesWeights: usesWeights))
        let relative = error(scales) / baseline
        tried[alpha] = relative
        if relative < best.relativeError {
          best = Result(scales: scales, alpha: alpha, usesWeights: usesWeights, relativeError: relative)
        }
      }
      for step in 0...4 { measure(Double(step) / 4) }
      let center = tried.min { ($0.value, $0.key) < ($1.value, $1.key) }?.key ?? 0.5
      for step in [-0.15, -0.1, -0.05, 0.05, 0.1, 0.15] { measure(((center + step) * 100).rounded() / 100) }
    }
    return best
  }

  /// Channels that share a factor are taken together by the root mean square.
  private func folded(_ values: [Float]) -> [Float] {
    var sums = [Float](repeating: 0, count: sourceCount)
    var counts = sums
    for (channel, source) in sourceChannel.enumerated() {
      sums[source] += values[channel] * values[channel]
      counts[source] += 1
    }
    return zip(sums, counts).map { ($0 / $1).squareRoot() }
  }

  /// Dead channels get a floor relative to the median of the others; a floor of fixed size, or one of nothing where
  /// most are dead, would push all other factors aside.
  static func floored(_ magnitudes: [Float]) -> [Float] {
    let alive = magnitudes.filter { $0 > 0 }.sorted()
    guard !alive.isEmpty else { return magnitudes.map { _ in 1 } }
    let floor = max(alive[alive.count / 2] * 1e-2, .leastNormalMagnitude)
    return magnitudes.map { max($0, floor) }
  }

  static func candidate(_ magnitudes: [Float], _ weightShares: [Float], alpha: Double, usesWeights: Bool) -> [Float] {
    let raw = zip(magnitudes, weightShares).map { magnitude, share in
      let scale = MathFunctions.power(Double(magnitude), alpha)
      return usesWeights ? scale / (MathFunctions.power(Double(share), 1 - alpha) + 1e-4) : scale
    }
    let center = ((raw.max() ?? 1) * (raw.min() ?? 1)).squareRoot()
    return raw.map { Float(min(max($0 / center, 1e-4), 1e4)) }
  }

  /// Mean over all rows of |w| relative to the largest of its group.
  private var weightMagnitudes: [Float] {
    var sums = [Double](repeating: 0, count: statistics.channels)
    var rows = 0
    for (weight, quantization) in zip(weights, quantizations) {
      let grid = ScaleGrid(quantization.granularity, outFeatures: weight.outFeatures, inFeatures: weight.inFeatures)
      rows += weight.outFeatures
      for first in stride(from: 0, to: weight.outFeatures, by: Self.rowTile) {
        let tile = weight.rows(first..<min(first + Self.rowTile, weight.outFeatures))
        tile.values.withUnsafeBufferPointer { values in
          guard let base = values.baseAddress else { return }
          for row in 0..<tile.rows {
            for group in 0..<grid.columnGroups {
              let columns = group * grid.columnsPerScale..<min(tile.columns, (group + 1) * grid.columnsPerScale)
              let line = base + row * tile.columns
              let largest = ck_largest_magnitude(line + columns.lowerBound, columns.count) + 1e-6
              for column in columns { sums[column] += Double(abs(line[column]) / largest) }
            }
          }
        }
      }
    }
    return sums.map { Float($0 / Double(rows)) }
  }

  /// The first rows of the tiles that are looked at.
  private static func tiles(_ rowCount: Int) -> [Int] {
    let tiles = Array(stride(from: 0, to: rowCount, by: rowTile))
    let step = max(1, rowCount / mostRows)
    return stride(from: 0, to: tiles.count, by: step).map { tiles[$0] }
  }

  /// Expected squared error of all linears under factors of the source's channels.
  func error(_ scales: [Float]) -> Double {
    let expanded = sourceChannel.map { scales[$0] }
    let inverse = expanded.map { 1 / $0 }
    let (variances, means) = (statistics.variances, statistics.means)
    var total = 0.0
    for (weight, quantization) in zip(weights, quantizations) {
      guard case .int(let bits) = quantization.format else { continue }
      let (rowCount, width) = (weight.outFeatures, weight.inFeatures)
      let grid = ScaleGrid(quantization.granularity, outFeatures: rowCount, inFeatures: width)
      let spec = ck_int_grid(bits: bits, isSymmetric: quantization.isSymmetric, scaleType: scaleType)
      let tiles = Self.tiles(rowCount)
      var errors = [Double](repeating: 0, count: rowCount)
      errors.withUnsafeMutableBufferPointer { errors in
        nonisolated(unsafe) let errors = errors
        Parallel.forEach(tiles.count) { task in
          let rows = tiles[task]..<min(rowCount, tiles[task] + Self.rowTile)
          withUnsafeTemporaryAllocation(of: Float.self, capacity: (rows.count + 2) * width) { room in
            guard let base = room.baseAddress else { return }
            let scratch = base + rows.count * width
            weight.copyRows(rows, to: UnsafeMutableBufferPointer(start: base, count: rows.count * width))
            for row in rows {
              errors[row] = ck_scaled_row_error(
                base + (row - rows.lowerBound) * width, expanded, inverse, variances, means, width,
                grid.columnsPerScale, spec, scratch)
            }
          }
        }
      }
      let seen = tiles.reduce(0) { $0 + min(rowCount, $1 + Self.rowTile) - $1 }
      total += errors.reduce(0, +) * Double(rowCount) / Double(max(1, seen))
    }
    return total
  }
}
