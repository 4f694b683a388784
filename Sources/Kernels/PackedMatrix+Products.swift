internal import CKernels
public import Tensors

extension PackedMatrix {
  /// Bytes of codes that a task of a product of few tokens reads, some microseconds.
  private static let taskBytes = 128 << 10

  /// Products of several weights with the same activations, each as ``product(_:activations:)`` gives it.
  ///
  /// For few tokens it is one parallel loop over the rows of all weights. Activations that are rounded alike are rounded
  /// once.
  ///
  /// - Parameter activations: weights without an integer product take them as they are.
  public static func products(_ weights: [PackedMatrix], _ x: Matrix, activations: Activations) -> [Matrix] {
    var rounded: RoundedTokens?
    let kernels = InstructionSet.current
    let factors = weights.map { weight in
      guard activations == .int8, weight.hasIntegerProduct else { return Factor.float(x) }
      if let last = rounded, last.serves(weight) { return Factor.rounded(last) }
      let tokens = RoundedTokens(x, for: weight, kernels.integerKernels)
      rounded = tokens
      return Factor.rounded(tokens)
    }
    guard x.rows <= mostSingleTokens else {
      return zip(weights, factors).map { weight, factor in
        switch factor {
        case .float(let x): weight.product(x)
        case .rounded(let tokens): weight.integerProduct(tokens, kernels.integerKernels)
        }
      }
    }
    return fewTokenProducts(zip(weights, factors).map { $0.fewTokenProduct($1, kernels) }, tokens: x.rows)
  }

  /// What a weight is multiplied with.
  private enum Factor {
    case float(Matrix)
    case rounded(RoundedTokens)
  }

  /// The product of one weight with few tokens, panel by panel.
  private struct FewTokenProduct: Sendable {
    let outFeatures: Int
    let panelsPerTask: Int
    /// Computes the columns of some panels of `[tokens, outFeatures]`.
    let compute: @Sendable (_ panels: Range<Int>, UnsafeMutablePointer<Float>) -> Void
  }

  private func fewTokenProduct(_ factor: Factor, _ set: InstructionSet) -> FewTokenProduct {
    let panelBytes = ck_panel_code_bytes(kind.identifier, codeColumns)
    let compute: @Sendable (Range<Int>, UnsafeMutablePointer<Float>) -> Void
    switch factor {
    case .rounded(let tokens):
      let kernels = set.integerKernels
      compute = { range, y in
        withPanels { panels in
          withUnsafePointer(to: panels) {
            kernels.product($0, range.lowerBound, range.upperBound, tokens.bytes, tokens.count, y, outFeatures)
          }
        }
      }
    case .float(let x):
      let kernels = set.kernels
      let operand = FloatTokens(x, for: self)
      compute = { range, y in
        withPanels { panels in
          withUnsafePointer(to: panels) { operand.multiply($0, range, kernels, y, outFeatures) }
        }
      }
    }
    return FewTokenProduct(
      outFeatures: outFeatures, panelsPerTask: max(1, Self.taskBytes / max(1, panelBytes)), compute: compute)
  }

  private static func fewTokenProducts(_ products: [FewTokenProduct], tokens: Int) -> [Matrix] {
    var tasks: [(product: Int, panels: Range<Int>)] = []
    var starts: [Int] = []
    var size = 0
    for (index, product) in products.enumerated() {
      starts.append(size)
      size += tokens * product.outFeatures
      let count = ck_panel_count(product.outFeatures)
      for first in stride(from: 0, to: count, by: product.panelsPerTask) {
        tasks.append((index, first..<min(count, first + product.panelsPerTask)))
      }
    }
    return withUnsafeTemporaryAllocation(of: Float.self, capacity: size) { results in
      guard let base = results.baseAddress, size > 0 else {
        return products.map { Matrix(rows: tokens, columns: $0.outFeatures) }
      }
      nonisolated(unsafe) let target = base
      Parallel.forEach(tasks.count) { [tasks, starts] index in
        let task = tasks[index]
        products[task.product].compute(task.panels, target + starts[task.product])
      }
      return products.indices.map { index in
        Matrix(rows: tokens, columns: products[index].outFeatures) {
          _ = $0.update(fromContentsOf: UnsafeBufferPointer(start: base + starts[index], count: $0.count))
        }
      }
    }
  }
}

/// Few tokens as products of float activations read them.
struct FloatTokens: Sendable {
  private let x: Matrix
  private let sums: [Float]
  private let groups: Int

  /// Tokens `[tokens, inFeatures]` for products with a weight.
  init(_ x: Matrix, for weight: PackedMatrix) {
    precondition(
      x.columns == weight.inFeatures, "\(x.rows) × \(x.columns) times \(weight.outFeatures) × \(weight.inFeatures)")
    let x = weight.columns?.extended(x) ?? x
    let groups = weight.zeroPointGroups
    self.x = x
    self.groups = groups
    sums = [Float](unsafeUninitializedCapacity: x.rows * groups) { buffer, count in
      count = x.rows * groups
      guard let sums = buffer.baseAddress, groups > 0 else { return }
      x.values.withUnsafeBufferPointer { x in
        for token in 0..<count / groups {
          ck_group_sums(
            x.baseAddress?.advanced(by: token * weight.codeColumns), weight.codeColumns, weight.groupSize,
            sums + token * groups)
        }
      }
    }
  }

  /// Some panels of the product `[tokens, outFeatures]`, token by token.
  func multiply(
    _ panels: UnsafePointer<ck_panels>, _ range: Range<Int>, _ kernels: ck_kernels, _ y: UnsafeMutablePointer<Float>,
    _ outFeatures: Int
  ) {
    x.values.withUnsafeBufferPointer { values in
      sums.withUnsafeBufferPointer { sums in
        for token in 0..<x.rows {
          kernels.product_one(
            panels, range.lowerBound, range.upperBound, values.baseAddress?.advanced(by: token * x.columns),
            sums.baseAddress?.advanced(by: token * groups), y + token * outFeatures)
        }
      }
    }
  }
}
