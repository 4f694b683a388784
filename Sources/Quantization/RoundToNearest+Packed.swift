internal import CKernels
public import Kernels
public import Tensors

extension RoundToNearest {
  /// Weights rounded to integers in the kernels' layout, as ``QuantizedTensor/packed()`` of what
  /// ``quantized(_:as:scaleType:shrink:scaling:)`` gives, without the codes between: for products that are soon forgotten.
  ///
  /// - Precondition: an integer format with scales of their own for each output feature.
  public static func packed(
    _ weight: WeightRows, as quantization: WeightQuantization, scaleType: DType, shrink: [Float]? = nil
  ) -> PackedMatrix {
    let grid = ScaleGrid(quantization.granularity, outFeatures: weight.outFeatures, inFeatures: weight.inFeatures)
    guard case .int(let bits) = quantization.format, grid.rowsPerScale == 1 else {
      preconditionFailure("\(quantization.format) with \(quantization.granularity) is not packed at once")
    }
    let spec = ck_int_grid(bits: bits, isSymmetric: quantization.isSymmetric, scaleType: scaleType)
    let (width, groups) = (weight.inFeatures, grid.columnGroups)
    // Codes of four bits are packed without a sign.
    let offset: Int8 = bits <= 4 ? 8 : 0
    return PackedMatrix(
      bits <= 4 ? .uint4 : .int8, outFeatures: weight.outFeatures, inFeatures: width, groupSize: grid.columnsPerScale,
      hasZeroPoints: bits <= 4 || !quantization.isSymmetric
    ) { rows, codes, scales, zeroPoints in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: rows.count * width) { floats in
        weight.copyRows(rows, to: floats)
        guard let base = floats.baseAddress else { return }
        codes.withMemoryRebound(to: Int8.self, capacity: rows.count * width) { codes in
          for cell in 0..<rows.count * groups {
            let start = cell % groups * grid.columnsPerScale
            let count = min(grid.columnsPerScale, width - start)
            let place = cell / groups * width + start
            var (scale, zero): (Float, Float) = (0, 0)
            ck_int_group_scale(
              base + place, count, spec, shrink?[rows.lowerBound * groups + cell] ?? 1, &scale, &zero)
            ck_int_group_round(base + place, count, spec, scale, zero, codes + place)
            if offset != 0 { for column in place..<place + count { codes[column] &+= offset } }
            scales[cell] = scale
            zeroPoints?[cell] = zero + Float(offset)
          }
        }
      }
    }
  }
}
