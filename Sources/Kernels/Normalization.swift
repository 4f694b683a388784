internal import CKernels
public import Tensors

extension Matrix {
  private static let rowsPerTask = 32

  /// Root-mean-square normalisation of each row: w ⊙ x / √(mean(x²) + ε) (Zhang and Sennrich, 2019).
  ///
  /// - Parameter weight: one factor a column.
  public func rmsNormalized(weight: [Float], epsilon: Float) -> Matrix {
    precondition(weight.count == columns, "\(weight.count) norm weights for \(columns) columns")
    return Matrix(rows: rows, columns: columns) { result in
      guard let y = SharedPointer(result) else { return }
      Parallel.forEachRange(of: rows, size: Self.rowsPerTask) { range in
        values.withUnsafeBufferPointer { x in
          guard let x = x.baseAddress else { return }
          for row in range { ck_rms_norm(x + row * columns, weight, epsilon, y.base + row * columns, columns) }
        }
      }
    }
  }

  /// silu(self) ⊙ up, the gate of a SwiGLU feed-forward (Shazeer, 2020).
  public func siluGated(with up: Matrix) -> Matrix {
    precondition(rows == up.rows && columns == up.columns, "gate \(rows) × \(columns), up \(up.rows) × \(up.columns)")
    var result = self
    result.values.withUnsafeMutableBufferPointer { buffer in
      guard let gate = SharedPointer(buffer) else { return }
      Parallel.forEachRange(of: rows, size: Self.rowsPerTask) { range in
        up.values.withUnsafeBufferPointer { up in
          guard let up = up.baseAddress else { return }
          let start = range.lowerBound * columns
          ck_silu_multiply(gate.base + start, up + start, range.count * columns)
        }
      }
    }
    return result
  }

  /// Adds another matrix of the same extents.
  public static func += (sum: inout Matrix, term: Matrix) {
    precondition(sum.rows == term.rows && sum.columns == term.columns, "sums need equal extents")
    sum.values.withUnsafeMutableBufferPointer { sum in
      term.values.withUnsafeBufferPointer { term in
        for index in sum.indices { sum[index] += term[index] }
      }
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
}
