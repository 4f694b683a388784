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
    let found = search(statistics, input, weight)
    choices[key] = found
    return found
  }

  private func search(_ statistics: InputStatistics, _ input: Matrix?, _ weight: PreparedWeight) -> Choice? {
    let middle = Self.shrinkages[Self.shrinkages.count / 2]
    func only(_ shrinkage: Float) -> Choice? {
      statistics.factor(shrinkage: shrinkage).map { Choice(shrinkage: shrinkage, factor: $0) }
    }
    guard let input, input.rows >= Self.fewestTokens, weight.scheme != nil else { return only(middle) }
    let sample = weight.sampled(weight.sampledRows(Self.sampledRows))
    let rows = sample.source.matrix()
    func merit(_ tensor: QuantizedTensor) -> Double {
      let difference = Matrix(
        rows: rows.rows, columns: rows.columns, values: zip(tensor.dequantized().values, rows.values).map { $0 - $1 })
      let output = MatrixProduct.product(input, transposed: difference)
      let error = ck_sum_of_squares(output.values, output.values.count)
      // Of entropy-coded weights half the error is worth half a bit; the others all have the same bits.
      guard weight.coding != nil else { return error }
      return error * MathFunctions.power(4, tensor.codeEntropy.byClass)
    }
    var best: Choice?
    var least =
      weight.coding == nil
      ? merit(sample.quantized()) : .infinity
    for shrinkage in Self.shrinkages {
      guard let choice = only(shrinkage) else { continue }
      let found = merit(sample.rounded(sample.source, factor: choice.factor, channelFactors: nil))
      guard found < least else {
        // Past the best; or none of any use yet, and more may be.
        if best == nil { continue } else { break }
      }
      (best, least) = (choice, found)
    }
    return best
  }
}
