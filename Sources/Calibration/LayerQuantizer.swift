public import Kernels
public import Models
public import Quantization
public import Tensors

/// How a linear is prepared before its weights are rounded.
public enum Method: String, Sendable, CaseIterable {
  /// Not at all.
  case roundToNearest = "rtn"
  /// Activation-aware channel scales and clipping.
  case awq
}

/// What became of one fold.
public struct FoldOutcome: Sendable, Equatable {
  /// Such as `input_layernorm → q_proj, k_proj, v_proj`.
  public let title: String
  /// Whether the scales are in the artifact.
  public let isKept: Bool
  /// The exponent of the scales.
  public let alpha: Double
  /// Squared error of the block's output on held-out text without the fold, relative to the output's square.
  public let lossWithout: Double
  /// The same with it.
  public let lossWith: Double
  /// Why it was not kept.
  public let reason: String?
}

/// One decoder layer after quantization, by names within the layer.
public struct QuantizedLayer: Sendable {
  /// How a linear's weights are stored.
  public enum Weight: Sendable {
    /// Codes and scales.
    case quantized(QuantizedTensor)
    /// Floats that folding changed.
    case folded(Matrix)
    /// As in the source, bit for bit.
    case unchanged
  }

  /// Every linear.
  public var weights: [String: Weight] = [:]
  /// Norms that folding changed.
  public var norms: [String: [Float]] = [:]
  /// Biases that folding changed.
  public var biases: [String: [Float]] = [:]
  /// Largest magnitude of each linear's input, for static activation scales.
  public var inputMaxima: [String: Float] = [:]
  /// What became of each fold.
  public var folds: [FoldOutcome] = []
}

/// Quantizes the linears of one decoder layer, block by block.
public struct LayerQuantizer: Sendable {
  let layer: DecoderLayer
  let folds: [Fold]
  let schemes: [String: QuantizationScheme]
  let methods: [String: Method]
  /// Element type of integer scales, norms and biases as they are stored.
  let storedType: DType

  /// A quantizer of one layer.
  ///
  /// - Parameters:
  ///   - schemes: how each linear is stored, by names within the layer; full precision where there is none.
  ///   - methods: how each is prepared; ``Method/roundToNearest`` where there is none.
  ///   - storedType: the checkpoint's own type: BF16, F16 or F32.
  public init(
    layer: DecoderLayer, folds: [Fold], schemes: [String: QuantizationScheme], methods: [String: Method],
    storedType: DType
  ) {
    self.layer = layer
    self.folds = folds
    self.schemes = schemes
    self.methods = methods
    self.storedType = storedType
  }

  /// Quantizes without calibration: rounding alone.
  public func roundedToNearest() -> QuantizedLayer {
    var result = QuantizedLayer()
    for name in DecoderLayer.linearNames {
      result.weights[name] =
        schemes[name].map { scheme in
          .quantized(
            RoundToNearest.quantized(Self.matrix(layer[linear: name]), as: scheme.weights, scaleType: scaleType(scheme))
          )
        } ?? .unchanged
    }
    return result
  }

  /// Quantizes with what calibration saw.
  public func quantized(_ observation: LayerObservation, rotary: RotaryTable) -> QuantizedLayer {
    var result = QuantizedLayer()
    let representatives = LayerObservation.representatives(folds)
    for (block, names) in [
      (Fold.Block.attention, DecoderLayer.linearNames.filter { $0.hasPrefix("self_attn.") }),
      (.feedForward, DecoderLayer.linearNames.filter { $0.hasPrefix("mlp.") }),
    ] {
      let search = BlockSearch(
        quantizer: self, block: block, names: names, folds: folds.filter { $0.block == block },
        observation: observation, representatives: representatives, rotary: rotary)
      let found = search.run()
      result.weights.merge(found.weights) { $1 }
      result.norms.merge(found.norms) { $1 }
      result.biases.merge(found.biases) { $1 }
      result.folds += found.folds
    }
    for name in DecoderLayer.linearNames {
      result.inputMaxima[name] = observation.statistics[representatives[name] ?? name]?.maximum
    }
    return result
  }

  /// The element type of a scheme's scales: the checkpoint's; halves cannot hold the small scales of float8.
  func scaleType(_ scheme: QuantizationScheme) -> DType {
    scheme.weights.format == .float8E4M3 && storedType == .float16 ? .float32 : storedType
  }

  /// A linear's weights as floats.
  static func matrix(_ linear: Linear) -> Matrix {
    switch linear.weight {
    case .dense(let tensor): Matrix(tensor)
    case .matrix(let matrix): matrix
    case .quantized(let packed): packed.dequantizedRows(0..<packed.outFeatures)
    }
  }
}
