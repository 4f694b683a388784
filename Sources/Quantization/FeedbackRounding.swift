internal import CKernels
public import Kernels
public import Tensors

/// Rounds weights so that what one column loses, the columns after it make good (GPTQ: Frantar et al., 2023).
///
/// With H the second moments of the inputs, the expected squared output error of a row is e·H·eᵀ. Columns are rounded
/// one by one, the one with the largest second moment first; each is rounded to the number nearest to its weight plus
/// what the errors so far ask of it. Scales are those of the original groups, so the file has no order of columns.
public enum FeedbackRounding {
  static let rowTile = 128

  /// Rounds anew with the scales and zero points of an earlier rounding.
  ///
  /// - Parameters:
  ///   - tensor: codes, scales and zero points of the same weights; its codes are not read.
  ///   - weight: `[outFeatures, inFeatures]`, already multiplied by the channel factors.
  ///   - factor: second moments of the inputs before they are divided by the channel factors.
  ///   - channelFactors: one an input channel; `nil` for ones.
  public static func rounded(
    _ tensor: QuantizedTensor, _ weight: WeightRows, factor: MomentFactor, channelFactors: [Float]?
  ) -> QuantizedTensor {
    let (rowCount, width) = (tensor.outFeatures, tensor.inFeatures)
    let grid = tensor.grid
    let plan = plan(tensor, factor: factor, channelFactors: channelFactors)
    var codes = [UInt8](repeating: 0, count: rowCount * width)
    codes.withUnsafeMutableBufferPointer { target in
      nonisolated(unsafe) let target = target
      Parallel.forEachRange(of: rowCount, size: rowTile) { rows in
        forRows(rows, weight) { floats in
          let found = round(rows, floats, tensor, grid, plan, factor)
          for (index, code) in found.enumerated() {
            target[rows.lowerBound * width + index] = UInt8(truncatingIfNeeded: code)
          }
        }
      }
    }
    return QuantizedTensor(
      tensor.quantization, outFeatures: rowCount, inFeatures: width, codes: codes, scales: tensor.scales,
      scaleType: tensor.scaleType, scaleDivisor: tensor.scaleDivisor, zeroPoints: tensor.zeroPoints)
  }

  /// How the format rounds, and what each channel's error weighs.
  static func plan(_ tensor: QuantizedTensor, factor: MomentFactor, channelFactors: [Float]?) -> MomentFactor.Grid {
    let grid = tensor.grid
    let deviations =
      channelFactors.map { zip(factor.deviations, $0).map { $0 / $1 } } ?? factor.deviations
    let kind: ck_feedback_kind =
      switch tensor.quantization.format {
      case .int: ck_feedback_int
      case .float8E4M3: ck_feedback_e4m3
      case .float4E2M1: ck_feedback_e2m1
      }
    var plan = MomentFactor.Grid(
      kind: kind, cells: (0..<tensor.inFeatures).map { Int32($0 / grid.columnsPerScale) },
      cellCount: grid.columnGroups, deviations: deviations)
    if case .int(let bits) = tensor.quantization.format {
      plan.lowest = -(1 << Int32(bits - 1))
      plan.highest = -plan.lowest - 1
    }
    return plan
  }

  private static func forRows(
    _ rows: Range<Int>, _ weight: WeightRows, _ body: (UnsafePointer<Float>) -> Void
  ) {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: rows.count * weight.inFeatures) { floats in
      weight.copyRows(rows, to: floats)
      if let base = floats.baseAddress { body(base) }
    }
  }

  private static func round(
    _ rows: Range<Int>, _ floats: UnsafePointer<Float>, _ tensor: QuantizedTensor, _ grid: ScaleGrid,
    _ plan: MomentFactor.Grid, _ factor: MomentFactor
  ) -> [Int32] {
    var (scales, zeros): ([Float], [Float]) = ([], [])
    for row in rows {
      let start = row / grid.rowsPerScale * grid.columnGroups
      scales += tensor.scales[start..<start + grid.columnGroups]
      if let points = tensor.zeroPoints { zeros += points[start..<start + grid.columnGroups].map { Float($0) } }
    }
    return [Int32](unsafeUninitializedCapacity: rows.count * tensor.inFeatures) { codes, count in
      count = rows.count * tensor.inFeatures
      guard let base = codes.baseAddress else { return }
      zeros.withUnsafeBufferPointer { zeros in
        factor.round(
          floats, rows: rows.count, plan, scales: scales, zeros: zeros.isEmpty ? nil : zeros.baseAddress, codes: base)
      }
    }
  }
}
