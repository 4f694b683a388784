internal import CKernels
public import Tensors

extension Matrix {
  // Some tens of microseconds of memory traffic.
  private static let valuesPerTask = 65536

  /// Adds another matrix of the same extents.
  public static func += (sum: inout Matrix, term: Matrix) { sum.add(term, times: 1) }

  /// Adds factor · other, a matrix of the same extents.
  public mutating func add(_ other: Matrix, times factor: Float) {
    precondition(
      rows == other.rows && columns == other.columns,
      "sum of \(rows) × \(columns) and \(other.rows) × \(other.columns)")
    forEachRange(size: Self.valuesPerTask) { sum, range in
      other.values.withUnsafeBufferPointer { other in
        for index in range { sum[index] += factor * other[index] }
      }
    }
  }

  /// Multiplies every value.
  public mutating func scale(by factor: Float) {
    forEachRange(size: Self.valuesPerTask) { values, range in
      for index in range { values[index] *= factor }
    }
  }

  /// Bends every value x to c·tanh(x/c), between −c and c (Gemma 2's final logits).
  public mutating func softcap(_ c: Float) {
    precondition(c > 0, "softcap \(c)")
    forEachRange(size: Self.valuesPerTask / 4) { values, range in
      ck_softcap(values + range.lowerBound, 1, c, range.count)
    }
  }

  /// Adds one value a column to every row.
  public mutating func addToRows(_ bias: [Float]) {
    precondition(bias.count == columns, "\(bias.count) biases for \(columns) columns")
    values.withUnsafeMutableBufferPointer { values in
      bias.withUnsafeBufferPointer { bias in
        var index = 0
        for _ in 0..<rows {
          for column in bias.indices {
            values[index] += bias[column]
            index += 1
          }
        }
      }
    }
  }

  /// Multiplies every column by a factor of its own.
  public mutating func scaleColumns(by factors: [Float]) {
    precondition(factors.count == columns, "\(factors.count) factors for \(columns) columns")
    let columns = columns
    guard columns > 0 else { return }
    values.withUnsafeMutableBufferPointer { buffer in
      guard let values = SharedPointer(buffer) else { return }
      let rowCount = buffer.count / columns
      Parallel.forEachRange(of: rowCount, size: max(1, Self.valuesPerTask / columns)) { rows in
        factors.withUnsafeBufferPointer { factors in
          for row in rows {
            let line = values.base + row * columns
            for column in 0..<columns { line[column] *= factors[column] }
          }
        }
      }
    }
  }

  /// Multiplies every row by a factor of its own.
  public mutating func scaleRows(by factors: [Float]) {
    precondition(factors.count == rows, "\(factors.count) factors for \(rows) rows")
    let columns = columns
    values.withUnsafeMutableBufferPointer { values in
      for (row, factor) in factors.enumerated() where factor != 1 {
        for index in row * columns..<(row + 1) * columns { values[index] *= factor }
      }
    }
  }

  /// Lends all values to tasks; each changes those of its range.
  private mutating func forEachRange(
    size: Int, _ body: @Sendable (UnsafeMutablePointer<Float>, Range<Int>) -> Void
  ) {
    values.withUnsafeMutableBufferPointer { buffer in
      let count = buffer.count
      guard let values = SharedPointer(buffer) else { return }
      Parallel.forEachRange(of: count, size: size) { body(values.base, $0) }
    }
  }
}
