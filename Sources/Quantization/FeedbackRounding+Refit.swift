internal import CKernels
public import Kernels
public import Tensors

extension FeedbackRounding {
  /// Fits scales and zero points to plainly rounded codes, rounds with feedback, and fits them to the new codes.
  ///
  /// The first fit looks at each group by itself, which costs next to nothing; the second counts what all groups of a row
  /// do together. A second round of both was worth no less error on held-out text (three models of `Benchmarks/accuracy`).
  /// Only integers whose scales belong to one output feature are fitted; other formats are rounded once.
  ///
  /// - Parameter tensor: the weight, each element rounded by itself.
  public static func refitted(
    _ tensor: QuantizedTensor, _ weight: WeightRows, factor: MomentFactor, channelFactors: [Float]?
  ) -> QuantizedTensor {
    guard case .int = tensor.quantization.format, tensor.grid.rowsPerScale == 1 else {
      return rounded(tensor, weight, factor: factor, channelFactors: channelFactors)
    }
    let scaled = fitted(tensor, weight, factor: factor, channelFactors: channelFactors, among: .channelsOfGroup)
    let result = rounded(scaled, weight, factor: factor, channelFactors: channelFactors)
    return fitted(result, weight, factor: factor, channelFactors: channelFactors, among: .allChannels)
  }

  /// Rows that are fitted together: all of H is read for them.
  private static let fitTile = 256

  /// Bytes that a thread takes for each input channel while it rounds or fits a tile of rows.
  ///
  /// A fit holds weights, errors and codes as floats, and errors in BF16; rounding holds weights twice, what is owed, errors, and
  /// codes twice.
  public static var bytesPerChannel: Int { max(fitTile * (3 * 4 + 2), rowTile * 6 * 4) }

  /// The same codes with scales and zero points that are fitted to them.
  package static func fitted(
    _ tensor: QuantizedTensor, _ weight: WeightRows, factor: MomentFactor, channelFactors: [Float]?,
    among reach: MomentFactor.Reach
  ) -> QuantizedTensor {
    guard case .int(let bits) = tensor.quantization.format else { return tensor }
    let (rowCount, width, grid) = (tensor.outFeatures, tensor.inFeatures, tensor.grid)
    let deviations = plan(tensor, factor: factor, channelFactors: channelFactors).deviations
    let groups = grid.columnGroups
    let lowest = -Float(1 << (bits - 1))
    let rounded = reach == .allChannels ? RoundedMoments(factor, width: grid.columnsPerScale, rows: rowCount) : nil
    var scales = tensor.scales
    var zeros = tensor.zeroPoints ?? []
    scales.withUnsafeMutableBufferPointer { scales in
      zeros.withUnsafeMutableBufferPointer { zeros in
        nonisolated(unsafe) let (scales, zeros) = (scales, zeros)
        Parallel.forEachRange(of: rowCount, size: fitTile) { rows in
          let cells = rows.lowerBound * groups..<rows.upperBound * groups
          var found = MomentFactor.Scales(
            scales: Array(scales[cells]), zeros: zeros.isEmpty ? [] : zeros[cells].map { Float($0) },
            zeroRange: lowest...(-lowest - 1), type: ck_scale_type(tensor.scaleType))
          let numbers = tensor.codes[rows.lowerBound * width..<rows.upperBound * width].map {
            Float(Int8(bitPattern: $0))
          }
          let floats = weight.rows(rows).values
          factor.refit(
            &found, floats, numbers: numbers, rows: rows.count, width: grid.columnsPerScale, deviations: deviations,
            among: reach, rounded)
          for (index, cell) in cells.enumerated() {
            scales[cell] = found.scales[index]
            if !zeros.isEmpty { zeros[cell] = Int8(found.zeros[index]) }
          }
        }
      }
    }
    return QuantizedTensor(
      tensor.quantization, outFeatures: rowCount, inFeatures: width, codes: tensor.codes, scales: scales,
      scaleType: tensor.scaleType, zeroPoints: tensor.zeroPoints == nil ? nil : zeros)
  }
}
