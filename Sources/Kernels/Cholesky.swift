internal import COpenBLAS

/// The Cholesky factor of a symmetric positive matrix, in tiles that threads share.
enum Cholesky {
  private static let block = 256
  private static let rowTile = 128

  /// Factors A = L·Lᵀ in place.
  ///
  /// - Parameter a: `[size, size]`, row-major; the lower triangle is read and becomes L, the upper one is scratch.
  /// - Returns: whether the matrix was positive.
  static func factor(_ a: UnsafeMutablePointer<Float>, size: Int) -> Bool {
    MatrixProduct.singleThreaded
    nonisolated(unsafe) let a = a
    let stride = Int32(size)
    for start in Swift.stride(from: 0, to: size, by: block) {
      let end = min(size, start + block)
      // The lower triangle by rows is the upper one by columns.
      var (width, lead, info) = (Int32(end - start), stride, Int32(0))
      spotrf_("U", &width, a + start * size + start, &lead, &info)
      // OpenBLAS compares with zero, which NaN passes.
      let isNumber = (start..<end).allSatisfy { a[$0 * size + $0].isFinite }
      guard info == 0, isNumber else { return false }
      let below = size - end
      let columns = Int32(end - start)
      Parallel.forEachRange(of: below, size: rowTile) { rows in
        cblas_strsm(
          CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, Int32(rows.count), columns, 1,
          a + start * size + start, stride, a + (end + rows.lowerBound) * size + start, stride)
      }
      // What is right of the block, a tile of rows at a time, as far as each tile's own diagonal.
      Parallel.forEachRange(of: below, size: rowTile) { rows in
        let row = end + rows.lowerBound
        cblas_sgemm(
          CblasRowMajor, CblasNoTrans, CblasTrans, Int32(rows.count), Int32(rows.upperBound), columns, -1,
          a + row * size + start, stride, a + end * size + start, stride, 1, a + row * size + end, stride)
      }
    }
    return true
  }
}
