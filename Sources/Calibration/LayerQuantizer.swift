internal import Kernels
public import Models
public import Quantization
public import Tensors

/// How the linears of one decoder layer are to be quantized, by names within the layer.
public struct LayerQuantizer: Sendable {
  let layer: DecoderLayer
  let schemes: [String: QuantizationScheme]
  let methods: [String: Method]
  /// Element type of integer scales, norms and biases as they are stored.
  let storedType: DType
  /// How finely entropy-coded linears are coded.
  let codings: [String: EntropyCoding]
  /// Linears whose weights stay exactly as they are, so that nothing can be folded into or out of them.
  let pinned: Set<String>
  /// Whether what is seen of the layer is stored, as the largest keys and values are.
  let observesExactly: Bool

  /// A quantizer of one layer.
  ///
  /// - Parameters:
  ///   - schemes: how each linear is stored; full precision where there is none.
  ///   - methods: how each is prepared; ``Method/roundToNearest`` where there is none.
  ///   - storedType: the checkpoint's own type: BF16, F16 or F32.
  ///   - codings: how finely linears are coded whose scheme is entropy-coded.
  ///   - pinned: linears whose weights stay exactly as they are.
  ///   - observesExactly: whether what is seen of the layer is stored.
  public init(
    layer: DecoderLayer, schemes: [String: QuantizationScheme], methods: [String: Method], storedType: DType,
    codings: [String: EntropyCoding] = [:], pinned: Set<String> = [],
    observesExactly: Bool = true
  ) {
    self.schemes = schemes
    self.methods = methods
    self.storedType = storedType
    self.codings = codings
    self.pinned = pinned
    self.observesExactly = observesExactly
    var layer = layer
    if !observesExactly, !schemes.isEmpty, schemes.values.allSatisfy(Self.isCoarse) { layer.precision = .bfloat16 }
    self.layer = layer
  }

  /// Whether a scheme moves weights by so much more than a rounding to BF16 does, 30 times at four bits, that nobody
  /// could tell from the result where calibration rounded so: the precision of the layer that it runs.
  private static func isCoarse(_ scheme: QuantizationScheme) -> Bool {
    guard case .int(let bits) = scheme.weights.format else { return false }
    return bits <= 4 && !scheme.isEntropyCoded
  }

  /// The folds of a block, or of an expert, that touch no pinned weights.
  func folds(_ isWanted: (Fold) -> Bool) -> [Fold] {
    layer.layout.folds.filter { fold in
      isWanted(fold) && !pinned.contains(fold.sourceName) && pinned.isDisjoint(with: fold.linears)
    }
  }

  /// Tokens below which it does not pay to round weights for ``observed(_:tokens:)``.
  static let fewestObserved = 1024

  /// The layer for states of which nothing comes but statistics: products with weights in 6 bits and activations in
  /// int8, two to four times as fast.
  ///
  /// They move an output by less than 3 % of its root mean square, a quarter of what 4-bit weights will, and means and
  /// variances by a small part of what another text would move them by: with 8 bits the pocket models' divergence is the
  /// same.
  /// Where a linear has more than four bits or learns what the states behind it have lost, the layer is left as it is.
  ///
  /// - Parameter names: the linears that will be run.
  func observed(_ names: [String], tokens: Int) throws(ModelError) -> DecoderLayer {
    let isCoarse = names.allSatisfy { name in schemes[name].map(Self.isCoarse) ?? true && !feedsBack(name) }
    guard isCoarse, !observesExactly, tokens >= Self.fewestObserved, names.contains(where: { schemes[$0] != nil })
    else { return layer }
    var result = layer
    let coarse = WeightQuantization(.int(bits: 6), .perGroup(size: 128))
    for name in names {
      let linear = try layer.linear(name)
      let packed = RoundToNearest.packed(linear.rows, as: coarse, scaleType: .float32)
      result.replace(name, by: Linear(name: name, packed: packed, activations: .int8, bias: linear.bias))
    }
    return result
  }

  /// Whether a linear is rounded with feedback.
  func feedsBack(_ name: String) -> Bool { schemes[name] != nil && methods[name]?.feedsBack ?? false }

  /// The element type of a scheme's scales: the checkpoint's; halves cannot hold the small scales of float8.
  static func scaleType(_ scheme: QuantizationScheme, _ storedType: DType) -> DType {
    scheme.weights.format == .float8E4M3 && storedType == .float16 ? .float32 : storedType
  }

  /// A linear's weights as the source has them, with what will become of them.
  func initial(_ linear: Linear, _ name: String) -> PreparedWeight {
    let scheme = schemes[name]
    let type = scheme.map { Self.scaleType($0, storedType) } ?? linear.rows.storedType
    var result = PreparedWeight(linear.rows, scheme: scheme, storedType: type)
    result.coding = codings[name]
    return result
  }

  /// Tokens for each channel of a block of second moments below which they are not worth keeping: what few tokens say
  /// of how channels go together is mostly chance, and means and variances stand in for it.
  static let tokensPerMoment = 8

  /// Empty statistics for a linear's input; blocks of second moments where clipping will want them.
  ///
  /// - Parameters:
  ///   - tokens: how many will be added.
  ///   - keepsMoments: whether feedback will need the second moments of all channels.
  func statistics(_ name: String, tokens: Int, keepsMoments: Bool = true) -> InputStatistics {
    guard let linear = layer.layout.linear(name) else { return InputStatistics(channels: 0, groupSize: 0) }
    // Linears that read the same input may have groups of different sizes; the first one's count.
    let readers = layer.layout.linears.filter { $0.reads == linear.reads && $0.expert == linear.expert }
    let sizes = readers.compactMap { reader -> Int? in
      guard let weights = schemes[reader.name]?.weights, methods[reader.name] ?? .roundToNearest != .roundToNearest,
        weights.granularity != .perRowAndColumn, case .int(let bits) = weights.format, bits < 8
      else { return nil }
      let grid = ScaleGrid(
        weights.granularity, outFeatures: reader.outFeatures, inFeatures: reader.inFeatures)
      return grid.columnsPerScale
    }
    let size = sizes.max() ?? 0
    let isFedBack = keepsMoments && readers.contains { feedsBack($0.name) }
    return InputStatistics(
      channels: linear.inFeatures, groupSize: tokens >= Self.tokensPerMoment * size ? size : 0,
      keepsMoments: isFedBack && tokens >= linear.inFeatures / 2, precision: layer.precision)
  }
}
