internal import CKernels
public import Tensors

extension PackedMatrix {
  /// Most tokens whose products with several weights are one parallel loop.
  public static let mostFewTokens = Int(ck_few_tokens)

  /// Bytes of codes that a task of a product of few tokens reads, about a microsecond: so long a thread may have to wait
  /// for the others at the end.
  private static let taskBytes = 32 << 10

  /// Products of several weights with the same activations, each as ``product(_:activations:)`` gives it.
  ///
  /// For few tokens it is one parallel loop over the rows of all weights. Activations that are rounded alike are rounded
  /// once.
  ///
  /// - Parameters:
  ///   - activations: weights without an integer product take them as they are.
  ///   - asSingle: whether up to ``mostFewTokens`` tokens that are taken as they are have each the bits that it would
  ///     have alone. Rounded ones always have.
  public static func products(
    _ weights: [PackedMatrix], _ x: Matrix, activations: Activations, asSingle: Bool = false
  ) -> [Matrix] {
    var rounded: RoundedTokens?
    let kernels = InstructionSet.current
    let factors = weights.map { weight in
      guard activations == .int8, weight.hasIntegerProduct else { return Factor.float(x) }
      if let last = rounded, last.serves(weight) { return Factor.rounded(last) }
      let tokens = RoundedTokens(x, for: weight, kernels.integerKernels)
      rounded = tokens
      return Factor.rounded(tokens)
    }
    let areRounded = factors.allSatisfy { if case .rounded = $0 { true } else { false } }
    guard x.rows <= (asSingle || areRounded ? mostFewTokens : mostSingleTokens) else {
      return zip(weights, factors).map { weight, factor in
        switch factor {
        case .float(let x): weight.product(x)
        case .rounded(let tokens): weight.integerProduct(tokens, kernels.integerKernels)
        }
      }
    }
    return fewTokenProducts(
      zip(weights, factors).map { FewTokenProduct($0, $1, kernels, taskBytes: taskBytes) }, tokens: x.rows)
  }

  /// What a weight is multiplied with.
  private enum Factor {
    case float(Matrix)
    case rounded(RoundedTokens)
  }

  /// The product of one weight with few tokens, panel by panel; all that a task needs is at hand, since it takes a
  /// microsecond.
  private struct FewTokenProduct: @unchecked Sendable {
    private enum Operand {
      case float(FloatTokens, ck_kernels)
      case rounded(RoundedTokens, ck_integer_kernels)
    }

    let outFeatures: Int
    let taskCount: Int
    private let panelsPerTask: Int
    private let panelCount: Int
    private let operand: Operand
    /// Borrowed from the weight.
    private let panels: ck_panels
    private let weight: PackedMatrix

    init(_ weight: PackedMatrix, _ factor: Factor, _ set: InstructionSet, taskBytes: Int) {
      self.weight = weight
      panels = weight.withPanels { $0 }
      outFeatures = weight.outFeatures
      panelCount = ck_panel_count(outFeatures)
      panelsPerTask = max(1, taskBytes / max(1, ck_panel_code_bytes(panels.kind, panels.in)))
      taskCount = (panelCount + panelsPerTask - 1) / panelsPerTask
      operand =
        switch factor {
        case .float(let x): .float(FloatTokens(x, for: weight), set.kernels)
        case .rounded(let tokens): .rounded(tokens, set.integerKernels)
        }
    }

    /// Computes some columns of `[tokens, outFeatures]`.
    func compute(task: Int, _ y: UnsafeMutablePointer<Float>) {
      let range = task * panelsPerTask..<min(panelCount, (task + 1) * panelsPerTask)
      withUnsafePointer(to: panels) { panels in
        switch operand {
        case .float(let tokens, let kernels): tokens.multiply(panels, range, kernels, y, outFeatures)
        case .rounded(let tokens, let kernels):
          kernels.product(panels, range.lowerBound, range.upperBound, tokens.bytes, tokens.count, y, outFeatures)
        }
      }
    }
  }

  private static func fewTokenProducts(_ products: [FewTokenProduct], tokens: Int) -> [Matrix] {
    var targets: [UnsafeMutablePointer<Float>?] = []
    return matrices(products.map(\.outFeatures)[...], tokens: tokens, &targets) { targets in
      nonisolated(unsafe) let targets = targets
      Parallel.forEach(products.reduce(0) { $0 + $1.taskCount }) { task in
        var (index, task) = (0, task)
        while task >= products[index].taskCount {
          task -= products[index].taskCount
          index += 1
        }
        if let y = targets[index] { products[index].compute(task: task, y) }
      }
    }
  }

  /// Matrices of `tokens` rows that are written together.
  private static func matrices(
    _ widths: ArraySlice<Int>, tokens: Int, _ targets: inout [UnsafeMutablePointer<Float>?],
    fill: ([UnsafeMutablePointer<Float>?]) -> Void
  ) -> [Matrix] {
    guard let width = widths.first else {
      fill(targets)
      return []
    }
    var others: [Matrix] = []
    let first = Matrix(rows: tokens, columns: width) { y in
      targets.append(y.baseAddress)
      others = matrices(widths.dropFirst(), tokens: tokens, &targets, fill: fill)
    }
    return [first] + others
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

  /// Some panels of the product `[tokens, outFeatures]`, the bits of each token as if it were alone.
  func multiply(
    _ panels: UnsafePointer<ck_panels>, _ range: Range<Int>, _ kernels: ck_kernels, _ y: UnsafeMutablePointer<Float>,
    _ outFeatures: Int
  ) {
    x.values.withUnsafeBufferPointer { values in
      sums.withUnsafeBufferPointer { sums in
        if x.rows > PackedMatrix.mostSingleTokens, x.rows <= PackedMatrix.mostFewTokens {
          return kernels.product_few(
            panels, range.lowerBound, range.upperBound, values.baseAddress, sums.baseAddress, x.rows, y, outFeatures)
        }
        for token in 0..<x.rows {
          kernels.product_one(
            panels, range.lowerBound, range.upperBound, values.baseAddress?.advanced(by: token * x.columns),
            sums.baseAddress?.advanced(by: token * groups), y + token * outFeatures)
        }
      }
    }
  }
}
