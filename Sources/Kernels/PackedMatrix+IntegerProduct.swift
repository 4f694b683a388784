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
    precondition(
      activations == .float || hasIntegerProduct, "\(kind) codes in groups of \(groupSize) have no integer product")
    return Self.products([self], x, activations: activations)[0]
  }

  /// ``product(_:activations:)`` of rounded activations by some kernels.
  package func integerProduct(_ x: Matrix, _ kernels: ck_integer_kernels) -> Matrix {
    integerProduct(RoundedTokens(x, for: self, kernels), kernels)
  }

  /// The product with tokens that were rounded by the same kernels.
  func integerProduct(_ tokens: RoundedTokens, _ kernels: ck_integer_kernels) -> Matrix {
    Matrix(rows: tokens.count, columns: outFeatures) { y in
      guard let target = y.baseAddress, !y.isEmpty else { return }
      withPanels { panels in
        nonisolated(unsafe) let (panels, y) = (panels, target)
        let (outFeatures, borrowed) = (outFeatures, tokens.borrowed)
        withExtendedLifetime(tokens) {
          Parallel.forEachChunk(of: ck_panel_count(outFeatures), size: 8) { range in
            withUnsafePointer(to: panels) { borrowed.multiply($0, range, kernels, y, outFeatures) }
          }
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
