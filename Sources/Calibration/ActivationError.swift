internal import CKernels
internal import Kernels
internal import Models
internal import Quantization
internal import Tensors

/// What rounding the input of a linear to int8 adds to the error of its output, beside what rounding its weights costs.
///
/// Sums over some outputs and held-out tokens, outlying ones weighed down as ``InputStatistics`` does.
public struct ActivationError: Sendable, Equatable {
  /// Σ |Ŵ·x̂ − Ŵ·x|², x̂ as the integer kernels round x.
  public var activations: Double
  /// Σ |Ŵ·x − W·x|².
  public var weights: Double
  /// Σ |W·x|².
  public var output: Double

  /// Sums.
  public init(activations: Double, weights: Double, output: Double) {
    self.activations = activations
    self.weights = weights
    self.output = output
  }

  /// Share of the weights' error up to which that of the activations is taken: errors of different origin add up, in
  /// linears and, as long as they are small, in the divergence of the whole model.
  public static let mostOfWeights = 0.02
  /// Share of the output's square up to which it is taken beside weights that are almost exact.
  public static let mostOfOutput = 1e-4

  /// Whether the input is worth rounding.
  public var allowsInt8: Bool {
    activations <= max(Self.mostOfWeights * weights, Self.mostOfOutput * output)
  }

  /// Output features that are looked at.
  static let sampledRows = 128

  /// Measures a linear.
  ///
  /// - Parameters:
  ///   - weight: as it will be stored.
  ///   - input: what the linear reads in the source, `[tokens, channels]`.
  /// - Returns: `nil` where the weight has no integer product, or numbers are not finite.
  static func measure(_ weight: PreparedWeight, on input: Matrix) -> ActivationError? {
    guard let scheme = weight.scheme, input.rows > 0,
      scheme.weights.hasIntegerProduct(outFeatures: weight.source.outFeatures, inFeatures: weight.source.inFeatures)
    else { return nil }
    let picked = weight.sampledRows(sampledRows)
    let sample = weight.sampled(picked)
    let packed = (weight.rounded?.picked(picked) ?? sample.quantized()).packed()
    guard packed.hasIntegerProduct else { return nil }
    var x = input
    if let factors = weight.columnFactors { x.scaleColumns(by: factors.map { 1 / $0 }) }
    let wanted = MatrixProduct.product(x, transposed: sample.source.matrix())
    let exact = packed.product(x, activations: .float)
    let rounded = packed.product(x, activations: .int8)
    var result = ActivationError(activations: 0, weights: 0, output: 0)
    let columns = picked.count
    let energies = (0..<x.rows).map { token in squares(wanted.row(token)) }
    let cap = energies.sorted()[(x.rows - 1) / 2] * InputStatistics.energyCap
    for token in 0..<x.rows {
      let share = energies[token] > cap && cap > 0 ? cap / energies[token] : 1
      var (activations, weights) = (0.0, 0.0)
      for column in 0..<columns {
        let (a, e, w) = (rounded[token, column], exact[token, column], wanted[token, column])
        activations += Double(a - e) * Double(a - e)
        weights += Double(e - w) * Double(e - w)
      }
      result.activations += share * activations
      result.weights += share * weights
      result.output += share * energies[token]
    }
    guard result.activations.isFinite, result.weights.isFinite, result.output.isFinite else { return nil }
    return result
  }

  private static func squares(_ values: ArraySlice<Float>) -> Double {
    values.reduce(0) { $0 + Double($1) * Double($1) }
  }
}

/// Some rows of what linears read on held-out text.
struct InputSample {
  /// Most rows of an input.
  static let mostRows = 128
  private var inputs: [String: Matrix] = [:]

  /// Rows of an input, `[tokens, channels]`.
  subscript(name: String) -> Matrix? { inputs[name] }

  /// Takes rows from all parts of an input, until there are enough of it.
  mutating func add(_ name: String, _ input: Matrix) {
    let before = inputs[name]
    let wanted = Self.mostRows - (before?.rows ?? 0)
    guard wanted > 0, input.rows > 0 else { return }
    let step = max(1, input.rows / wanted)
    let picked = Array(stride(from: 0, to: input.rows, by: step).prefix(wanted))
    inputs[name] = Matrix(
      rows: picked.count + (before?.rows ?? 0), columns: input.columns,
      values: (before?.values ?? []) + picked.flatMap { input.row($0) })
  }
}
