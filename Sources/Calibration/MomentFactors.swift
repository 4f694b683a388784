internal import CKernels
internal import Kernels
internal import Quantization
internal import Tensors

/// The factors of a block's inputs, made once for all linears that read the same input and for all folds.
///
/// How far moments are drawn towards the diagonal is decided by text that was not used for them: too little, and rounding
/// is fitted to chance; too much, and what is known is not used.
final class MomentFactors {
  /// What has been chosen for an input.
  struct Choice {
    let shrinkage: Float
    let factor: MomentFactor
  }

  /// Values of ρ that are tried; 1 would be no feedback at all.
  static let shrinkages: [Float] = [0.01, 0.03, 0.1, 0.3]
  static let sampledRows = 64
  /// Tokens for each channel from which on little of the moments is chance.
  static let plentyOfTokens = 16.0
  private static let fewestTokens = 32
  private var choices: [String: Choice?] = [:]

  /// The factor for an input; `nil` if rounding each weight by itself is better on held-out tokens.
  ///
  /// - Parameters:
  ///   - input: held-out tokens, `[tokens, channels]`; few or none trust the middle ρ.
  ///   - weight: one of the weights that read the input.
  func choice(
    _ key: String, _ statistics: InputStatistics, heldOut input: Matrix?, weight: PreparedWeight
  ) -> Choice? {
    if let known = choices[key] { return known }
    let found = Self.search(statistics, input, weight).choice
    choices[key] = found
    return found
  }

  /// The best factor for an input, and what is lost with it.
  ///
  /// - Returns: no choice if rounding each weight by itself is better; the error is that of ``error(_:_:on:)`` for the
  ///   sampled rows, `nil` where there were too few held-out tokens to measure it.
  static func search(
    _ statistics: InputStatistics, _ input: Matrix?, _ weight: PreparedWeight
  ) -> (choice: Choice?, error: Double?) {
    let middle = Self.shrinkages[Self.shrinkages.count / 2]
    func only(_ shrinkage: Float) -> Choice? {
      statistics.factor(shrinkage: shrinkage).map { Choice(shrinkage: shrinkage, factor: $0) }
    }
    guard let input, input.rows >= Self.fewestTokens, weight.scheme != nil else {
      return (only(middle), nil)
    }
    let sample = weight.sampled(weight.sampledRows(Self.sampledRows))
    let rows = sample.source.matrix()
    func merit(_ tensor: QuantizedTensor) -> Double {
      let error = error(tensor, rows, on: input)
      // Of entropy-coded weights half the error is worth half a bit; the others all have the same bits.
      guard weight.coding != nil else { return error }
      return error * MathFunctions.power(4, tensor.codeEntropy.byClass)
    }
    var best: Choice?
    var least =
      weight.coding == nil
      ? merit(sample.quantized()) : .infinity
    /// Whether this ρ is better than those before, or as useless.
    func attempt(_ shrinkage: Float) -> Bool {
      guard let choice = only(shrinkage) else { return best == nil }
      let found = merit(sample.rounded(sample.source, factor: choice.factor, channelFactors: nil))
      guard found < least else { return best == nil }
      (best, least) = (choice, found)
      return true
    }
    // A try costs a Cholesky factor, so it begins where the best is likely to be, and goes up, then down from there.
    let isSparse = statistics.weight < Self.plentyOfTokens * Double(statistics.channels)
    let start = isSparse ? Self.shrinkages.count / 2 : 0
    var next = start
    while next < Self.shrinkages.count, attempt(Self.shrinkages[next]) { next += 1 }
    if next <= start + 1 {
      next = start - 1
      while next >= 0, attempt(Self.shrinkages[next]) { next -= 1 }
    }
    return (best, least.isFinite ? least : nil)
  }

  /// Squared error that rounding causes in what a linear gives, summed over tokens and rows.
  ///
  /// - Parameters:
  ///   - rows: what was rounded, `[rows, channels]`.
  ///   - input: `[tokens, channels]`.
  static func error(_ tensor: QuantizedTensor, _ rows: Matrix, on input: Matrix) -> Double {
    let difference = Matrix(
      rows: rows.rows, columns: rows.columns, values: zip(tensor.dequantized().values, rows.values).map { $0 - $1 })
    let output = MatrixProduct.product(input, transposed: difference)
    return ck_sum_of_squares(output.values, output.values.count)
  }
}
