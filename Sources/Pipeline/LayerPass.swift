internal import Calibration
internal import Checkpoints
internal import Kernels
internal import Models
internal import Quantization
internal import Reports
internal import Tensors

/// The one pass over a model: hidden states move up layer by layer, and each unit is quantized as they pass.
struct LayerPass {
  /// What one unit became.
  struct Result {
    /// The tensors to write, in the plan's order.
    var tensors: [(name: String, tensor: Tensor)] = []
    var folds: [FoldOutcome] = []
  }

  private let model: LanguageModel
  private let plans: [String: LinearPlan]
  private let chunks: [[[Int]]]
  private let heldOutSequences: Sequences
  private let rotary: RotaryTable
  private var streams: [Matrix] = []
  private var heldOut = Matrix(rows: 0, columns: 0)
  private let calibrates: Bool

  /// Tokens on which folds are judged.
  private static let heldOutTokens = 2048

  init(model: LanguageModel, plan: QuantizationPlan, windows: TokenWindows?) throws {
    self.model = model
    plans = Dictionary(uniqueKeysWithValues: plan.linears.map { ($0.name, $0) })
    calibrates = windows != nil
    guard let windows else {
      chunks = []
      heldOutSequences = Sequences(lengths: [])
      rotary = model.configuration.rotary.table(positions: 0)
      return
    }
    let (search, judged) = windows.splitHeldOut
    var kept: [[Int]] = []
    for window in judged where kept.isEmpty || kept.reduce(0, { $0 + $1.count }) + window.count <= Self.heldOutTokens {
      kept.append(window)
    }
    let chunks = Sequences.chunks(search)
    self.chunks = chunks
    heldOutSequences = Sequences(lengths: kept.map(\.count))
    rotary = model.configuration.rotary.table(positions: windows.windows.map(\.count).max() ?? 0)
    let embedding = try model.embedding()
    streams = try chunks.map { try embedding($0.flatMap(\.self)) }
    heldOut = try embedding(kept.flatMap(\.self))
  }

  /// Moves the hidden states through a unit that is written already.
  mutating func skip(_ unit: QuantizationPlan.Unit) throws {
    guard calibrates, let index = unit.layer else { return }
    let layer = try model.layer(index)
    for chunk in chunks.indices {
      layer(&streams[chunk], sequences: Sequences(lengths: chunks[chunk].map(\.count)), rotary: rotary)
    }
    layer(&heldOut, sequences: heldOutSequences, rotary: rotary)
  }

  /// Quantizes a unit.
  mutating func run(_ unit: QuantizationPlan.Unit) throws -> Result {
    var result = Result()
    let quantized = try unit.layer.map { try quantize(layer: $0) }
    result.folds = quantized?.folds ?? []
    let prefix = unit.layer.map(model.layerPrefix) ?? ""
    for step in unit.steps {
      switch step {
      case .keep(let name): result.tensors.append((name, try kept(name, prefix: prefix, quantized)))
      case .quantize(let plan):
        guard let scheme = plan.scheme else { continue }
        let tensor: QuantizedTensor
        if let quantized {
          guard case .quantized(let found)? = quantized.weights[String(plan.name.dropFirst(prefix.count))] else {
            preconditionFailure("\(plan.name) was planned to be quantized")
          }
          tensor = found
        } else {
          let weight = try model.tensor(plan.name + ".weight")
          try requireFinite(weight, plan.name + ".weight")
          tensor = RoundToNearest.quantized(
            Matrix(weight), as: scheme.weights, scaleType: try QuantizationPlan.storedScaleType(plan, model))
        }
        result.tensors += CompressedTensorsLayout.encode(tensor, linear: plan.name)
        if case .staticPerTensor = scheme.activations {
          let maximum = quantized?.inputMaxima[String(plan.name.dropFirst(prefix.count))] ?? 0
          let scale = maximum > 0 ? maximum / 448 : 1
          result.tensors.append(
            (plan.name + ".input_scale", Tensor([1], floats: [scale], as: tensor.scaleType)))
        }
      }
    }
    return result
  }

  private mutating func quantize(layer index: Int) throws -> QuantizedLayer {
    let layer = try model.layer(index)
    let prefix = model.layerPrefix(index)
    var schemes: [String: QuantizationScheme] = [:]
    var methods: [String: Method] = [:]
    for name in DecoderLayer.linearNames {
      if case .dense(let weight) = layer[linear: name].weight { try requireFinite(weight, prefix + name + ".weight") }
      schemes[name] = plans[prefix + name]?.scheme
      methods[name] = plans[prefix + name]?.method
    }
    guard let storedType = model.checkpoint.weights.info(prefix + DecoderLayer.linearNames[0] + ".weight")?.dtype else {
      preconditionFailure("a loaded layer has weights")
    }
    let quantizer = LayerQuantizer(
      layer: layer, folds: model.architecture.folds, schemes: schemes, methods: methods, storedType: storedType)
    guard calibrates else { return quantizer.roundedToNearest() }
    var observation = LayerObservation(
      layer: layer, folds: model.architecture.folds, schemes: schemes, heldOutSequences: heldOutSequences)
    for chunk in chunks.indices {
      observation.run(
        layer, &streams[chunk], sequences: Sequences(lengths: chunks[chunk].map(\.count)), rotary: rotary)
      if let bad = streams[chunk].firstNonFinite {
        throw PipelineError.input(
          "\(model.checkpoint.name): layer \(index) gives values that are not finite "
            + "(calibration text, token \(bad / streams[chunk].columns) of part \(chunk)); the weights are damaged")
      }
    }
    observation.runHeldOut(layer, &heldOut, rotary: rotary)
    return quantizer.quantized(observation, rotary: rotary)
  }

  /// A tensor that is not quantized, with what folding made of it.
  private func kept(_ name: String, prefix: String, _ quantized: QuantizedLayer?) throws -> Tensor {
    let tensor = try model.tensor(name)
    try requireFinite(tensor, name)
    guard let quantized else { return tensor }
    let local = String(name.dropFirst(prefix.count))
    let module = String(local.prefix(upTo: local.lastIndex(of: ".") ?? local.endIndex))
    var floats: [Float]?
    if local.hasSuffix(".bias") {
      floats = quantized.biases[module]
    } else if let norm = quantized.norms[module] {
      floats = norm
    } else if case .folded(let matrix)? = quantized.weights[module] {
      floats = matrix.values
    }
    return floats.map { Tensor(tensor.shape, floats: $0, as: tensor.dtype) } ?? tensor
  }

  private func requireFinite(_ tensor: Tensor, _ name: String) throws {
    try Self.requireFinite(tensor, name, of: model)
  }

  /// Refuses a tensor that holds NaN or infinity, with the first place.
  static func requireFinite(_ tensor: Tensor, _ name: String, of model: LanguageModel) throws {
    guard tensor.dtype.isFullPrecision, let index = tensor.firstNonFinite else { return }
    let place =
      tensor.shape.rank == 2 ? "row \(index / tensor.shape[1]), column \(index % tensor.shape[1])" : "element \(index)"
    throw PipelineError.input(
      "\(model.checkpoint.name): tensor \"\(name)\" holds NaN or infinity at \(place); the checkpoint is damaged")
  }
}
