internal import CKernels
internal import COpenBLAS

/// dᵀ · H · d for rows d: the squared output error that a weight error d causes under second moments H.
///
/// H is symmetric, so its lower half T with half the diagonal says all: dᵀ·H·d = 2 · dᵀ·T·d, for half the products.
public struct QuadraticForm: Sendable {
  /// Number of rows and columns of H.
  public let width: Int
  /// 2 · T, row-major; what is above the diagonal is not read.
  private let triangle: [Float]

  /// The form of `[width, width]` second moments, row-major and symmetric.
  public init(_ moments: [Float], width: Int) {
    precondition(moments.count == width * width, "\(moments.count) moments of \(width) channels")
    self.width = width
    var triangle = moments.map { 2 * $0 }
    for index in 0..<width { triangle[index * (width + 1)] = moments[index * (width + 1)] }
    self.triangle = triangle
  }

  /// The values at `rows` errors.
  ///
  /// Runs on the calling thread; meant for use inside a parallel loop.
  ///
  /// - Parameters:
  ///   - errors: `[rows, width]`.
  ///   - scratch: room for `rows × width` floats.
  ///   - result: one value a row.
  public func values(
    at errors: UnsafePointer<Float>, rows: Int, scratch: UnsafeMutablePointer<Float>,
    result: UnsafeMutablePointer<Double>
  ) {
    MatrixProduct.singleThreaded
    scratch.update(from: errors, count: rows * width)
    cblas_strmm(
      CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, Int32(rows), Int32(width), 1, triangle,
      Int32(width), scratch, Int32(width))
    for row in 0..<rows { result[row] = ck_dot_double(errors + row * width, scratch + row * width, width) }
  }
}
