internal import CKernels
internal import COpenBLAS

/// dᵀ · H · d for rows d: the squared output error that a weight error d causes under second moments H.
public enum QuadraticForm {
  /// The forms of `rows` errors under one matrix.
  ///
  /// Runs on the calling thread; meant for use inside a parallel loop.
  ///
  /// - Parameters:
  ///   - errors: `[rows, width]`.
  ///   - moments: `[width, width]`, symmetric.
  ///   - scratch: room for `rows × width` floats.
  ///   - result: one value a row.
  public static func rows(
    _ errors: UnsafePointer<Float>, rows: Int, width: Int, moments: UnsafePointer<Float>,
    scratch: UnsafeMutablePointer<Float>, result: UnsafeMutablePointer<Double>
  ) {
    MatrixProduct.singleThreaded
    cblas_sgemm(
      CblasRowMajor, CblasNoTrans, CblasNoTrans, Int32(rows), Int32(width), Int32(width), 1, errors, Int32(width),
      moments, Int32(width), 0, scratch, Int32(width))
    for row in 0..<rows { result[row] = ck_dot_double(errors + row * width, scratch + row * width, width) }
  }
}
