internal import Kernels
internal import Quantization
internal import Tensors

extension PreparedWeight {
  /// Codes of a target near the weights, rounded with feedback.
  ///
  /// - Parameters:
  ///   - target: `[outFeatures, inFeatures]`, in the folded channels.
  ///   - factors: the channel factors by which the inputs of `factor` are still to be divided.
  ///   - refits: whether scales and zero points are fitted to the codes.
  func rounded(
    _ target: WeightRows, factor: MomentFactor, channelFactors factors: [Float]?, refits: Bool = false
  ) -> QuantizedTensor {
    guard let scheme else { preconditionFailure("weights without a scheme are not quantized") }
    if let coding {
      precondition(factors == nil, "entropy-coded weights are not folded")
      return EntropyRounding.rounded(target, factor: factor, coding: coding, bits: scheme.weights.format.bitWidth)
    }
    let plain = RoundToNearest.quantized(
      target, as: scheme.weights, scaleType: storedType, shrink: shrink, scaling: scaling)
    return refits
      ? FeedbackRounding.refitted(plain, target, factor: factor, channelFactors: factors)
      : FeedbackRounding.rounded(plain, target, factor: factor, channelFactors: factors)
  }

  /// Codes without feedback, where those differ from plain rounding; else `nil`.
  ///
  /// Steps of entropy-coded columns follow their inputs, also where nothing is known of how those go together.
  func roundedAlone(_ statistics: InputStatistics) -> QuantizedTensor? {
    guard coding != nil else { return nil }
    let factor = MomentFactor(uncorrelated: statistics.squares.map { $0.squareRoot() })
    return rounded(scaled, factor: factor, channelFactors: nil)
  }

  /// Rows from all parts of the matrix: what holds for them holds for the others.
  func sampledRows(_ most: Int) -> [Int] {
    let step = max(1, source.outFeatures / most)
    return Array(stride(from: 0, to: source.outFeatures, by: step).prefix(most))
  }

  /// The same of some rows, by themselves; scales that others have a part in become the rows' own.
  func sampled(_ rows: [Int]) -> PreparedWeight {
    let scaled = scaled
    let sample = Matrix(
      rows: rows.count, columns: source.inFeatures, values: rows.flatMap { scaled.rows($0..<$0 + 1).values })
    var scheme = scheme
    if let weights = scheme?.weights {
      switch weights.granularity {
      case .perTensor, .perBlock:
        let own =
          weights.format.isFloat
          ? WeightQuantization(weights.format, .perChannel, scales: weights.scales)
          : WeightQuantization(weights.format, .perChannel, isSymmetric: weights.isSymmetric)
        scheme = QuantizationScheme(name: scheme?.name ?? "", weights: own)
      case .perChannel, .perGroup, .perRowAndColumn: break
      }
    }
    var result = PreparedWeight(WeightRows(sample), scheme: scheme, storedType: storedType)
    result.scaling = scaling
    result.shrink = shrink.map { shrink in
      let groups = shrink.count / source.outFeatures
      return rows.flatMap { shrink[$0 * groups..<($0 + 1) * groups] }
    }
    result.coding = coding.map { coding in
      EntropyCoding(
        step: coding.step, splitColumns: .max, rowWeights: coding.rowWeights.map { weights in rows.map { weights[$0] } }
      )
    }
    return result
  }
}
