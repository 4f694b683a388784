internal import CKernels
internal import Kernels
public import Quantization
public import Tensors

/// The search for how far each group's range is shrunk before rounding (AWQ's clipping, Lin et al., 2024).
///
/// A smaller range has smaller steps and clips the largest weights. The expected squared output error of a group is
/// dᵀ·H·d, with d the change of its weights and H the second moments of the group's inputs: exact, where the reference
/// multiplies with sampled activations, but for ``shrunk(_:tokens:)``. Groups wider than ``InputStatistics/widestBlock`` use means and variances.
public enum ClipSearch {
  /// Factors of the range that are tried, none at first: ties leave the range as it is.
  ///
  /// The reference tries 1 to 0.55 in steps of 0.05. Half its steps, and a range that may also grow a little (the grid's
  /// phase moves with it), lower the KL divergence of the pocket models by 3 %.
  static let shrinks: [Float] = [1] + (24...42).reversed().filter { $0 != 40 }.map { Float($0) / 40 }

  /// Those that are tried where rounding feeds errors back and scales are fitted to the codes: finer ones do not pay.
  static let coarseShrinks: [Float] = [1] + (12...21).reversed().filter { $0 != 20 }.map { Float($0) / 20 }

  /// The best factor for each scale, `[outFeatures × groups]`.
  ///
  /// - Parameters:
  ///   - weight: already multiplied by the channel factors.
  ///   - scales: the channel factors, one an input channel; the inputs are divided by them.
  ///   - isFedBack: whether the weights will be rounded with feedback.
  public static func run(
    _ weight: WeightRows, as quantization: WeightQuantization, scaleType: DType, statistics: InputStatistics,
    scales: [Float], isFedBack: Bool = false
  ) -> [Float] {
    let shrinks = isFedBack ? coarseShrinks : shrinks
    guard case .int(let bits) = quantization.format else { return [] }
    let (rowCount, width) = (weight.outFeatures, weight.inFeatures)
    let grid = ScaleGrid(quantization.granularity, outFeatures: rowCount, inFeatures: width)
    let spec = ck_int_grid(bits: bits, isSymmetric: quantization.isSymmetric, scaleType: scaleType)
    var result = [Float](repeating: 1, count: grid.count)
    let moments = (0..<grid.columnGroups).map { group in
      Moments(statistics, group: group, width: grid.columnsPerScale, scales: scales)
    }
    result.withUnsafeMutableBufferPointer { result in
      nonisolated(unsafe) let result = result
      Parallel.forEachRange(of: rowCount, size: 64) { rows in
        let tile = weight.rows(rows)
        for group in 0..<grid.columnGroups {
          let best = bestShrinks(shrinks, tile, moments[group], grid: grid, group: group, spec: spec)
          for (row, shrink) in zip(rows, best) { result[row * grid.columnGroups + group] = shrink }
        }
      }
    }
    return result
  }

  /// How much of the moments between channels is believed, and each channel's own, drawn towards their mean.
  ///
  /// Few tokens say little of how channels go together, and clipping would be fitted to chance: with one token it then
  /// does more harm than good. From a few hundred tokens on this changes nothing that can be measured.
  static func shrunk(_ squares: [Float], tokens: Double) -> (kept: Float, squares: [Float]) {
    let mean = squares.reduce(0, +) / Float(max(1, squares.count))
    let own = Float(tokens / (tokens + 8))
    return (Float(tokens / (tokens + 32)), squares.map { own * $0 + (1 - own) * mean })
  }

  /// Second moments of one group's inputs after division by the channel factors.
  private struct Moments: Sendable {
    let width: Int
    /// `[width, width]`, or empty.
    let gram: [Float]
    let variances: [Float]
    let means: [Float]

    init(_ statistics: InputStatistics, group: Int, width groupWidth: Int, scales: [Float]) {
      let columns = group * groupWidth..<min(statistics.channels, (group + 1) * groupWidth)
      width = columns.count
      let factors = columns.map { 1 / scales[$0] }
      let (kept, squares) = ClipSearch.shrunk(Array(statistics.squares[columns]), tokens: statistics.weight)
      if statistics.groupSize == groupWidth, let block = statistics.gramBlock(group) {
        let count = columns.count
        gram = block.enumerated().map { index, moment in
          let (row, column) = (index / count, index % count)
          return (row == column ? squares[row] : moment * kept) * factors[row] * factors[column]
        }
        variances = []
        means = []
      } else {
        gram = []
        let seen = statistics.means[columns]
        variances = zip(zip(squares, seen), factors).map { max(0, $0.0 - kept * $0.1 * $0.1) * $1 * $1 }
        means = zip(seen, factors).map { kept.squareRoot() * $0 * $1 }
      }
    }
  }

  private static func bestShrinks(
    _ shrinks: [Float], _ weight: Matrix, _ moments: Moments, grid: ScaleGrid, group: Int, spec: ck_int_grid
  ) -> [Float] {
    let width = moments.width
    var best = [Float](repeating: 1, count: weight.rows)
    guard !moments.gram.isEmpty else {
      weight.values.withUnsafeBufferPointer { values in
        guard let base = values.baseAddress else { return }
        for row in 0..<weight.rows {
          best[row] = ck_int_group_best_shrink(
            base + row * weight.columns + group * grid.columnsPerScale, width, spec, shrinks, shrinks.count,
            moments.variances, moments.means)
        }
      }
      return best
    }
    var lowest = [Double](repeating: .infinity, count: weight.rows)
    var errors = lowest
    withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * weight.rows * width) { room in
      guard let difference = room.baseAddress else { return }
      let scratch = difference + weight.rows * width
      weight.values.withUnsafeBufferPointer { values in
        guard let base = values.baseAddress else { return }
        for shrink in shrinks {
          for row in 0..<weight.rows {
            let source = base + row * weight.columns + group * grid.columnsPerScale
            var (scale, zero): (Float, Float) = (0, 0)
            ck_int_group_scale(source, width, spec, shrink, &scale, &zero)
            ck_int_group_error(source, width, spec, scale, zero, difference + row * width)
          }
          QuadraticForm.rows(
            difference, rows: weight.rows, width: width, moments: moments.gram, scratch: scratch, result: &errors)
          for index in best.indices where errors[index] < lowest[index] {
            lowest[index] = errors[index]
            best[index] = shrink
          }
        }
      }
    }
    return best
  }
}
