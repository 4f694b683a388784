internal import Kernels
public import Quantization
public import Tensors

/// A linear's weights on their way into the artifact: columns multiplied, rows divided, clipped and rounded.
///
/// Nothing but the factors is held. Rows are made when they are read, so that a combination of folds can be tried, and a
/// layer of any size be quantized, without a copy of its weights.
public struct PreparedWeight: Sendable {
  /// The weights as the source has them, `[outFeatures, inFeatures]`.
  public let source: WeightRows
  /// How they are stored; `nil` keeps them in full precision.
  public let scheme: QuantizationScheme?
  /// Element type of scales, or of the weights that are kept.
  public let storedType: DType
  /// Factor of each input channel.
  public var columnFactors: [Float]?
  /// Divisor of each output feature.
  public var rowDivisors: [Float]?
  /// Factor of each group's range.
  public var shrink: [Float]?
  /// How finely it is coded, if by entropy.
  public var coding: EntropyCoding?
  /// How scales of floats are chosen.
  public var scaling = FloatScaling.largest
  /// Codes that were rounded with feedback; `nil` rounds each weight by itself.
  public var rounded: QuantizedTensor?

  /// Weights as the source has them.
  public init(_ source: WeightRows, scheme: QuantizationScheme?, storedType: DType) {
    self.source = source
    self.scheme = scheme
    self.storedType = storedType
  }

  /// Whether folding has changed the weights.
  public var isFolded: Bool { columnFactors != nil || rowDivisors != nil }

  /// Whether its codes are integers of at most four bits, beside whose errors those of int8 activations are small.
  var hasFewBits: Bool {
    guard coding == nil, case .int(let bits)? = scheme?.weights.format else { return false }
    return bits <= 4
  }

  /// The weights that will be rounded.
  public var scaled: WeightRows {
    guard isFolded else { return source }
    let (source, columns, rows) = (source, columnFactors, rowDivisors)
    let width = source.inFeatures
    return WeightRows(outFeatures: source.outFeatures, inFeatures: width, storedType: source.storedType) {
      range, floats in
      source.copyRows(range, to: floats)
      for row in range {
        let start = (row - range.lowerBound) * width
        // Divided after it is multiplied, as one pass over the source would.
        if let columns {
          columns.withUnsafeBufferPointer { for column in 0..<width { floats[start + column] *= $0[column] } }
        }
        if let divisor = rows?[row], divisor != 1 {
          for column in 0..<width { floats[start + column] /= divisor }
        }
      }
    }
  }

  /// The weights that what is stored stands for.
  public var stored: WeightRows {
    if let rounded { return rounded.rows }
    if let scheme {
      return RoundToNearest.rounded(
        scaled, as: scheme.weights, scaleType: storedType, shrink: shrink, scaling: scaling)
    }
    // Also where nothing is folded: what another layout decodes to need not be a number of the stored type.
    let (scaled, type) = (scaled, storedType)
    guard type != .float32 else { return scaled }
    return WeightRows(outFeatures: scaled.outFeatures, inFeatures: scaled.inFeatures, storedType: type) {
      range, floats in
      scaled.copyRows(range, to: floats)
      let rounded = Tensor([floats.count], floats: Array(floats), as: type)
      rounded.copyFloats(to: floats)
    }
  }

  /// Codes and scales; only for weights with a scheme.
  public func quantized() -> QuantizedTensor {
    guard let scheme else { preconditionFailure("weights without a scheme are not quantized") }
    if let rounded { return rounded }
    return RoundToNearest.quantized(
      scaled, as: scheme.weights, scaleType: storedType, shrink: shrink, scaling: scaling)
  }

  /// ``quantized()`` in the kernels' layout; only for weights whose scheme has integers.
  func packed() -> PackedMatrix {
    guard let scheme, rounded == nil else { return quantized().packed() }
    return RoundToNearest.packed(scaled, as: scheme.weights, scaleType: storedType, shrink: shrink)
  }

  /// The weights in full precision, folded.
  public func kept() -> Tensor {
    let weight = scaled
    return Tensor([weight.outFeatures, weight.inFeatures], floats: weight.matrix().values, as: storedType)
  }
}
