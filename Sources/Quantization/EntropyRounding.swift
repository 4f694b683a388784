internal import CKernels
public import Kernels
public import Tensors

/// How finely a linear is coded: one number governs all of its steps.
public struct EntropyCoding: Hashable, Sendable {
  /// Expected root of the squared error that one column's rounding leaves in an output, times √12.
  public var step: Float
  /// Further columns of codes that the plan leaves room for.
  public var splitColumns: Int
  /// How much an error in each output weighs, as the factor of the error.
  ///
  /// `nil` where all weigh the same. Rows have their steps divided by it.
  public var rowWeights: [Float]?

  /// A step, above 0, and room for columns whose integers exceed a code.
  public init(step: Float, splitColumns: Int, rowWeights: [Float]? = nil) {
    self.step = step
    self.splitColumns = splitColumns
    self.rowWeights = rowWeights
  }
}

/// Rounds weights to integers that an entropy coder makes small (WaterSIC: arXiv 2603.04956, facts/algorithms.md §3.1).
///
/// Column j has the step α_j = c / ℓ_j, ℓ_j the deviation of its input given those of the columns rounded after it: all
/// columns then leave the same error in the output, which no other division of the bits beats. Errors are fed back as
/// ``FeedbackRounding`` does. Integers are not bounded; steps are on ``GainGrid``.
public enum EntropyRounding {
  /// What a few rows say of a whole matrix.
  public struct Estimate: Sendable {
    /// Order-0 entropy of the codes, bits a weight.
    public var bitsPerWeight: Double
    /// Expected squared error of the output under the moments, summed over outputs.
    public var loss: Double
    /// Further columns of codes that these rows need, with codes of 8 bits and of 4.
    public var splitColumns: (bytes: Int, nibbles: Int)

    /// An estimate made elsewhere.
    public init(bitsPerWeight: Double, loss: Double, splitColumns: (bytes: Int, nibbles: Int)) {
      self.bitsPerWeight = bitsPerWeight
      self.loss = loss
      self.splitColumns = splitColumns
    }
  }

  /// Codes and gains of all rows.
  ///
  /// - Parameters:
  ///   - weight: `[outFeatures, inFeatures]`.
  ///   - factor: second moments of the inputs.
  ///   - bits: of a stored code, 8 or 4.
  public static func rounded(
    _ weight: WeightRows, factor: MomentFactor, coding: EntropyCoding, bits: Int
  ) -> QuantizedTensor {
    let (rowCount, width) = (weight.outFeatures, weight.inFeatures)
    var gains = Gains(factor, step: coding.step, rows: rowCount, rowWeights: coding.rowWeights)
    while true {
      var integers = integers(weight, factor, gains).codes
      let digits = CodeDigits(bits: bits)
      if digits.splitsNeeded(integers, columns: width) <= coding.splitColumns {
        return QuantizedTensor(
          integers: integers, outFeatures: rowCount, inFeatures: width,
          rowGains: gains.rows, columnGains: gains.columns, bits: bits)
      }
      // More columns overflow than the plan has room for: those that need the most digits get coarser steps.
      let counts = digits.counts(integers, columns: width)
      let excess = counts.enumerated().filter { $0.element > 1 && gains.columns[$0.offset] < .max }
        .sorted {
          ($0.element, gains.columns[$0.offset], $0.offset) < ($1.element, gains.columns[$1.offset], $1.offset)
        }
      if excess.isEmpty {
        // No step is coarser: weights beyond hundreds of thousands are cut off, and verification will tell.
        let most = Int32(1) << (bits - 1) - 1
        for index in integers.indices { integers[index] = min(max(integers[index], -most), most) }
        return QuantizedTensor(
          integers: integers, outFeatures: rowCount, inFeatures: width,
          rowGains: gains.rows, columnGains: gains.columns, bits: bits)
      }
      for (column, _) in excess.prefix(max(1, excess.count - coding.splitColumns)) {
        gains.columns[column] = UInt8(clamping: Int(gains.columns[column]) + 8)
      }
    }
  }

  /// Rounds some rows and says what all would take.
  ///
  /// - Parameters:
  ///   - rows: the rows, of `outFeatures` in all.
  ///   - rowWeights: those of these rows; the error is weighed with them.
  public static func estimate(
    _ rows: Matrix, outFeatures: Int, factor: MomentFactor, step: Float, rowWeights: [Float]?
  ) -> Estimate {
    let gains = Gains(factor, step: step, rows: rows.rows, rowWeights: rowWeights)
    let (integers, losses) = integers(WeightRows(rows), factor, gains, tellsLosses: true)
    let tensor = QuantizedTensor(
      integers: integers, outFeatures: rows.rows, inFeatures: rows.columns,
      rowGains: gains.rows, columnGains: gains.columns, bits: 8)
    let weighed = rowWeights.map { zip(losses, $0).map { $0 * Double($1) * Double($1) } } ?? losses
    let loss = weighed.reduce(0, +) * Double(outFeatures) / Double(max(1, rows.rows))
    return Estimate(
      bitsPerWeight: tensor.codeEntropy.byClass, loss: loss,
      splitColumns: (tensor.splitColumns, CodeDigits(bits: 4).splitsNeeded(integers, columns: rows.columns)))
  }

  /// The gains of a matrix.
  private struct Gains {
    let rows: [UInt8]
    var columns: [UInt8]

    init(_ factor: MomentFactor, step: Float, rows count: Int, rowWeights: [Float]?) {
      let conditional = factor.conditionalDeviations
      let alive = conditional.filter { $0 > 0 }.sorted()
      let middle = alive.isEmpty ? 1 : alive[alive.count / 2]
      let common = GainGrid.rows.values[Int(GainGrid.rows.code(nearest: step / middle))]
      rows = (rowWeights ?? [Float](repeating: 1, count: count)).map { GainGrid.rows.code(nearest: common / $0) }
      // What no input reaches needs no bits.
      columns = conditional.map { $0 > 0 ? GainGrid.columns.code(nearest: step / $0 / common) : 255 }
    }
  }

  private static func integers(
    _ weight: WeightRows, _ factor: MomentFactor, _ gains: Gains, tellsLosses: Bool = false
  ) -> (codes: [Int32], losses: [Double]) {
    let (rowCount, width) = (weight.outFeatures, weight.inFeatures)
    var grid = MomentFactor.Grid(
      kind: ck_feedback_int, cells: [Int32](repeating: 0, count: width), cellCount: 1, deviations: factor.deviations)
    grid.lowest = -(1 << 22)
    grid.highest = 1 << 22
    grid.gains = gains.columns.map { GainGrid.columns.values[Int($0)] }
    let scales = gains.rows.map { GainGrid.rows.values[Int($0)] }
    var losses = [Double](repeating: 0, count: tellsLosses ? rowCount : 0)
    let codes = [Int32](unsafeUninitializedCapacity: rowCount * width) { codes, count in
      count = rowCount * width
      guard let base = codes.baseAddress else { return }
      losses.withUnsafeMutableBufferPointer { losses in
        nonisolated(unsafe) let (base, losses) = (base, losses)
        let grid = grid
        Parallel.forEachRange(of: rowCount, size: FeedbackRounding.rowTile) { rows in
          let floats = weight.rows(rows).values
          factor.round(
            floats, rows: rows.count, grid, scales: Array(scales[rows]), zeros: nil,
            codes: base + rows.lowerBound * width,
            losses: tellsLosses ? losses.baseAddress.map { $0 + rows.lowerBound } : nil)
        }
      }
    }
    return (codes, losses)
  }
}
