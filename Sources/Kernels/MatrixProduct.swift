internal import COpenBLAS
public import Tensors

/// What a product of matrices of floats may do to its factors.
public enum ProductPrecision: Sendable, Hashable {
  /// Nothing.
  case float32
  /// Round them to BF16, sums staying float32, where this processor multiplies so faster; elsewhere nothing.
  case bfloat16
}

/// Products of matrices of floats, by OpenBLAS inside tiles of our own, or of BF16.
///
/// OpenBLAS runs on one thread; the tiles are cut by size alone, so the sums are taken in the same order whatever the
/// number of threads.
public enum MatrixProduct {
  private static let outputTile = 256
  private static let tokenTile = 1024
  private static let gramTile = 256

  /// OpenBLAS's own threads are switched off once, before its first use.
  static let singleThreaded: Void = openblas_set_num_threads(1)

  /// Rows below which packing them for BF16 costs more than it saves.
  private static let fewestRounded = 64

  static func bfloat16(_ precision: ProductPrecision, rows: Int) -> Bfloat16Product? {
    precision == .bfloat16 && rows >= fewestRounded ? Bfloat16Product.current : nil
  }

  /// Bytes that products take for each value of what they read, while they run: BF16, packed as rows and as columns.
  public static var packedBytes: Int { Bfloat16Product.current == nil ? 0 : 2 * MemoryLayout<UInt16>.size }

  /// What multiplies on this processor, such as "OpenBLAS Haswell": the bits of results depend on it.
  public static var library: String {
    let openBLAS = "OpenBLAS " + String(cString: openblas_get_corename())
    return Bfloat16Product.current.map { "\(openBLAS), BF16 \($0.name)" } ?? openBLAS
  }

  /// x · Wᵀ for weights as they lie in a checkpoint.
  ///
  /// - Parameters:
  ///   - x: `[tokens, inFeatures]`.
  ///   - weight: `[outFeatures, inFeatures]`, F32, BF16 or F16; one tile at a time is widened to float.
  /// - Returns: `[tokens, outFeatures]`.
  public static func product(_ x: Matrix, _ weight: Tensor, _ precision: ProductPrecision = .float32) -> Matrix {
    precondition(weight.shape.rank == 2 && weight.shape[1] == x.columns, "\(weight.shape) times \(x.columns) columns")
    if let rounded = bfloat16(precision, rows: x.rows) { return rounded.product(x, weight) }
    return tiled(x, outFeatures: weight.shape[0]) { range, use in
      let rows = weight.rows(range)
      if rows.dtype == .float32, rows.withBytes({ Int(bitPattern: $0.baseAddress) % 4 == 0 }) {
        rows.withBytes { bytes in
          if let base = bytes.baseAddress { use(base.assumingMemoryBound(to: Float.self)) }
        }
      } else {
        withUnsafeTemporaryAllocation(of: Float.self, capacity: rows.elementCount) { scratch in
          rows.copyFloats(to: scratch)
          if let base = scratch.baseAddress { use(base) }
        }
      }
    }
  }

  /// x · Wᵀ for weights in memory, `[outFeatures, inFeatures]`.
  public static func product(_ x: Matrix, transposed weight: Matrix) -> Matrix {
    precondition(weight.columns == x.columns, "\(weight.columns) columns times \(x.columns) columns")
    return weight.values.withUnsafeBufferPointer { buffer in
      nonisolated(unsafe) let base = buffer.baseAddress
      return tiled(x, outFeatures: weight.rows) { range, use in
        if let base { use(base + range.lowerBound * weight.columns) }
      }
    }
  }

