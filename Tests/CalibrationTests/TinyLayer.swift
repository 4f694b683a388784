import Kernels
import Quantization
import Tensors
import TestSupport

@testable import Calibration
@testable import Models

/// A small decoder layer with random weights as a checkpoint would hold them.
struct TinyLayer {
  var layer: DecoderLayer
  let tables: [RotaryTable]
  let hiddenSize: Int
  let type: DType

  init(
    seed: UInt64 = 1, hiddenSize: Int = 64, heads: Int = 4, keyValueHeads: Int = 2, headDimension: Int = 16,
    intermediateSize: Int = 96, type: DType = .bfloat16
  ) {
    var attention = GroupedAttention(heads: heads, keyValueHeads: keyValueHeads, headDimension: headDimension)
    attention.hasQueryKeyValueBias = true
    attention.hasOutputBias = true
    var feedForward = DenseFeedForward(width: intermediateSize)
    feedForward.hasBias = true
    self.init(
      LayerConfiguration(attention: .grouped(attention), feedForward: .dense(feedForward)), hiddenSize: hiddenSize,
      headDimension: headDimension, type: type, seed: seed)
  }

  /// Any layer, its modules drawn in checkpoint order.
  init(
    _ configuration: LayerConfiguration, hiddenSize: Int, headDimension: Int, type: DType = .bfloat16, seed: UInt64 = 1
  ) {
    var generator = SeededGenerator(seed: seed)
    func stored(_ values: [Float]) -> [Float] { Tensor([values.count], floats: values, as: type).floats() }
    let layout = LayerLayout(configuration, hiddenSize: hiddenSize)
    var (norms, linears): ([String: Norm], [String: Linear]) = ([:], [:])
    for module in layout.modules {
      switch module {
      case .norm(let name, let shape):
        let count = shape.elementCount ?? 0
        norms[name] = Norm(NormStyle(), stored: stored(generator.normals(count).map { 0.2 + abs($0) }))
      case .linear(let linear):
        let spread = 1 / Float(linear.inFeatures).squareRoot()
        let weight = generator.normals(linear.outFeatures * linear.inFeatures).map { $0 * spread }
        linears[linear.name] = Linear(
          name: linear.name,
          weight: .rows(
            WeightRows(
              Matrix(rows: linear.outFeatures, columns: linear.inFeatures, values: stored(weight)), storedType: type)),
          bias: linear.bias == .none ? nil : stored(generator.normals(linear.outFeatures).map { $0 * 0.5 }))
      case .vector: break
      }
    }
    layer = DecoderLayer(configuration: configuration, layout: layout, norms: norms, vectors: [:], linears: linears) {
      (linear: LayerLayout.Linear) throws(ModelError) -> Linear in preconditionFailure("\(linear.name) is held")
    }
    tables = [RotaryEmbedding(base: 10_000, dimension: headDimension).table(positions: 512)]
    self.hiddenSize = hiddenSize
    self.type = type
  }

  /// Linears in checkpoint order.
  var names: [String] { layer.layout.linears.map(\.name) }

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
  func output(_ layer: DecoderLayer, _ hidden: Matrix, tap: Tap? = nil) throws -> Matrix {
    let states = HiddenStates(hidden, Sequences(lengths: [hidden.rows]))
    try layer(states, tables: tables, tap: tap)
    return try states.read(0)
  }

  /// What a block adds to hidden states.
  func delta(_ layer: DecoderLayer, _ block: LayerBlock, _ hidden: Matrix) throws -> Matrix {
    try layer.delta(block, of: hidden, sequences: Sequences(lengths: [hidden.rows]), tables: tables)
  }

  /// Quantizes, calibrating on some hidden states and judging on others; everything is asked for in checkpoint order.
  func quantized(
    _ schemes: [String: QuantizationScheme], folds: Bool = true, method: Calibration.Method = .awq,
    calibration: Matrix, heldOut: Matrix
  ) throws -> TinyResult {
    let states = try CalibrationStates(
      search: HiddenStates(calibration, Sequences(lengths: [calibration.rows])),
      heldOut: HiddenStates(heldOut, Sequences(lengths: [heldOut.rows])), reserve: nil)
    return try TinyResult(quantizer(schemes, folds: folds, method: method), states, tables)
  }

  /// Rounds to nearest without looking at any text.
  func rounded(_ schemes: [String: QuantizationScheme]) throws -> TinyResult {
    try TinyResult(quantizer(schemes), nil, tables)
  }

