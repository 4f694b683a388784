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
    let kernels = InstructionSet.current.integerKernels
    var rounded: RoundedTokens?
    let operands = weights.map { weight -> RoundedTokens? in
      guard activations == .int8, weight.hasIntegerProduct else { return nil }
      if let last = rounded, last.serves(weight) { return last }
      rounded = RoundedTokens(x, for: weight, kernels)
      return rounded
    }
    let most = asSingle || operands.allSatisfy { $0 != nil } ? mostFewTokens : mostSingleTokens
    guard x.rows <= most else {
      return zip(weights, operands).map { weight, operand in
        operand.map { weight.integerProduct($0, kernels) } ?? weight.product(x)
      }
    }
    let factors = zip(weights, operands).map { weight, operand in
      operand.map(Factor.rounded) ?? .float(FloatTokens(x, for: weight))
    }
    return fewTokenProducts(weights, factors, tokens: x.rows)
  }

  /// What a weight is multiplied with.
  private enum Factor {
    case float(FloatTokens)
    case rounded(RoundedTokens)
  }

  /// The product of one weight with few tokens, panel by panel.
  ///
  /// A task takes a microsecond and runs beside others of the same product: nothing here is counted by references, whose
  /// counts the threads would pass to and fro. Weight and operand must outlive it.
  private struct FewTokenProduct: @unchecked Sendable {
    private enum Operand {
      case float(FloatTokens.Borrowed, ck_kernels)
      case rounded(RoundedTokens.Borrowed, ck_integer_kernels)
    }

    let outFeatures: Int
    let taskCount: Int
    private let panelsPerTask: Int
    private let panelCount: Int
    private let operand: Operand
    private let panels: ck_panels

    init(_ weight: PackedMatrix, _ factor: Factor, _ set: InstructionSet) {
      panels = weight.withPanels { $0 }
      outFeatures = weight.outFeatures
      panelCount = ck_panel_count(outFeatures)
      panelsPerTask = max(1, PackedMatrix.taskBytes / max(1, ck_panel_code_bytes(panels.kind, panels.in)))
      taskCount = (panelCount + panelsPerTask - 1) / panelsPerTask
      operand =
        switch factor {
        case .float(let tokens): .float(tokens.borrowed, set.kernels)
        case .rounded(let tokens): .rounded(tokens.borrowed, set.integerKernels)
        }
    }

    /// Computes some columns of `[tokens, outFeatures]`.
    func compute(task: Int, _ y: UnsafeMutablePointer<Float>) {
      let range = task * panelsPerTask..<min(panelCount, (task + 1) * panelsPerTask)
      withUnsafePointer(to: panels) { panels in
        switch operand {
        case .float(let tokens, let kernels): tokens.multiply(panels, range, kernels, y, outFeatures)
        case .rounded(let tokens, let kernels): tokens.multiply(panels, range, kernels, y, outFeatures)
        }
      }
    }
  }

  private static func fewTokenProducts(_ weights: [PackedMatrix], _ factors: [Factor], tokens: Int) -> [Matrix] {
    let set = InstructionSet.current
    return withExtendedLifetime((weights, factors)) {
      let products = zip(weights, factors).map { FewTokenProduct($0, $1, set) }
      var targets: [UnsafeMutablePointer<Float>?] = []
      return matrices(products.map(\.outFeatures)[...], tokens: tokens, &targets) { targets in
        products.withUnsafeBufferPointer { products in
          targets.withUnsafeBufferPointer { targets in
            nonisolated(unsafe) let (products, targets) = (products, targets)
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
final class FloatTokens: @unchecked Sendable {
  /// What tasks read; good for as long as the tokens are.
  struct Borrowed {
    let x: UnsafePointer<Float>
    let sums: UnsafePointer<Float>
    let count: Int
    let columns: Int
    let groups: Int
  }

  let borrowed: Borrowed
  private let values: UnsafeMutablePointer<Float>

  /// Tokens `[tokens, inFeatures]` for products with a weight.
  init(_ x: Matrix, for weight: PackedMatrix) {
    precondition(
      x.columns == weight.inFeatures, "\(x.rows) × \(x.columns) times \(weight.outFeatures) × \(weight.inFeatures)")
    let x = weight.columns?.extended(x) ?? x
    let groups = weight.zeroPointGroups
    let values = UnsafeMutablePointer<Float>.allocate(capacity: x.values.count + x.rows * groups)
    let sums = values + x.values.count
    x.values.withUnsafeBufferPointer { if let base = $0.baseAddress { values.initialize(from: base, count: $0.count) } }
    if groups > 0 {
      for token in 0..<x.rows {
        ck_group_sums(values + token * x.columns, x.columns, weight.groupSize, sums + token * groups)
      }
    }
    self.values = values
    borrowed = Borrowed(x: values, sums: sums, count: x.rows, columns: x.columns, groups: groups)
  }

  deinit { values.deallocate() }
}

extension FloatTokens.Borrowed {
  /// Some panels of the product `[tokens, outFeatures]`, the bits of each token as if it were alone.
  func multiply(
    _ panels: UnsafePointer<ck_panels>, _ range: Range<Int>, _ kernels: ck_kernels, _ y: UnsafeMutablePointer<Float>,
    _ outFeatures: Int
  ) {
    if count > PackedMatrix.mostSingleTokens, count <= PackedMatrix.mostFewTokens {
      return kernels.product_few(panels, range.lowerBound, range.upperBound, x, sums, count, y, outFeatures)
    }
    for token in 0..<count {
      kernels.product_one(
        panels, range.lowerBound, range.upperBound, x + token * columns, sums + token * groups,
        y + token * outFeatures)
    }
  }
}
