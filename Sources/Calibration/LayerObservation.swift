public import Kernels
public import Models
public import Quantization
public import Tensors

/// What one decoder layer showed of itself while calibration texts ran through it.
public struct LayerObservation: Sendable {
  /// Statistics of each distinct input, under the name of the first linear that reads it.
  public private(set) var statistics: [String: InputStatistics] = [:]
  /// Held-out hidden states before the layer, and between attention and feed-forward.
  public private(set) var heldOut: (before: Matrix, between: Matrix)
  /// The texts of the held-out rows.
  public let heldOutSequences: Sequences

  private let groupSizes: [String: Int]

  /// The first linear that reads the same input, for each linear of a layer.
  public static func representatives(_ folds: [Fold]) -> [String: String] {
    var result: [String: String] = [:]
    for fold in folds { for name in fold.linears { result[name] = fold.linears[0] } }
    return result
  }

  /// An observation to be filled.
  ///
  /// - Parameter schemes: how each linear will be stored; full precision where there is none.
  public init(
    layer: DecoderLayer, folds: [Fold], schemes: [String: QuantizationScheme], heldOutSequences: Sequences
  ) {
    let representatives = Self.representatives(folds)
    var sizes: [String: Int] = [:]
    for name in DecoderLayer.linearNames {
      let key = representatives[name] ?? name
      let linear = layer[linear: name]
      var size = 0
      if let weights = schemes[name]?.weights, case .int(let bits) = weights.format, bits < 8 {
        size =
          ScaleGrid(
            weights.granularity, outFeatures: linear.outFeatures, inFeatures: linear.inFeatures
          ).columnsPerScale
      }
      sizes[key] = max(sizes[key] ?? 0, size)
      if statistics[key] == nil || sizes[key] == size {
        statistics[key] = InputStatistics(channels: linear.inFeatures, groupSize: sizes[key] ?? 0)
      }
    }
    groupSizes = sizes
    self.heldOutSequences = heldOutSequences
    heldOut = (Matrix(rows: 0, columns: 0), Matrix(rows: 0, columns: 0))
  }

  /// Runs hidden states through the layer and keeps the statistics of what its linears read.
  public mutating func run(
    _ layer: DecoderLayer, _ hidden: inout Matrix, sequences: Sequences, rotary: RotaryTable
  ) {
    var seen = statistics
    layer(&hidden, sequences: sequences, rotary: rotary) { name, input, _ in seen[name]?.add(input) }
    statistics = seen
  }

  /// Runs the held-out hidden states through the layer and keeps them for judging folds.
  public mutating func runHeldOut(_ layer: DecoderLayer, _ hidden: inout Matrix, rotary: RotaryTable) {
    let before = hidden
    hidden += layer.attention(
      hidden.rmsNormalized(weight: layer.inputNorm, epsilon: layer.normEpsilon), sequences: heldOutSequences,
      rotary: rotary)
    heldOut = (before, hidden)
    hidden += layer.feedForward(hidden.rmsNormalized(weight: layer.postAttentionNorm, epsilon: layer.normEpsilon))
  }
}
