internal import Kernels
internal import Models
internal import Tensors

/// Moves channel factors out of a source and into the linears that read it, exactly as stored.
struct ChannelFolding {
  let fold: Fold
  /// The factor that belongs to each input channel of the readers.
  let sourceChannel: [Int]
  /// The source's row that each factor divides; empty for norms.
  let sourceRows: [Int]
  /// What is stored beside the source's weights and is divided too: a norm's weights, or a linear's bias.
  let pinned: [Float]?
  private let norm: Norm?
  /// Element type of what is pinned.
  let storedType: DType
  /// Whether some weights that take part are stored as floats.
  let hasFloatWeights: Bool

  init(
    _ fold: Fold, layer: DecoderLayer, bias: (String) -> [Float]?, storedType: DType, isQuantized: (String) -> Bool
  ) {
    self.fold = fold
    self.storedType = storedType
    let inputs = fold.linears.first.flatMap { layer.layout.linear($0)?.inFeatures } ?? 0
    switch fold.source {
    case .norm(let name):
      sourceChannel = Array(0..<inputs)
      sourceRows = []
      norm = layer.norms[name]
      pinned = norm?.gains
      hasFloatWeights = !fold.linears.allSatisfy(isQuantized)
    case .rows(let name, let map):
      let rows = (0..<inputs).map(map.row)
      let distinct = Set(rows).sorted()
      let places = Dictionary(uniqueKeysWithValues: distinct.enumerated().map { ($1, $0) })
      sourceRows = distinct
      sourceChannel = rows.map { places[$0] ?? 0 }
      norm = nil
      pinned = bias(name).map { bias in distinct.map { bias[$0] } }
      hasFloatWeights = !(fold.linears + [name]).allSatisfy(isQuantized)
    }
  }

  /// The factors nearest to `scales` under which everything that is stored as floats stays exact.
  ///
  /// A norm's weight n is stored as n′ = rounded(n / s); the linears are multiplied by n / n′ rather than s, or every
  /// channel would be off by the rounding. Weights that stay floats allow powers of two only.
  func storable(_ scales: [Float]) -> [Float] {
    let scales = hasFloatWeights ? scales.map(Self.nearestPowerOfTwo) : scales
    guard let pinned else { return scales }
    let stored = rounded(zip(pinned, scales).map { $0 / $1 })
    return zip(zip(pinned, stored), scales).map { pair, scale in
      if pair.0 == 0 { return scale }
      let effective = pair.0 / pair.1
      // Where the stored type cannot hold the quotient, the channel stays as it was.
      let isStorable = hasFloatWeights ? effective == scale : effective.isFinite && effective > 0
      return isStorable ? effective : 1
    }
  }

  static func nearestPowerOfTwo(_ x: Float) -> Float {
    let significand = x.significand
    return Float(sign: .plus, exponent: x.exponent + (significand > Float(2).squareRoot() ? 1 : 0), significand: 1)
  }

  /// What is pinned, divided by the factors, as it is stored; what is not divided is not rounded.
  ///
  /// The whole bias of a source is given back, its other entries untouched.
  func foldedPin(_ scales: [Float], bias: [Float]? = nil) -> [Float]? {
    guard let pinned else { return nil }
    let stored = rounded(zip(pinned, scales).map { $0 / $1 })
    let folded = pinned.indices.map { scales[$0] == 1 ? pinned[$0] : stored[$0] }
    guard norm == nil, var whole = bias else { return folded }
    for (index, row) in sourceRows.enumerated() { whole[row] = folded[index] }
    return whole
  }

  private func rounded(_ values: [Float]) -> [Float] {
    norm?.storable(values, as: storedType) ?? Tensor([values.count], floats: values, as: storedType).floats()
  }

  /// The factor of each input channel of the readers.
  func columnFactors(_ scales: [Float]) -> [Float] { sourceChannel.map { scales[$0] } }

  /// The divisor of each row of a source of so many rows.
  func rowDivisors(_ scales: [Float], outFeatures: Int) -> [Float] {
    var divisors = [Float](repeating: 1, count: outFeatures)
    for (index, row) in sourceRows.enumerated() { divisors[row] = scales[index] }
    return divisors
  }
}
