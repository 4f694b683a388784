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
    /// Squared error of the outputs on held-out tokens, relative to rounding each weight by itself.
    let relativeError: Double
  }

  /// Values of ρ that are tried; 1 would be no feedback at all.
  static let shrinkages: [Float] = [0.03, 0.1, 0.3]
  private static let sampledRows = 64
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

  /// What was chosen for an input, if it was asked for.
  func chosen(_ key: String) -> Choice? { choices[key] ?? nil }

  private func search(_ statistics: InputStatistics, _ input: Matrix?, _ weight: PreparedWeight) -> Choice? {
    guard let input, input.rows >= 32, let scheme = weight.scheme else {
      let middle = Self.shrinkages[Self.shrinkages.count / 2]
      return statistics.factor(shrinkage: middle).map { Choice(shrinkage: middle, factor: $0, relativeError: 1) }
    }
    // Rows from all parts of the matrix; what holds for them holds for the others.
    let source = weight.scaled
    let step = max(1, source.outFeatures / Self.sampledRows)
    let picked = Array(stride(from: 0, to: source.outFeatures, by: step).prefix(Self.sampledRows))
    let sample = Matrix(
      rows: picked.count, columns: source.inFeatures,
      values: picked.flatMap { source.rows($0..<$0 + 1).values })
    let granularity: Granularity =
      if case .perGroup = scheme.weights.granularity { scheme.weights.granularity } else { .perChannel }
    let quantization = WeightQuantization(
      scheme.weights.format, granularity, isSymmetric: scheme.weights.isSymmetric)
    let plain = RoundToNearest.quantized(sample, as: quantization, scaleType: weight.storedType)
    func error(_ tensor: QuantizedTensor) -> Double {
      let values = zip(tensor.dequantized().values, sample.values).map { $0 - $1 }
      let difference = Matrix(rows: sample.rows, columns: sample.columns, values: values)
      let output = MatrixProduct.product(input, transposed: difference)
      return ck_sum_of_squares(output.values, output.values.count)
    }
    let before = error(plain)
    var best: Choice?
    for shrinkage in Self.shrinkages {
      guard let factor = statistics.factor(shrinkage: shrinkage) else { continue }
      let after = error(FeedbackRounding.rounded(plain, WeightRows(sample), factor: factor, channelFactors: nil))
      let relative = before > 0 ? after / before : 1
      guard relative < min(1, best?.relativeError ?? 1) else {
        // Past the best; or none of any use yet, and more may be.
        if best == nil { continue } else { break }
      }
      best = Choice(shrinkage: shrinkage, factor: factor, relativeError: relative)
    }
    return best
  }
}
