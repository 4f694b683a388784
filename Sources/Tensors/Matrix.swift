internal import CKernels

/// A matrix of floats, row-major: activations as `[tokens, channels]`, weights as `[outFeatures, inFeatures]`.
public struct Matrix: Sendable, Equatable {
  /// Number of rows.
  public let rows: Int
  /// Number of columns.
  public let columns: Int
  /// `rows × columns` values, row after row.
  public var values: [Float]

  /// A matrix of given values.
  public init(rows: Int, columns: Int, values: [Float]) {
    precondition(values.count == rows * columns, "\(values.count) values for \(rows) × \(columns)")
    self.rows = rows
    self.columns = columns
    self.values = values
  }

  /// A matrix of zeros.
  public init(rows: Int, columns: Int) {
    self.init(rows: rows, columns: columns, values: [Float](repeating: 0, count: rows * columns))
  }

  /// A matrix whose values the closure writes, all of them.
  public init(rows: Int, columns: Int, fill: (UnsafeMutableBufferPointer<Float>) -> Void) {
    let count = rows * columns
    self.init(
      rows: rows, columns: columns,
      values: [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
        fill(UnsafeMutableBufferPointer(rebasing: buffer[..<count]))
        initialized = count
      })
  }

  /// The values of a tensor of two axes.
  public init(_ tensor: Tensor) {
    precondition(tensor.shape.rank == 2, "\(tensor.shape) is not a matrix")
    self.init(rows: tensor.shape[0], columns: tensor.shape[1], values: tensor.floats())
  }

  /// One value.
  public subscript(row: Int, column: Int) -> Float {
    get { values[row * columns + column] }
    set { values[row * columns + column] = newValue }
  }

  /// The values of one row.
  public func row(_ index: Int) -> ArraySlice<Float> { values[index * columns..<(index + 1) * columns] }

  /// A copy of some rows.
  public func rows(_ range: Range<Int>) -> Matrix {
    Matrix(
      rows: range.count, columns: columns,
      values: Array(values[range.lowerBound * columns..<range.upperBound * columns]))
  }

  /// A copy of some columns.
  public func columns(_ range: Range<Int>) -> Matrix {
    var picked: [Float] = []
    picked.reserveCapacity(rows * range.count)
    for row in 0..<rows {
      picked += values[row * columns + range.lowerBound..<row * columns + range.upperBound]
    }
    return Matrix(rows: rows, columns: range.count, values: picked)
  }

  /// Index of the first value that is NaN or infinite, or `nil`.
  public var firstNonFinite: Int? {
    let index = ck_first_non_finite(values, values.count)
    return index < values.count ? index : nil
  }
}
