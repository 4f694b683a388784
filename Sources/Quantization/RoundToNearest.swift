package import CKernels
internal import Kernels
public import Tensors

/// Rounds weights to the nearest number of a grid.
///
/// Weights are read a few rows at a time; only the codes are held.
public enum RoundToNearest {
  private static let rowTile = 16

  /// Rounds a matrix.
  ///
  /// - Parameters:
  ///   - weight: `[outFeatures, inFeatures]`, finite.
  ///   - scaleType: element type that ordinary scales are stored in (F32, BF16, F16); codes are taken with the rounded
  ///     scale.
  ///   - shrink: a factor of the range for each scale (clipping), `[rowGroups × columnGroups]`; integers only.
  ///   - scaling: how scales are chosen; floats only.
  public static func quantized(
    _ weight: Matrix, as quantization: WeightQuantization, scaleType: DType, shrink: [Float]? = nil,
    scaling: FloatScaling = .largest
  ) -> QuantizedTensor {
    quantized(WeightRows(weight), as: quantization, scaleType: scaleType, shrink: shrink, scaling: scaling)
  }

  /// Rounds weights that become floats when they are read.
  public static func quantized(
    _ weight: WeightRows, as quantization: WeightQuantization, scaleType: DType, shrink: [Float]? = nil,
    scaling: FloatScaling = .largest
  ) -> QuantizedTensor {
    switch quantization.format {
    case .int(let bits):
      return integers(weight, quantization, bits: bits, scaleType: scaleType, shrink: shrink)
    case .float8E4M3, .float4E2M1:
      return floats(weight, quantization, scaleType: scaleType, scaling)
    }
  }

  /// What the codes would stand for, rounded when it is read: no code is held.
  public static func rounded(
    _ weight: WeightRows, as quantization: WeightQuantization, scaleType: DType, shrink: [Float]? = nil,
    scaling: FloatScaling = .largest
  ) -> WeightRows {
    let grid = ScaleGrid(quantization.granularity, outFeatures: weight.outFeatures, inFeatures: weight.inFeatures)
    let width = weight.inFeatures
    switch quantization.format {
    case .int(let bits):
      precondition(grid.rowsPerScale == 1, "integer schemes have scales of their own for each output feature")
      let spec = ck_int_grid(bits: bits, isSymmetric: quantization.isSymmetric, scaleType: scaleType)
      return WeightRows(outFeatures: weight.outFeatures, inFeatures: width, storedType: .float32) { range, floats in
        weight.copyRows(range, to: floats)
        guard let base = floats.baseAddress else { return }
        withUnsafeTemporaryAllocation(of: Int8.self, capacity: grid.columnsPerScale) { codes in
          guard let codes = codes.baseAddress else { return }
          for cell in range.lowerBound * grid.columnGroups..<range.upperBound * grid.columnGroups {
            let (row, group) = (cell / grid.columnGroups - range.lowerBound, cell % grid.columnGroups)
            let start = base + row * width + group * grid.columnsPerScale
            let count = min(grid.columnsPerScale, width - group * grid.columnsPerScale)
            var (scale, zero): (Float, Float) = (0, 0)
            ck_int_group_scale(start, count, spec, shrink?[cell] ?? 1, &scale, &zero)
            ck_int_group_round(start, count, spec, scale, zero, codes)
            // As codes are expanded: weight + error would differ in the last bit where compilers fuse the kernel's sums.
            for column in 0..<count { start[column] = (Float(codes[column]) - zero) * scale }
          }
        }
      }
    case .float8E4M3, .float4E2M1:
      let scales = FloatScales(of: weight, as: quantization, scaleType: scaleType, scaling: scaling).values
      let format = quantization.format == .float4E2M1 ? ck_float4_e2m1 : ck_float8_e4m3
      return WeightRows(outFeatures: weight.outFeatures, inFeatures: width, storedType: .float32) { range, floats in
        weight.copyRows(range, to: floats)
        guard let base = floats.baseAddress else { return }
        for row in range {
          let line = base + (row - range.lowerBound) * width
          let cells = row / grid.rowsPerScale * grid.columnGroups
          for group in 0..<grid.columnGroups {
            let start = group * grid.columnsPerScale
            ck_float_round_trip(
              line + start, min(grid.columnsPerScale, width - start), format, scales[cells + group])
          }
        }
      }
    }
  }