  /// A quantizer; without folds, their sources are said to be pinned, which keeps nothing from being rounded.
  func quantizer(
    _ schemes: [String: QuantizationScheme], folds: Bool = true, method: Calibration.Method = .awq
  ) -> LayerQuantizer {
    LayerQuantizer(
      layer: layer, schemes: schemes, methods: schemes.mapValues { _ in method }, storedType: type,
      pinned: folds ? [] : Set(layer.layout.folds.map(\.sourceName)))
  }

  /// The same scheme for every linear but routers.
  func all(_ scheme: QuantizationScheme, except kept: [String] = []) -> [String: QuantizationScheme] {
    Dictionary(
      uniqueKeysWithValues: layer.layout.linears.filter { !$0.isRouter && !kept.contains($0.name) }
        .map { ($0.name, scheme) })
  }
}

/// Everything that a session gives.
struct TinyResult {
  var weights: [String: PreparedWeight] = [:]
  /// As they are stored.
  var norms: [String: [Float]] = [:]
  var biases: [String: [Float]] = [:]
  var folds: [FoldOutcome] = []
  var inputMaxima: [String: Float] = [:]
  var experts: ExpertUse?

  init(_ quantizer: LayerQuantizer, _ states: CalibrationStates?, _ tables: [RotaryTable], quota: Int = 0) throws {
    let session = LayerSession(quantizer, states: states, tables: tables, quota: quota)
    for module in quantizer.layer.layout.modules {
      switch module {
      case .norm(let name, _): norms[name] = try session.norm(name)
      case .linear(let linear):
        weights[linear.name] = try session.weight(linear.name)
        biases[linear.name] = try session.bias(linear.name)
        inputMaxima[linear.name] = session.inputMaximum(linear.name)
      case .vector: break
      }
    }
    try session.finish()
    folds = session.folds
    experts = session.expertUse
  }

  /// The codes of a linear; `nil` where it is not quantized.
  func tensor(_ name: String) -> QuantizedTensor? {
    guard let weight = weights[name], weight.scheme != nil else { return nil }
    return weight.quantized()
  }

  /// Everything in it, bit for bit; nothing for linears that stay as they were.
  var bits: [String: [UInt32]] {
    var result: [String: [UInt32]] = [:]
    for (name, weight) in weights {
      if let tensor = tensor(name) {
        result[name] =
          tensor.codes.map { UInt32($0) } + tensor.scales.map(\.bitPattern)
          + (tensor.zeroPoints ?? []).map { UInt32(UInt8(bitPattern: $0)) }
      } else {
        result[name] = weight.isFolded ? weight.kept().floats().map(\.bitPattern) : []
      }
    }
    for (name, norm) in norms { result[name] = norm.map(\.bitPattern) }
    for (name, bias) in biases { result[name + ".bias"] = bias.map(\.bitPattern) }
    return result
  }

  /// Whether all codes, norms and biases stand for finite numbers.
  var isFinite: Bool {
    bits.isEmpty == false
      && weights.values.allSatisfy { $0.scheme == nil || $0.quantized().dequantized().firstNonFinite == nil }
      && norms.values.allSatisfy { $0.allSatisfy { $0.isFinite } }
      && biases.values.allSatisfy { $0.allSatisfy { $0.isFinite } }
  }
}

extension DecoderLayer {
  /// A linear's weights.
  func matrix(_ name: String) throws -> Matrix { try linear(name).rows.matrix() }

  /// Puts other weights or another bias in place of a linear's.
  mutating func set(_ name: String, _ weight: Matrix? = nil, bias: [Float]? = nil) throws {
    var linear = try linear(name)
    if let weight { linear.weight = .matrix(weight) }
    if let bias { linear.bias = bias }
    replace(name, by: linear)
  }

  /// The layer as a runtime would load it.
  func replacing(_ result: TinyResult) throws -> DecoderLayer {
    var layer = self
    for (name, weight) in result.weights {
      if let tensor = result.tensor(name) {
        try layer.set(name, tensor.dequantized())
      } else if weight.isFolded {
        let kept = weight.kept()
        try layer.set(name, Matrix(rows: kept.shape[0], columns: kept.shape[1], values: kept.floats()))
      }
    }
    for (name, stored) in result.norms {
      layer.norms[name] = layer.norms[name].map { Norm($0.style, stored: stored) }
    }
    for (name, bias) in result.biases { try layer.set(name, bias: bias) }
    return layer
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