  /// x · Wᵀ for weights that become floats when they are read; one tile of rows at a time is in memory.
  public static func product(_ x: Matrix, _ weight: WeightRows, _ precision: ProductPrecision = .float32) -> Matrix {
    precondition(weight.inFeatures == x.columns, "\(weight.inFeatures) columns times \(x.columns) columns")
    if let rounded = bfloat16(precision, rows: x.rows) { return rounded.product(x, weight) }
    return tiled(x, outFeatures: weight.outFeatures) { range, use in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: range.count * weight.inFeatures) { scratch in
        weight.copyRows(range, to: scratch)
        if let base = scratch.baseAddress { use(base) }
      }
    }
  }

  private static func tiled(
    _ x: Matrix, outFeatures: Int,
    _ lend: @Sendable (Range<Int>, (UnsafePointer<Float>) -> Void) -> Void
  ) -> Matrix {
    singleThreaded
    let outputTiles = (outFeatures + outputTile - 1) / outputTile
    let tokenTiles = (x.rows + tokenTile - 1) / tokenTile
    return Matrix(rows: x.rows, columns: outFeatures) { result in
      guard let y = SharedPointer(result) else { return }
      Parallel.forEach(outputTiles * tokenTiles) { task in
        let outputs = (task % outputTiles) * outputTile..<min(outFeatures, (task % outputTiles + 1) * outputTile)
        let tokens = (task / outputTiles) * tokenTile..<min(x.rows, (task / outputTiles + 1) * tokenTile)
        lend(outputs) { weight in
          x.values.withUnsafeBufferPointer { values in
            guard let base = values.baseAddress else { return }
            cblas_sgemm(
              CblasRowMajor, CblasNoTrans, CblasTrans, Int32(tokens.count), Int32(outputs.count), Int32(x.columns), 1,
              base + tokens.lowerBound * x.columns, Int32(x.columns), weight, Int32(x.columns), 0,
              y.base + tokens.lowerBound * outFeatures + outputs.lowerBound, Int32(outFeatures))
          }
        }
      }
    }
  }

  /// xᵀ · x within each group of columns: the diagonal blocks of the Gram matrix.
  ///
  /// - Parameter groupSize: columns a group; the last group may be narrower.
  /// - Returns: the blocks one after the other, each `[width, width]`.
  public static func gramBlocks(_ x: Matrix, groupSize: Int) -> [Float] {
    singleThreaded
    let groups = (x.columns + groupSize - 1) / groupSize
    let lastWidth = x.columns - (groups - 1) * groupSize
    let count = (groups - 1) * groupSize * groupSize + lastWidth * lastWidth
    return [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
      if let result = SharedPointer(buffer) {
        Parallel.forEach(groups) { group in
          let width = group == groups - 1 ? lastWidth : groupSize
          x.values.withUnsafeBufferPointer { values in
            guard let base = values.baseAddress else { return }
            let columns = base + group * groupSize
            cblas_sgemm(
              CblasRowMajor, CblasTrans, CblasNoTrans, Int32(width), Int32(width), Int32(x.rows), 1, columns,
              Int32(x.columns), columns, Int32(x.columns), 0, result.base + group * groupSize * groupSize, Int32(width))
          }
        }
      }
      initialized = count
    }
  }

  /// Adds the lower half of xᵀ · x to a sum, `[columns, columns]`; what is above its diagonal tiles is not touched.
  public static func addGram(_ x: Matrix, to sum: inout [Float], _ precision: ProductPrecision = .float32) {
    precondition(sum.count == x.columns * x.columns, "\(sum.count) moments of \(x.columns) channels")
    if let rounded = bfloat16(precision, rows: x.rows) { return rounded.addGram(x, to: &sum) }
    singleThreaded
    let tiles = (x.columns + gramTile - 1) / gramTile
    let pairs = (0..<tiles).flatMap { row in (0...row).map { (row, $0) } }
    sum.withUnsafeMutableBufferPointer { buffer in
      guard let result = SharedPointer(buffer) else { return }
      Parallel.forEach(pairs.count) { task in
        let (first, second) = (pairs[task].0 * gramTile, pairs[task].1 * gramTile)
        let (height, width) = (min(gramTile, x.columns - first), min(gramTile, x.columns - second))
        x.values.withUnsafeBufferPointer { values in
          guard let base = values.baseAddress else { return }
          cblas_sgemm(
            CblasRowMajor, CblasTrans, CblasNoTrans, Int32(height), Int32(width), Int32(x.rows), 1, base + first,
            Int32(x.columns), base + second, Int32(x.columns), 1, result.base + first * x.columns + second,
            Int32(x.columns))
        }
      }
    }
  }

  /// Adds xᵀ · y to a sum, `[x.columns, y.columns]`.
  public static func addCrossGram(
    _ x: Matrix, _ y: Matrix, to sum: inout [Float], _ precision: ProductPrecision = .float32
  ) {
    precondition(x.rows == y.rows && sum.count == x.columns * y.columns, "\(x.rows) and \(y.rows) tokens")
    if let rounded = bfloat16(precision, rows: x.rows) { return rounded.addCrossGram(x, y, to: &sum) }
    singleThreaded
    let (down, across) = ((x.columns + gramTile - 1) / gramTile, (y.columns + gramTile - 1) / gramTile)
    sum.withUnsafeMutableBufferPointer { buffer in
      guard let result = SharedPointer(buffer) else { return }
      Parallel.forEach(down * across) { task in
        let (first, second) = (task / across * gramTile, task % across * gramTile)
        let (height, width) = (min(gramTile, x.columns - first), min(gramTile, y.columns - second))
        x.values.withUnsafeBufferPointer { one in
          y.values.withUnsafeBufferPointer { other in
            guard let one = one.baseAddress, let other = other.baseAddress else { return }
            cblas_sgemm(
              CblasRowMajor, CblasTrans, CblasNoTrans, Int32(height), Int32(width), Int32(x.rows), 1, one + first,
              Int32(x.columns), other + second, Int32(y.columns), 1, result.base + first * y.columns + second,
              Int32(y.columns))
          }
        }
      }
    }
  }

  /// x · M for a matrix `[x.columns, x.columns]`.
  public static func product(
    _ x: Matrix, columnsOf matrix: Matrix, _ precision: ProductPrecision = .float32
  ) -> Matrix {
    let columns = x.columns
    precondition(matrix.rows == columns && matrix.columns == columns, "\(matrix.rows) rows for \(columns) columns")
    if let rounded = bfloat16(precision, rows: x.rows) { return rounded.product(x, columnsOf: matrix) }
    singleThreaded
    return Matrix(rows: x.rows, columns: columns) { result in
      guard let y = SharedPointer(result) else { return }
      Parallel.forEachRange(of: x.rows, size: outputTile) { rows in
        x.values.withUnsafeBufferPointer { values in
          guard let base = values.baseAddress else { return }
          cblas_sgemm(
            CblasRowMajor, CblasNoTrans, CblasNoTrans, Int32(rows.count), Int32(columns), Int32(columns), 1,
            base + rows.lowerBound * columns, Int32(columns), matrix.values, Int32(columns), 0,
            y.base + rows.lowerBound * columns, Int32(columns))
        }
      }
    }
  }
}
