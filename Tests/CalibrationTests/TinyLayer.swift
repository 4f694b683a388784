import Calibration
import Kernels
import Quantization
import Tensors
import TestSupport

@testable import Models

/// A small decoder layer with random weights as a checkpoint would hold them.
struct TinyLayer {
  let layer: DecoderLayer
  let rotary: RotaryTable
  let hiddenSize: Int
  let type: DType

  init(
    seed: UInt64 = 1, hiddenSize: Int = 64, heads: Int = 4, keyValueHeads: Int = 2, headDimension: Int = 16,
    intermediateSize: Int = 96, type: DType = .bfloat16
  ) {
    var generator = SeededGenerator(seed: seed)
    func stored(_ values: [Float]) -> [Float] { Tensor([values.count], floats: values, as: type).floats() }
    func linear(_ name: String, _ outFeatures: Int, _ inFeatures: Int) -> Linear {
      let spread = 1 / Float(inFeatures).squareRoot()
      let weight = generator.normals(outFeatures * inFeatures).map { $0 * spread }
      return Linear(
        name: name, weight: .matrix(Matrix(rows: outFeatures, columns: inFeatures, values: stored(weight))),
        bias: stored(generator.normals(outFeatures).map { $0 * 0.5 }))
    }
    func norm() -> [Float] { stored(generator.normals(hiddenSize).map { 0.2 + abs($0) }) }
    let (queries, keys) = (heads * headDimension, keyValueHeads * headDimension)
    layer = DecoderLayer(
      inputNorm: norm(),
      attention: Attention(
        q: linear("q", queries, hiddenSize), k: linear("k", keys, hiddenSize), v: linear("v", keys, hiddenSize),
        o: linear("o", hiddenSize, queries),
        attention: CausalAttention(
          heads: heads, keyValueHeads: keyValueHeads, headDimension: headDimension,
          scale: 1 / Float(headDimension).squareRoot())),
      postAttentionNorm: norm(),
      feedForward: GatedFeedForward(
        gate: linear("gate", intermediateSize, hiddenSize), up: linear("up", intermediateSize, hiddenSize),
        down: linear("down", hiddenSize, intermediateSize)),
      normEpsilon: 1e-6)
    rotary = RotaryEmbedding(base: 10_000, dimension: headDimension).table(positions: 512)
    self.hiddenSize = hiddenSize
    self.type = type
  }

  /// Hidden states whose channels `loud` are `factor` times the others, and not around zero.
  func hiddenStates(_ tokens: Int, seed: UInt64, loud: [Int] = [3, 17, 40], factor: Float = 30) -> Matrix {
    var generator = SeededGenerator(seed: seed)
    var hidden = Matrix(rows: tokens, columns: hiddenSize, values: generator.normals(tokens * hiddenSize))
    for token in 0..<tokens {
      for channel in loud { hidden[token, channel] = factor * (hidden[token, channel] + 1) }
    }
    return hidden
  }

  /// What a layer makes of hidden states.
  func output(_ layer: DecoderLayer, _ hidden: Matrix) -> Matrix {
    var hidden = hidden
    layer(&hidden, sequences: Sequences(lengths: [hidden.rows]), rotary: rotary)
    return hidden
  }

  /// Calibrates on some hidden states and judges on others.
  func observation(
    _ schemes: [String: QuantizationScheme], folds: [Fold] = Fold.gatedDecoder, calibration: Matrix, heldOut: Matrix
  ) -> LayerObservation {
    var (calibration, heldOut) = (calibration, heldOut)
    var observation = LayerObservation(
      layer: layer, folds: folds, schemes: schemes, heldOutSequences: Sequences(lengths: [heldOut.rows]))
    observation.run(layer, &calibration, sequences: Sequences(lengths: [calibration.rows]), rotary: rotary)
    observation.runHeldOut(layer, &heldOut, rotary: rotary)
    return observation
  }

  /// Quantizes with AWQ.
  func quantized(
    _ schemes: [String: QuantizationScheme], folds: [Fold] = Fold.gatedDecoder, method: Calibration.Method = .awq,
    calibration: Matrix, heldOut: Matrix
  ) -> QuantizedLayer {
    quantizer(schemes, folds: folds, method: method).quantized(
      observation(schemes, folds: folds, calibration: calibration, heldOut: heldOut), rotary: rotary)
  }

  func quantizer(
    _ schemes: [String: QuantizationScheme], folds: [Fold] = Fold.gatedDecoder, method: Calibration.Method = .awq
  ) -> LayerQuantizer {
    LayerQuantizer(
      layer: layer, folds: folds, schemes: schemes, methods: schemes.mapValues { _ in method }, storedType: type)
  }
}

extension DecoderLayer {
  /// A linear's weights.
  func matrix(_ name: String) -> Matrix {
    guard case .matrix(let matrix) = self[linear: name].weight else { return Matrix(rows: 0, columns: 0) }
    return matrix
  }

  /// The layer as a runtime would load it.
  func replacing(_ result: QuantizedLayer) -> DecoderLayer {
    var layer = self
    for (name, weight) in result.weights {
      switch weight {
      case .quantized(let tensor): layer[linear: name].weight = .matrix(tensor.dequantized())
      case .folded(let matrix): layer[linear: name].weight = .matrix(matrix)
      case .unchanged: break
      }
    }
    for (name, norm) in result.norms { layer[norm: name] = norm }
    for (name, bias) in result.biases { layer[linear: name].bias = bias }
    return layer
  }
}

extension QuantizedLayer {
  /// The codes of a linear; fails the test by being empty where it is not quantized.
  func tensor(_ name: String) -> QuantizedTensor? {
    guard case .quantized(let tensor)? = weights[name] else { return nil }
    return tensor
  }

  /// Everything in it, bit for bit.
  var bits: [String: [UInt32]] {
    var result: [String: [UInt32]] = [:]
    for (name, weight) in weights {
      switch weight {
      case .quantized(let tensor):
        result[name] =
          tensor.codes.map { UInt32($0) } + tensor.scales.map(\.bitPattern)
          + (tensor.zeroPoints ?? []).map { UInt32(UInt8(bitPattern: $0)) }
      case .folded(let matrix): result[name] = matrix.values.map(\.bitPattern)
      case .unchanged: result[name] = []
      }
    }
    for (name, norm) in norms { result[name] = norm.map(\.bitPattern) }
    for (name, bias) in biases { result[name + ".bias"] = bias.map(\.bitPattern) }
    return result
  }
}

extension Matrix {
  /// Root of the squared difference, relative to the root of the other's square.
  func distance(to other: Matrix) -> Double {
    var (difference, square) = (0.0, 0.0)
    for (a, b) in zip(values, other.values) {
      difference += Double(a - b) * Double(a - b)
      square += Double(b) * Double(b)
    }
    return (difference / square).squareRoot()
  }
}

extension QuantizationScheme {
  /// The same scheme for every linear of a layer.
  func forAll(except kept: [String] = []) -> [String: QuantizationScheme] {
    Dictionary(uniqueKeysWithValues: DecoderLayer.linearNames.filter { !kept.contains($0) }.map { ($0, self) })
  }
}
