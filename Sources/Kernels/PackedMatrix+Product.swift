package import CKernels
public import Tensors

extension PackedMatrix {
  /// Up to so many tokens are multiplied one by one: decoding the weights anew for each is then cheaper than writing
  /// them down as floats for all (measured for 4096 × 11008 with AVX2).
  package static let mostSingleTokens = 3

  /// `x · Ŵᵀ`: activations `[tokens, inFeatures]` give `[tokens, outFeatures]`.
  ///
  /// The result does not depend on the number of threads. A token's result depends on the number of tokens only in
  /// so far as up to three tokens are computed by another kernel than more, which rounds differently.
  public func product(_ x: Matrix) -> Matrix {
    let kernels = InstructionSet.current.kernels
    return x.rows <= Self.mostSingleTokens ? singleTokenProduct(x, kernels) : manyTokenProduct(x, kernels)
  }

  /// ``product(_:)`` by the kernels for one token and for a few, which round alike.
  package func singleTokenProduct(_ x: Matrix, _ kernels: ck_kernels) -> Matrix {
    let operand = FloatTokens(x, for: self)
    return Matrix(rows: x.rows, columns: outFeatures) { y in
      guard let target = y.baseAddress, !y.isEmpty else { return }
      withPanels { panels in
        nonisolated(unsafe) let (panels, y) = (panels, target)
        let outFeatures = outFeatures
        withExtendedLifetime(operand) {
          Parallel.forEachChunk(of: ck_panel_count(outFeatures), size: 16) { range in
            withUnsafePointer(to: panels) { operand.borrowed.multiply($0, range, kernels, y, outFeatures) }
          }
        }
      }
    }
  }

  /// ``product(_:)`` by the kernel for many tokens.
  package func manyTokenProduct(_ x: Matrix, _ kernels: ck_kernels) -> Matrix {
    withOperands(x) { panels, x, tokens, y in
      nonisolated(unsafe) let (panels, x, y) = (panels, x, y)
      let (inFeatures, outFeatures) = (codeColumns, outFeatures)
      let scratch = UnsafeMutableBufferPointer<Float>.allocate(capacity: tokens * inFeatures)
      defer { scratch.deallocate() }
      nonisolated(unsafe) let packed = scratch.baseAddress
      Parallel.forEachChunk(of: ck_depth_block_count(inFeatures), size: 4) { blocks in
        kernels.pack_tokens(x, inFeatures, tokens, blocks.lowerBound, blocks.upperBound, packed)
      }
      Parallel.forEachChunk(of: ck_panel_count(outFeatures), size: 8) { range in
        withUnsafePointer(to: panels) { panels in
          kernels.product_many(panels, range.lowerBound, range.upperBound, packed, tokens, y, outFeatures)
        }
      }
    }
  }

  func withOperands(
    _ x: Matrix, _ body: (ck_panels, UnsafePointer<Float>?, _ tokens: Int, UnsafeMutablePointer<Float>) -> Void
  ) -> Matrix {
    precondition(x.columns == inFeatures, "\(x.rows) × \(x.columns) times \(outFeatures) × \(inFeatures)")
    let x = columns?.extended(x) ?? x
    return Matrix(rows: x.rows, columns: outFeatures) { y in
      guard let target = y.baseAddress, !y.isEmpty else { return }
      withPanels { panels in
        x.values.withUnsafeBufferPointer { body(panels, $0.baseAddress, x.rows, target) }
      }
    }
  }
}
