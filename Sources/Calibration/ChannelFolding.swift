internal import Kernels
internal import Models
internal import Tensors

/// Moves channel factors out of a source and into the linears that read it, exactly as stored.
struct ChannelFolding {
  let fold: Fold
  /// The source's channel for each input channel of the readers.
  let sourceChannel: [Int]
  /// What is stored beside the source's weights and is divided too: a norm's weight, or a linear's bias.
  let pinned: [Float]?
  /// Element type of what is pinned.
  let storedType: DType
  /// Whether some weights that take part are stored as floats.
  let hasFloatWeights: Bool

  init(_ fold: Fold, layer: DecoderLayer, storedType: DType, isQuantized: (String) -> Bool) {
    self.fold = fold
    self.storedType = storedType
    let inputs = layer[linear: fold.linears[0]].inFeatures
    switch fold.source {
    case .norm(let name):
      sourceChannel = Array(0..<inputs)
      pinned = layer[norm: name]
      hasFloatWeights = !fold.linears.allSatisfy(isQuantized)
    case .linear(let name):
      sourceChannel = Array(0..<inputs)
      pinned = layer[linear: name].bias
      hasFloatWeights = !(fold.linears + [name]).allSatisfy(isQuantized)
    case .valueHeads(let name):
      // Input h·d + c of the readers is channel c of key-value head ⌊h / repeats⌋.
      let heads = layer.attention.attention
      let (dimension, repeats) = (heads.headDimension, heads.heads / heads.keyValueHeads)
      sourceChannel = (0..<inputs).map { $0 / dimension / repeats * dimension + $0 % dimension }
      pinned = layer[linear: name].bias
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
  func foldedPin(_ scales: [Float]) -> [Float]? {
    guard let pinned else { return nil }
    let stored = rounded(zip(pinned, scales).map { $0 / $1 })
    return pinned.indices.map { scales[$0] == 1 ? pinned[$0] : stored[$0] }
  }

  private func rounded(_ values: [Float]) -> [Float] {
    Tensor([values.count], floats: values, as: storedType).floats()
  }

  /// A reader's weights, `[outFeatures, inFeatures]`, columns multiplied.
  func multiplied(_ weight: Matrix, by scales: [Float]) -> Matrix {
    let factors = sourceChannel.map { scales[$0] }
    var result = weight
    result.values.withUnsafeMutableBufferPointer { values in
      for row in 0..<weight.rows {
        for column in 0..<weight.columns { values[row * weight.columns + column] *= factors[column] }
      }
    }
    return result
  }

  /// A source's weights, rows divided.
  func divided(_ weight: Matrix, by scales: [Float]) -> Matrix {
    var result = weight
    result.values.withUnsafeMutableBufferPointer { values in
      for row in 0..<weight.rows {
        for column in 0..<weight.columns { values[row * weight.columns + column] /= scales[row] }
      }
    }
    return result
  }
}
