public import Tensors

extension Matrix {
  /// Copies of some rows, in the order asked for; a row may be asked for more than once.
  ///
  /// - Returns: `[rows.count, columns]`.
  public func gathered(rows picked: [Int]) -> Matrix {
    precondition(picked.allSatisfy { (0..<rows).contains($0) }, "rows \(picked) of \(rows)")
    return Matrix(rows: picked.count, columns: columns) { result in
      guard let target = SharedPointer(result) else { return }
      Parallel.forEachRange(of: picked.count, size: 32) { range in
        values.withUnsafeBufferPointer { values in
          guard let source = values.baseAddress else { return }
          for index in range {
            (target.base + index * columns).update(from: source + picked[index] * columns, count: columns)
          }
        }
      }
    }
  }

  /// Adds weighted rows of a part to rows of this matrix: row `targets[i]` += `weights[i]` · row i of `part`.
  ///
  /// A row may be a target more than once; its terms are added in the order of `targets`.
  ///
  /// - Parameters:
  ///   - targets: one row of this matrix for each row of the part.
  ///   - part: `[targets.count, columns]`.
  ///   - weights: one factor for each row of the part.
  public mutating func addRows(_ targets: [Int], of part: Matrix, weights: [Float]) {
    let (rows, columns) = (rows, columns)
    precondition(
      part.rows == targets.count && weights.count == targets.count && part.columns == columns,
      "\(targets.count) rows and \(weights.count) weights for \(part.rows) × \(part.columns), sum of \(columns) columns"
    )
    precondition(targets.allSatisfy { (0..<rows).contains($0) }, "rows \(targets) of \(rows)")
    // A task takes some columns of all rows, so no two tasks meet in a row that is a target twice.
    let columnsPerTask = max(16, 65536 / max(1, targets.count) / 16 * 16)
    values.withUnsafeMutableBufferPointer { buffer in
      guard let sums = SharedPointer(buffer) else { return }
      Parallel.forEachRange(of: columns, size: columnsPerTask) { range in
        part.values.withUnsafeBufferPointer { terms in
          guard let terms = terms.baseAddress else { return }
          for (index, target) in targets.enumerated() {
            let sum = sums.base + target * columns
            let term = terms + index * columns
            let weight = weights[index]
            for column in range { sum[column] += weight * term[column] }
          }
        }
      }
    }
  }
}