  /// Reads the rows tile by tile, in parallel.
  static func forEachTile(
    _ weight: WeightRows, _ body: @Sendable (Range<Int>, UnsafeMutablePointer<Float>) -> Void
  ) {
    Parallel.forEachRange(of: weight.outFeatures, size: rowTile) { rows in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: rows.count * weight.inFeatures) { floats in
        weight.copyRows(rows, to: floats)
        if let base = floats.baseAddress { body(rows, base) }
      }
    }
  }

  private static func integers(
    _ weight: WeightRows, _ quantization: WeightQuantization, bits: Int, scaleType: DType, shrink: [Float]?
  ) -> QuantizedTensor {
    let grid = ScaleGrid(quantization.granularity, outFeatures: weight.outFeatures, inFeatures: weight.inFeatures)
    precondition(grid.rowsPerScale == 1, "integer schemes have scales of their own for each output feature")
    let spec = ck_int_grid(bits: bits, isSymmetric: quantization.isSymmetric, scaleType: scaleType)
    let (width, groups) = (weight.inFeatures, grid.columnGroups)
    var codes = [UInt8](repeating: 0, count: weight.outFeatures * width)
    var scales = [Float](repeating: 0, count: grid.count)
    var zeros = quantization.isSymmetric ? [] : [Int8](repeating: 0, count: grid.count)
    codes.withUnsafeMutableBytes { codes in
      scales.withUnsafeMutableBufferPointer { scales in
        zeros.withUnsafeMutableBufferPointer { zeros in
          nonisolated(unsafe) let (codes, scales, zeros) = (codes, scales, zeros)
          forEachTile(weight) { rows, base in
            guard let target = codes.baseAddress?.assumingMemoryBound(to: Int8.self) else { return }
            for cell in rows.lowerBound * groups..<rows.upperBound * groups {
              let (row, start) = (cell / groups, cell % groups * grid.columnsPerScale)
              let count = min(grid.columnsPerScale, width - start)
              let source = base + (row - rows.lowerBound) * width + start
              var (scale, zero): (Float, Float) = (0, 0)
              ck_int_group_scale(source, count, spec, shrink?[cell] ?? 1, &scale, &zero)
              ck_int_group_round(source, count, spec, scale, zero, target + row * width + start)
              scales[cell] = scale
              if !zeros.isEmpty { zeros[cell] = Int8(zero) }
            }
          }
        }
      }
    }
    return QuantizedTensor(
      quantization, outFeatures: weight.outFeatures, inFeatures: width, codes: codes, scales: scales,
      scaleType: scaleType, zeroPoints: quantization.isSymmetric ? nil : zeros)
  }

  private static func encode(
    _ line: UnsafePointer<Float>, _ format: NumberFormat, _ codes: UnsafeMutablePointer<UInt8>, _ count: Int
  ) {
    if format == .float4E2M1 { ck_f32_to_e2m1(line, codes, count) } else { ck_f32_to_e4m3(line, codes, count) }
  }

  private static func floats(
    _ weight: WeightRows, _ quantization: WeightQuantization, scaleType: DType, _ scaling: FloatScaling
  ) -> QuantizedTensor {
    let grid = ScaleGrid(quantization.granularity, outFeatures: weight.outFeatures, inFeatures: weight.inFeatures)
    let scales = FloatScales(of: weight, as: quantization, scaleType: scaleType, scaling: scaling)
    let width = weight.inFeatures
    var codes = [UInt8](repeating: 0, count: weight.outFeatures * width)
    codes.withUnsafeMutableBufferPointer { codes in
      nonisolated(unsafe) let codes = codes
      forEachTile(weight) { rows, base in
        for row in rows {
          let line = base + (row - rows.lowerBound) * width
          divide(line, width, by: scales.values, grid, row: row)
          if let target = codes.baseAddress { encode(line, quantization.format, target + row * width, width) }
        }
      }
    }
    return QuantizedTensor(
      quantization, outFeatures: weight.outFeatures, inFeatures: width, codes: codes, scales: scales.values,
      scaleType: scales.type, scaleDivisor: scales.divisor, zeroPoints: nil)
  }

  /// Divides a row by its scales.
  private static func divide(
    _ line: UnsafeMutablePointer<Float>, _ width: Int, by scales: [Float], _ grid: ScaleGrid, row: Int
  ) {
    let cells = row / grid.rowsPerScale * grid.columnGroups
    for group in 0..<grid.columnGroups {
      let (scale, start) = (scales[cells + group], group * grid.columnsPerScale)
      for column in start..<min(width, start + grid.columnsPerScale) { line[column] /= scale }
    }
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
