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
  ///   - scaleType: element type that scales are stored in (F32, BF16, F16); codes are taken with the rounded scale.
  ///   - shrink: a factor of the range for each scale (clipping), `[rowGroups × columnGroups]`; integers only.
  public static func quantized(
    _ weight: Matrix, as quantization: WeightQuantization, scaleType: DType, shrink: [Float]? = nil
  ) -> QuantizedTensor {
    quantized(WeightRows(weight), as: quantization, scaleType: scaleType, shrink: shrink)
  }

  /// Rounds weights that become floats when they are read.
  public static func quantized(
    _ weight: WeightRows, as quantization: WeightQuantization, scaleType: DType, shrink: [Float]? = nil
  ) -> QuantizedTensor {
    switch quantization.format {
    case .int(let bits):
      return integers(weight, quantization, bits: bits, scaleType: scaleType, shrink: shrink)
    case .float8E4M3, .float4E2M1:
      return floats(weight, quantization, scaleType: scaleType)
    }
  }

  /// What the codes would stand for, rounded when it is read: no code is held.
  public static func rounded(
    _ weight: WeightRows, as quantization: WeightQuantization, scaleType: DType, shrink: [Float]? = nil
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
      let format = quantization.format
      let scales = floatScales(weight, grid, format, scaleType: scaleType)
      return WeightRows(outFeatures: weight.outFeatures, inFeatures: width, storedType: .float32) { range, floats in
        weight.copyRows(range, to: floats)
        guard let base = floats.baseAddress else { return }
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: width) { codes in
          guard let codes = codes.baseAddress else { return }
          for row in range {
            let line = base + (row - range.lowerBound) * width
            let cells = row / grid.rowsPerScale * grid.columnGroups
            for column in 0..<width { line[column] /= scales[cells + column / grid.columnsPerScale] }
            encode(line, format, codes, width)
            if format == .float4E2M1 {
              for column in 0..<width { line[column] = Float4E2M1.decoded[Int(codes[column])] }
            } else {
              ck_e4m3_to_f32(codes, line, width)
            }
            for column in 0..<width { line[column] *= scales[cells + column / grid.columnsPerScale] }
          }
        }
      }
    }
  }

  /// Reads the rows tile by tile, in parallel.
  private static func forEachTile(
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
    guard format == .float4E2M1 else { return ck_f32_to_e4m3(line, codes, count) }
    for column in 0..<count { codes[column] = Float4E2M1.code(line[column]) }
  }

  /// The scale of each rectangle: its largest magnitude over the format's largest number, rounded up to the type scales are stored in, since a
  /// smaller one would push the largest weights out of range.
  private static func floatScales(
    _ weight: WeightRows, _ grid: ScaleGrid, _ format: NumberFormat, scaleType: DType
  ) -> [Float] {
    let top: Float = format == .float4E2M1 ? Float4E2M1.largest : 448
    let (width, groups) = (weight.inFeatures, grid.columnGroups)
    var rowMaxima = [Float](repeating: 0, count: weight.outFeatures * groups)
    rowMaxima.withUnsafeMutableBufferPointer { maxima in
      nonisolated(unsafe) let maxima = maxima
      forEachTile(weight) { rows, base in
        for cell in rows.lowerBound * groups..<rows.upperBound * groups {
          let start = cell % groups * grid.columnsPerScale
          let line = base + (cell / groups - rows.lowerBound) * width
          maxima[cell] = ck_largest_magnitude(line + start, min(grid.columnsPerScale, width - start))
        }
      }
    }
    var scales = [Float](repeating: 0, count: grid.count)
    for (index, largest) in rowMaxima.enumerated() {
      let cell = index / groups / grid.rowsPerScale * groups + index % groups
      scales[cell] = max(scales[cell], largest)
    }
    return scales.map { largest in
      let scale = ck_round_scale_up(largest / top, ck_scale_type(scaleType))
      return scale > 0 ? scale : 1
    }
  }

  private static func floats(
    _ weight: WeightRows, _ quantization: WeightQuantization, scaleType: DType
  ) -> QuantizedTensor {
    let grid = ScaleGrid(quantization.granularity, outFeatures: weight.outFeatures, inFeatures: weight.inFeatures)
    let scales = floatScales(weight, grid, quantization.format, scaleType: scaleType)
    let width = weight.inFeatures
    var codes = [UInt8](repeating: 0, count: weight.outFeatures * width)
    codes.withUnsafeMutableBufferPointer { codes in
      nonisolated(unsafe) let codes = codes
      forEachTile(weight) { rows, base in
        for row in rows {
          let line = base + (row - rows.lowerBound) * width
          let cells = row / grid.rowsPerScale * grid.columnGroups
          for column in 0..<width { line[column] /= scales[cells + column / grid.columnsPerScale] }
          if let target = codes.baseAddress { encode(line, quantization.format, target + row * width, width) }
        }
      }
    }
    return QuantizedTensor(
      quantization, outFeatures: weight.outFeatures, inFeatures: width, codes: codes, scales: scales,
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
