/// A weight `[outFeatures, inFeatures]` whose rows become floats when they are read: packed, transposed, sliced out of a
/// larger tensor, or computed from other weights.
///
/// Nothing is kept: a product or a search asks for a few rows at a time, so a weight costs no memory of its own.
public struct WeightRows: Sendable {
  /// Number of rows.
  public let outFeatures: Int
  /// Number of columns.
  public let inFeatures: Int
  /// The full-precision type in which a copy of the values would be stored: F32, BF16 or F16.
  public let storedType: DType
  private let read: @Sendable (Range<Int>, UnsafeMutableBufferPointer<Float>) -> Void

  /// A weight; `read` writes the rows of a range, row-major, all of `range.count × inFeatures` values.
  ///
  /// `read` is called from several threads at once and must give the same values for a row whatever range it lies in.
  public init(
    outFeatures: Int, inFeatures: Int, storedType: DType,
    read: @escaping @Sendable (Range<Int>, UnsafeMutableBufferPointer<Float>) -> Void
  ) {
    precondition(storedType.isFullPrecision, "weights are not copied as \(storedType)")
    self.outFeatures = outFeatures
    self.inFeatures = inFeatures
    self.storedType = storedType
    self.read = read
  }

  /// The rows of a stored matrix of full precision.
  public init(_ tensor: Tensor) {
    precondition(tensor.shape.rank == 2, "\(tensor.shape) is not a matrix")
    self.init(outFeatures: tensor.shape[0], inFeatures: tensor.shape[1], storedType: tensor.dtype) { range, floats in
      tensor.rows(range).copyFloats(to: floats)
    }
  }

  /// The rows of a matrix in memory.
  public init(_ matrix: Matrix, storedType: DType = .float32) {
    self.init(outFeatures: matrix.rows, inFeatures: matrix.columns, storedType: storedType) { range, floats in
      matrix.values.withUnsafeBufferPointer { values in
        let part = values[range.lowerBound * matrix.columns..<range.upperBound * matrix.columns]
        _ = floats.update(fromContentsOf: part)
      }
    }
  }

  /// Writes some rows as floats; `floats` holds `range.count × inFeatures` places.
  public func copyRows(_ range: Range<Int>, to floats: UnsafeMutableBufferPointer<Float>) {
    precondition(range.lowerBound >= 0 && range.upperBound <= outFeatures, "rows \(range) of \(outFeatures)")
    precondition(floats.count == range.count * inFeatures, "\(floats.count) places for \(range.count) rows")
    if !floats.isEmpty { read(range, floats) }
  }

  /// Some rows as floats.
  public func rows(_ range: Range<Int>) -> Matrix {
    Matrix(rows: range.count, columns: inFeatures) { copyRows(range, to: $0) }
  }

  /// All rows as floats.
  public func matrix() -> Matrix { rows(0..<outFeatures) }
}
