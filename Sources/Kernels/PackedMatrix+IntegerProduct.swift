package import CKernels
public import Tensors

extension PackedMatrix {
  /// What a product does to its activations first.
  public enum Activations: Sendable, CaseIterable {
    /// Nothing: float products and sums. This is the exact path, against which the other is measured.
    case float
    /// Rounds each token to int8 with one scale for every 32 features, and multiplies integers.
    ///
    /// The scale of 32 features is their largest magnitude over 127 (`IntegerProduct.h` has every rounding). For
    /// Gaussian activations this moves an output by 0.5 % of its root mean square. A feature far larger than others
    /// disturbs no more than the 31 beside it, by √(31 / 12) / 127 = 1.3 % of itself at most.
    case int8
  }

  /// Whether ``Activations/int8`` is possible: codes are integers, and groups are whole multiples of 32 columns or
  /// a row is one group.
  public var hasIntegerProduct: Bool {
    withPanels { panels in withUnsafePointer(to: panels) { ck_has_integer_product($0) != 0 } }
  }

  /// `x · Ŵᵀ` with activations as they are or rounded: `[tokens, inFeatures]` gives `[tokens, outFeatures]`.
  ///
  /// A token's result with ``Activations/int8`` is the same in every bit on all machines, whatever the number of
  /// threads and tokens. Gains of columns are multiplied in before activations are rounded.
  ///
  /// - Precondition: For ``Activations/int8``, ``hasIntegerProduct``.
  public func product(_ x: Matrix, activations: Activations) -> Matrix {
    switch activations {
    case .float: product(x)
    case .int8: integerProduct(x, InstructionSet.current.integerKernels)
    }
  }

  /// ``product(_:activations:)`` of rounded activations by some kernels.
  package func integerProduct(_ x: Matrix, _ kernels: ck_integer_kernels) -> Matrix {
    precondition(hasIntegerProduct, "\(kind) codes in groups of \(groupSize) have no integer product")
    return withOperands(x) { panels, x, tokens, y in
      nonisolated(unsafe) let (panels, x, y) = (panels, x, y)
      let outFeatures = outFeatures
      let (tokenBytes, tiles) = withUnsafePointer(to: panels) { panels in
        withUnsafePointer(to: kernels) { (ck_rounded_token_bytes(panels), ck_integer_tile_count($0, tokens)) }
      }
      let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: tokens * tokenBytes, alignment: 64)
      defer { scratch.deallocate() }
      nonisolated(unsafe) let rounded = scratch.assumingMemoryBound(to: UInt8.self).baseAddress
      Parallel.forEachChunk(of: tiles, size: 4) { tiles in
        withUnsafePointer(to: panels) {
          kernels.round_tokens($0, x, tokens, tiles.lowerBound, tiles.upperBound, rounded)
        }
      }
      let panelCount = ck_panel_count(outFeatures)
      Parallel.forEachChunk(of: panelCount, size: tokens <= Int(ck_integer_direct_tokens) ? 16 : 8) { range in
        withUnsafePointer(to: panels) {
          kernels.product($0, range.lowerBound, range.upperBound, rounded, tokens, y, outFeatures)
        }
      }
    }
  }
}

extension InstructionSet {
  /// The inner loops of integer products.
  package var integerKernels: ck_integer_kernels {
    guard let table = ck_integer_kernels_of(identifier) else { preconditionFailure("this processor lacks \(rawValue)") }
    return table.pointee
  }
}
