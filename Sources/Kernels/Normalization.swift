internal import CKernels
public import Tensors

/// What a normalisation of activations takes out.
public enum NormKind: Hashable, Sendable {
  /// The root mean square: w ⊙ x / √(mean(x²) + ε) (Zhang and Sennrich, 2019).
  case rms
  /// Mean and standard deviation: w ⊙ (x − mean(x)) / √(variance(x) + ε), without bias (Ba et al., 2016).
  case layer
}

extension Matrix {
  // Some microseconds: generation normalises one row a text, and the texts should not wait for each other.
  private static let normalizedPerTask = 8192

  /// Normalises runs of neighbouring columns, each by its own statistics.
  ///
  /// - Parameters:
  ///   - weight: one factor a column of a run, shared by all runs, or one a column of the matrix; column c takes factor
  ///     c mod `weight.count`.
  ///   - width: columns a run; `nil` takes the whole row.
  public func normalized(_ kind: NormKind, weight: [Float], epsilon: Float, width: Int? = nil) -> Matrix {
    let width = width ?? columns
    precondition(
      width > 0 && columns % width == 0 && (weight.count == width || weight.count == columns),
      "\(weight.count) norm weights for runs of \(width) of \(columns) columns")
    return Matrix(rows: rows, columns: columns) { result in
      guard let y = SharedPointer(result) else { return }
      Parallel.forEachRange(of: rows, size: max(1, Self.normalizedPerTask / columns)) { range in
        values.withUnsafeBufferPointer { x in
          weight.withUnsafeBufferPointer { weight in
            guard let x = x.baseAddress, let factors = weight.baseAddress else { return }
            for row in range {
              for column in stride(from: 0, to: columns, by: width) {
                let start = row * columns + column
                let factors = factors + column % weight.count
                switch kind {
                case .rms: ck_rms_norm(x + start, factors, epsilon, y.base + start, width)
                case .layer: ck_layer_norm(x + start, factors, epsilon, y.base + start, width)
                }
              }
            }
          }
        }
      }
    }
  }

  /// Root-mean-square normalisation of each row, ``NormKind/rms``.
  ///
  /// - Parameter weight: one factor a column.
  public func rmsNormalized(weight: [Float], epsilon: Float) -> Matrix {
    normalized(.rms, weight: weight, epsilon: epsilon)
  }
}
