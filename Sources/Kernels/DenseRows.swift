package import CKernels
public import Tensors

/// An unquantized weight `[outFeatures, inFeatures]` that products of few tokens read where it lies, such as in a mapped
/// file.
///
/// More tokens are better served by expanding the weight once for a dense product.
public struct DenseRows: Sendable {
  /// Most tokens for which this is faster than expanding the weight.
  public static let mostTokens = Int(ck_dense_tokens)

  /// The weight, BF16, F16 or F32.
  public let weight: Tensor

  /// Products with a weight of two axes.
  public init(_ weight: Tensor) {
    precondition(
      weight.shape.rank == 2 && weight.dtype.isFullPrecision, "\(weight.dtype) \(weight.shape) is no dense weight")
    self.weight = weight
  }

  /// `x · Wᵀ`; a token's result does not depend on the others, nor on the number of threads.
  public func product(_ x: Matrix) -> Matrix { product(x, InstructionSet.current.kernels) }

  /// ``product(_:)`` by given kernels.
  package func product(_ x: Matrix, _ kernels: ck_kernels) -> Matrix {
    let (outFeatures, inFeatures, tokens) = (weight.shape[0], weight.shape[1], x.rows)
    precondition(x.columns == inFeatures, "\(x.rows) × \(x.columns) times \(outFeatures) × \(inFeatures)")
    let kind = weight.denseKind
    return Matrix(rows: tokens, columns: outFeatures) { y in
      guard let target = y.baseAddress, !y.isEmpty else { return }
      weight.withBytes { bytes in
        x.values.withUnsafeBufferPointer { x in
          nonisolated(unsafe) let (weights, x, y) = (bytes.baseAddress, x.baseAddress, target)
          Parallel.forEachChunk(of: outFeatures, size: 64) { rows in
            kernels.dense_product(
              kind, weights, inFeatures, rows.lowerBound, rows.upperBound, x, tokens, y, outFeatures)
          }
        }
      }
    }
  }
}

extension Tensor {
  /// The element type of a tensor of floats, as kernels know it.
  var denseKind: ck_dense_kind {
    switch dtype {
    case .bfloat16: ck_dense_bf16
    case .float16: ck_dense_f16
    default: ck_dense_f32
    }
  }
}
