internal import Tensors

/// Factors of the columns of codes of a matrix, and columns beyond the input features that read one of them again.
///
/// Ŵ[n, k] is the sum of (code[n, c] · rowGain[n]) · gain[c] over the columns c that read feature k, the feature's own
/// first, then the further ones in their order; each operation is rounded to F32. A product needs none of that: it
/// multiplies x with the gains, copies what is read again, and then multiplies with plain integers.
public struct ColumnGains: Hashable, Sendable {
  /// One factor for each column of codes: those of the input features, then those of the further columns.
  public let gains: [Float]
  /// The input feature that each further column reads.
  public let sources: [Int]

  /// Gains of all columns of codes, the last of which read `sources`.
  public init(_ gains: [Float], sources: [Int] = []) {
    let inFeatures = gains.count - sources.count
    precondition(inFeatures >= 0, "\(gains.count) gains for \(sources.count) further columns")
    precondition(sources.allSatisfy { (0..<inFeatures).contains($0) }, "a source is none of \(inFeatures) features")
    self.gains = gains
    self.sources = sources
  }

  /// Number of input features.
  public var inFeatures: Int { gains.count - sources.count }

  /// What the columns of codes are multiplied with: `[tokens, inFeatures]` gives `[tokens, columns]`.
  func extended(_ x: Matrix) -> Matrix {
    precondition(x.columns == inFeatures, "\(x.rows) × \(x.columns) for gains of \(inFeatures) features")
    let (width, columns) = (inFeatures, gains.count)
    return Matrix(rows: x.rows, columns: columns) { buffer in
      guard let target = SharedPointer(buffer) else { return }
      Parallel.forEachRange(of: x.rows, size: 16) { rows in
        x.values.withUnsafeBufferPointer { values in
          gains.withUnsafeBufferPointer { gains in
            for row in rows {
              let (source, target) = (row * width, target.base + row * columns)
              for column in 0..<width { target[column] = values[source + column] * gains[column] }
              for (index, feature) in sources.enumerated() {
                target[width + index] = values[source + feature] * gains[width + index]
              }
            }
          }
        }
      }
    }
  }

  /// One row of weights out of its codes times the row's gain, one for each column.
  public func combine(_ terms: UnsafePointer<Float>, into weights: UnsafeMutablePointer<Float>) {
    let width = inFeatures
    gains.withUnsafeBufferPointer { gains in
      for column in 0..<width { weights[column] = terms[column] * gains[column] }
      for (index, feature) in sources.enumerated() { weights[feature] += terms[width + index] * gains[width + index] }
    }
  }
}
