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

  /// Every other one.
  ///
  /// With moments of pairs, which cost the most, the others are tried beside the best of these; where rounding feeds
  /// errors back and scales are fitted to the codes, they do not pay.
  static let coarseShrinks: [Float] = [1] + (12...21).reversed().filter { $0 != 20 }.map { Float($0) / 20 }

  /// Those of them that are tried for four bits and more where rounding feeds errors back: less is hardly ever best there.
  static let fedBackShrinks = coarseShrinks.filter { $0 > 0.73 && $0 < 1.03 }

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
          let best = bestShrinks(tile, moments[group], grid: grid, group: group, spec: spec, isFine: !isFedBack)
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
    /// Of all pairs of channels, where they are kept.
    let pairs: QuadraticForm?
    let variances: [Float]
    let means: [Float]

    init(_ statistics: InputStatistics, group: Int, width groupWidth: Int, scales: [Float]) {
      let columns = group * groupWidth..<min(statistics.channels, (group + 1) * groupWidth)
      width = columns.count
      let factors = columns.map { 1 / scales[$0] }
      let (kept, squares) = ClipSearch.shrunk(Array(statistics.squares[columns]), tokens: statistics.weight)
      if statistics.groupSize == groupWidth, let block = statistics.gramBlock(group) {
        let count = columns.count
        let moments = block.enumerated().map { index, moment in
          let (row, column) = (index / count, index % count)
          return (row == column ? squares[row] : moment * kept) * factors[row] * factors[column]
        }
        pairs = QuadraticForm(moments, width: count)
        variances = []
        means = []
      } else {
        pairs = nil
        let seen = statistics.means[columns]
        variances = zip(zip(squares, seen), factors).map { max(0, $0.0 - kept * $0.1 * $0.1) * $1 * $1 }
        means = zip(seen, factors).map { kept.squareRoot() * $0 * $1 }
      }
    }
  }

  private static func bestShrinks(
    _ weight: Matrix, _ moments: Moments, grid: ScaleGrid, group: Int, spec: ck_int_grid, isFine: Bool
  ) -> [Float] {
    let start = group * grid.columnsPerScale
    let firsts = isFine || spec.bits < 4 ? coarseShrinks : fedBackShrinks
    guard let pairs = moments.pairs else {
      let shrinks = isFine ? shrinks : firsts
      return weight.values.withUnsafeBufferPointer { values in
        (0..<weight.rows).map { row in
          guard let base = values.baseAddress else { return 1 }
          return ck_int_group_best_shrink(
            base + row * weight.columns + start, moments.width, spec, shrinks, shrinks.count, moments.variances,
            moments.means)
        }
      }
    }
    var search = GroupSearch(weight, start, pairs, spec)
    search.measure(firsts.count) { choice, _ in firsts[choice] }
    if isFine, let narrowest = shrinks.min(), let widest = shrinks.max() {
      let best = search.best
      search.measure(2) { choice, row in min(max((best[row] * 40 + (choice == 0 ? 1 : -1)) / 40, narrowest), widest) }
    }
    return search.best
  }

  /// One group of some rows.
  private struct GroupSearch {
    /// The best factor of each row so far.
    private(set) var best: [Float]
    private let weight: Matrix
    private let start: Int
    private let form: QuadraticForm
    private let spec: ck_int_grid
    private var lowest: [Double]
    /// The least and the greatest weight of each row.
    private var ranges: [(low: Float, high: Float)]

    init(_ weight: Matrix, _ start: Int, _ form: QuadraticForm, _ spec: ck_int_grid) {
      self.weight = weight
      self.start = start
      self.form = form
      self.spec = spec
      best = [Float](repeating: 1, count: weight.rows)
      lowest = [Double](repeating: .infinity, count: weight.rows)
      ranges = weight.values.withUnsafeBufferPointer { values in
        (0..<weight.rows).map { row in
          var range: (low: Float, high: Float) = (0, 0)
          guard let base = values.baseAddress else { return range }
          ck_int_group_range(base + row * weight.columns + start, form.width, &range.low, &range.high)
          return range
        }
      }
    }

    /// Measures `count` factors of each row, in one product.
    mutating func measure(_ count: Int, factor: (_ choice: Int, _ row: Int) -> Float) {
      let (rows, width) = (weight.rows, form.width)
      var errors = [Double](repeating: 0, count: count * rows)
      withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * errors.count * width) { room in
        weight.values.withUnsafeBufferPointer { values in
          guard let differences = room.baseAddress, let base = values.baseAddress else { return }
          for place in errors.indices {
            let (choice, row) = (place / rows, place % rows)
            let factor = factor(choice, row)
            var (scale, zero): (Float, Float) = (0, 0)
            ck_int_range_scale(ranges[row].low * factor, ranges[row].high * factor, spec, &scale, &zero)
            ck_int_group_error(
              base + row * weight.columns + start, width, spec, scale, zero, differences + place * width)
          }
          form.values(
            at: differences, rows: errors.count, scratch: differences + errors.count * width, result: &errors)
        }
      }
      for (place, error) in errors.enumerated() where error < lowest[place % rows] {
        lowest[place % rows] = error
        best[place % rows] = factor(place / rows, place % rows)
      }
    }
  }
}
