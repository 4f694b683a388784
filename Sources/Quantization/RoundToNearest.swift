package import CKernels
internal import Kernels
public import Tensors

/// Rounds weights to the nearest number of a grid.
public enum RoundToNearest {
  /// Rounds a matrix.
  ///
  /// - Parameters:
  ///   - weight: `[outFeatures, inFeatures]`, finite.
  ///   - scaleType: element type that scales are stored in (F32, BF16, F16); codes are taken with the rounded scale.
  ///   - shrink: a factor of the range for each scale (clipping), `[rowGroups × columnGroups]`; integers only.
  public static func quantized(
    _ weight: Matrix, as quantization: WeightQuantization, scaleType: DType, shrink: [Float]? = nil
  ) -> QuantizedTensor {
    switch quantization.format {
    case .int(let bits):
      return integers(weight, quantization, bits: bits, scaleType: scaleType, shrink: shrink)
    case .float8E4M3, .float4E2M1:
      return floats(weight, quantization, scaleType: scaleType)
    }
  }

  private static func integers(
    _ weight: Matrix, _ quantization: WeightQuantization, bits: Int, scaleType: DType, shrink: [Float]?
  ) -> QuantizedTensor {
    let grid = ScaleGrid(quantization.granularity, outFeatures: weight.rows, inFeatures: weight.columns)
    precondition(grid.rowsPerScale == 1, "integer schemes have scales of their own for each output feature")
    let spec = ck_int_grid(bits: bits, isSymmetric: quantization.isSymmetric, scaleType: scaleType)
    var codes = [Int8](repeating: 0, count: weight.values.count)
    var scales = [Float](repeating: 0, count: grid.count)
    var zeros = scales
    let (width, groups) = (weight.columns, grid.columnGroups)
    codes.withUnsafeMutableBufferPointer { codes in
      scales.withUnsafeMutableBufferPointer { scales in
        zeros.withUnsafeMutableBufferPointer { zeros in
          nonisolated(unsafe) let (codes, scales, zeros) = (codes, scales, zeros)
          Parallel.forEachRange(of: weight.rows, size: 16) { rows in
            weight.values.withUnsafeBufferPointer { values in
              for cell in rows.lowerBound * groups..<rows.upperBound * groups {
                let start = cell / groups * width + cell % groups * grid.columnsPerScale
                let count = min(grid.columnsPerScale, width - cell % groups * grid.columnsPerScale)
                guard let source = values.baseAddress, let target = codes.baseAddress else { return }
                var (scale, zero): (Float, Float) = (0, 0)
                ck_int_group_scale(source + start, count, spec, shrink?[cell] ?? 1, &scale, &zero)
                ck_int_group_round(source + start, count, spec, scale, zero, target + start)
                scales[cell] = scale
                zeros[cell] = zero
              }
            }
          }
        }
      }
    }
    return QuantizedTensor(
      quantization, outFeatures: weight.rows, inFeatures: width, codes: codes.map { UInt8(bitPattern: $0) },
      scales: scales, scaleType: scaleType, zeroPoints: quantization.isSymmetric ? nil : zeros.map { Int8($0) })
  }

  private static func floats(
    _ weight: Matrix, _ quantization: WeightQuantization, scaleType: DType
  ) -> QuantizedTensor {
    let grid = ScaleGrid(quantization.granularity, outFeatures: weight.rows, inFeatures: weight.columns)
    var scales = [Float](repeating: 0, count: grid.count)
    weight.values.withUnsafeBufferPointer { values in
      guard let base = values.baseAddress else { return }
      for row in 0..<weight.rows {
        for group in 0..<grid.columnGroups {
          let cell = row / grid.rowsPerScale * grid.columnGroups + group
          let start = group * grid.columnsPerScale
          let count = min(grid.columnsPerScale, weight.columns - start)
          scales[cell] = max(scales[cell], ck_largest_magnitude(base + row * weight.columns + start, count))
        }
      }
    }
    // Rounded up: a smaller scale would push the largest weights out of range.
    let largest: Float = quantization.format == .float4E2M1 ? Float4E2M1.largest : 448
    scales = scales.map { amax in
      let scale = ck_round_scale_up(amax / largest, ck_scale_type(scaleType))
      return scale > 0 ? scale : 1
    }
    var codes = [UInt8](repeating: 0, count: weight.values.count)
    codes.withUnsafeMutableBufferPointer { codes in
      nonisolated(unsafe) let codes = codes
      let scales = scales
      Parallel.forEachRange(of: weight.rows, size: 16) { rows in
        withUnsafeTemporaryAllocation(of: Float.self, capacity: weight.columns) { scratch in
          for row in rows {
            for column in 0..<weight.columns {
              let cell = row / grid.rowsPerScale * grid.columnGroups + column / grid.columnsPerScale
              scratch[column] = weight.values[row * weight.columns + column] / scales[cell]
            }
            if let source = scratch.baseAddress, let target = codes.baseAddress {
              let line = target + row * weight.columns
              if quantization.format == .float4E2M1 {
                for column in 0..<weight.columns { line[column] = Float4E2M1.code(source[column]) }
              } else {
                ck_f32_to_e4m3(source, line, weight.columns)
              }
            }
          }
        }
      }
    }
    return QuantizedTensor(
      quantization, outFeatures: weight.rows, inFeatures: weight.columns, codes: codes, scales: scales,
      scaleType: scaleType, zeroPoints: nil)
  }
}

extension ck_int_grid {
  /// The kernels' description of an integer grid.
  package init(bits: Int, isSymmetric: Bool, scaleType: DType) {
    self.init(bits: Int32(bits), symmetric: isSymmetric ? 1 : 0, scale_type: ck_scale_type(scaleType))
  }
}

extension ck_scale_type {
  /// The kernels' name of a scale's element type.
  package init(_ dtype: DType) {
    switch dtype {
    case .bfloat16: self = ck_scale_bf16
    case .float16: self = ck_scale_f16
    default: self = ck_scale_f32
    }
  }
}
