internal import CKernels
public import Tensors

/// What a gated feed-forward makes of its gate before it multiplies it with the other branch (Shazeer, 2020).
public enum GateFunction: Hashable, Sendable {
  /// z·σ(z), σ(z) = 1 / (1 + e⁻ᶻ): Llama, Mistral, Qwen, DeepSeek.
  case silu
  /// z/2 · (1 + tanh(√(2/π)·(z + 0.044715·z³))): Gemma (Hendrycks and Gimpel, 2016).
  case geluTanh
  /// z/2 · (1 + erf(z/√2)) (Hendrycks and Gimpel, 2016).
  case gelu
  /// min(z, limit)·σ(alpha · min(z, limit)), and the other branch becomes 1 + its value held within ±limit: gpt-oss.
  case clampedSwish(limit: Float, alpha: Float)
}

extension Matrix {
  // Some tens of microseconds of exponentials.
  private static let gatesPerTask = 16384

  /// The gate ⊙ the other branch of a gated feed-forward; this matrix is the gate.
  ///
  /// - Parameter up: the other branch, of the same extents.
  public func gated(with up: Matrix, by function: GateFunction) -> Matrix {
    precondition(rows == up.rows && columns == up.columns, "gate \(rows) × \(columns), up \(up.rows) × \(up.columns)")
    var result = self
    result.values.withUnsafeMutableBufferPointer { buffer in
      guard let gate = SharedPointer(buffer) else { return }
      Parallel.forEachRange(of: up.values.count, size: Self.gatesPerTask) { range in
        up.values.withUnsafeBufferPointer { up in
          guard let up = up.baseAddress else { return }
          let gate = gate.base + range.lowerBound
          let other = up + range.lowerBound
          switch function {
          case .silu: ck_silu_multiply(gate, other, range.count)
          case .geluTanh: ck_gelu_tanh_multiply(gate, other, range.count)
          case .gelu: ck_gelu_multiply(gate, other, range.count)
          case .clampedSwish(let limit, let alpha):
            ck_clamped_swish_multiply(gate, other, limit, alpha, range.count)
          }
        }
      }
    }
    return result
  }

  /// Columns 0, 2, 4 … and columns 1, 3, 5 … of a matrix whose branches alternate.
  public func deinterleaved() -> (even: Matrix, odd: Matrix) {
    (everySecondColumn(from: 0), everySecondColumn(from: 1))
  }

  private func everySecondColumn(from first: Int) -> Matrix {
    let width = (columns + 1 - first) / 2
    return Matrix(rows: rows, columns: width) { result in
      guard let target = SharedPointer(result) else { return }
      Parallel.forEachRange(of: rows, size: 32) { range in
        values.withUnsafeBufferPointer { values in
          guard let source = values.baseAddress else { return }
          for row in range {
            let line = source + row * columns + first
            let picked = target.base + row * width
            for column in 0..<width { picked[column] = line[2 * column] }
          }
        }
      }
    }
  }
}
