public import Checkpoints
internal import Kernels
internal import Quantization
internal import StrictJSON
public import Tensors

/// A decoder-only language model over a checkpoint; layers are loaded when asked for, and nothing is kept.
public struct LanguageModel: Sendable {
  /// The files.
  public let checkpoint: Checkpoint
  /// The family.
  public let architecture: Architecture
  /// The numbers.
  public let configuration: ModelConfiguration
  /// How `checkpoint` stores quantized linears, if it does.
  public let quantization: CompressedTensorsConfiguration?

  /// Reads the configuration and checks that every tensor the model needs is there in the right shape.
  public init(_ checkpoint: Checkpoint) throws(ModelError) {
    self.checkpoint = checkpoint
    let reader = ConfigurationReader(checkpoint.configuration, file: checkpoint.configurationFile)
    architecture = try Architecture.of(reader)
    configuration = try architecture.configuration(reader)
    do throws(CheckpointError) { quantization = try checkpoint.quantization() } catch { throw .checkpoint(error) }
    try checkTensors()
  }

  /// The prefix of a layer's tensors.
  public func layerPrefix(_ index: Int) -> String { "model.layers.\(index)." }

  /// Extents of a linear within a layer, `[outFeatures, inFeatures]`.
  public func shape(ofLinear name: String) -> (outFeatures: Int, inFeatures: Int) {
    let c = configuration
    return switch name {
    case "self_attn.q_proj": (c.heads * c.headDimension, c.hiddenSize)
    case "self_attn.k_proj", "self_attn.v_proj": (c.keyValueHeads * c.headDimension, c.hiddenSize)
    case "self_attn.o_proj": (c.hiddenSize, c.heads * c.headDimension)
    case "mlp.gate_proj", "mlp.up_proj": (c.intermediateSize, c.hiddenSize)
    case "mlp.down_proj": (c.hiddenSize, c.intermediateSize)
    default: preconditionFailure("no linear \(name)")
    }
  }

  /// Whether a linear within a layer has a bias.
  public func hasBias(_ name: String) -> Bool {
    switch name {
    case "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj": configuration.hasQueryKeyValueBias
    case "self_attn.o_proj": configuration.hasOutputBias
    default: configuration.hasFeedForwardBias
    }
  }

  /// Names of all linears of the decoder layers, in layer order, such as `model.layers.0.self_attn.q_proj`.
  public var linearNames: [String] {
    (0..<configuration.layerCount).flatMap { layer in DecoderLayer.linearNames.map { layerPrefix(layer) + $0 } }
  }

  /// The name within its layer of a linear of the decoder layers.
  public func localName(_ linear: String) -> String {
    linear.split(separator: ".").dropFirst(3).joined(separator: ".")
  }

  /// What the checkpoint stores for a linear's weights, its bias and shape left out.
  public func storedTensors(ofLinear name: String) -> [TensorInfo] {
    [".weight", ".weight_packed", ".weight_scale", ".weight_zero_point"].compactMap { suffix in
      checkpoint.weights.info(name + suffix)
    }
  }

  // MARK: Loading

  private func wrapped<Result>(_ body: () throws(CheckpointError) -> Result) throws(ModelError) -> Result {
    do throws(CheckpointError) { return try body() } catch { throw .checkpoint(error) }
  }

  private func checkTensors() throws(ModelError) {
    for layer in 0..<configuration.layerCount {
      let prefix = layerPrefix(layer)
      for name in ["input_layernorm.weight", "post_attention_layernorm.weight"] {
        try check(prefix + name, [configuration.hiddenSize])
      }
      for name in DecoderLayer.linearNames {
        let (outFeatures, inFeatures) = shape(ofLinear: name)
        if quantization?.scheme(of: prefix + name) == nil {
          try check(prefix + name + ".weight", [outFeatures, inFeatures])
        }
        let bias = prefix + name + ".bias"
        if hasBias(name) {
          try check(bias, [outFeatures])
        } else if checkpoint.weights.info(bias) != nil {
          throw .tensor(file: checkpoint.name, name: bias, problem: "is there, but the configuration has no such bias")
        }
      }
    }
    try check("model.norm.weight", [configuration.hiddenSize])
    if embeddingScheme == nil {
      try check("model.embed_tokens.weight", [configuration.vocabularySize, configuration.hiddenSize])
    }
    if !configuration.tiesEmbeddings && quantization?.scheme(of: "lm_head") == nil {
      try check("lm_head.weight", [configuration.vocabularySize, configuration.hiddenSize])
    }
  }

  private func check(_ name: String, _ shape: Shape) throws(ModelError) {
    guard let info = checkpoint.weights.info(name) else {
      throw .checkpoint(.missingTensor(name, file: checkpoint.name))
    }
    guard info.shape == shape, info.dtype.isFullPrecision else {
      throw .tensor(
        file: checkpoint.name, name: name,
        problem: "is \(info.dtype.rawValue) \(info.shape), the configuration needs BF16, F16 or F32 \(shape)")
    }
  }

  /// Reads a tensor in full precision.
  public func tensor(_ name: String) throws(ModelError) -> Tensor {
    try wrapped { () throws(CheckpointError) in try checkpoint.weights.tensor(name) }
  }

  /// Loads a linear by its full name.
  public func linear(_ name: String, outFeatures: Int, inFeatures: Int, bias: Bool) throws(ModelError) -> Linear {
    let bias = bias ? try tensor(name + ".bias").floats() : nil
    if let scheme = quantization?.scheme(of: name) {
      let weight = try wrapped { () throws(CheckpointError) in
        try CompressedTensorsLayout.decode(
          linear: name, scheme.weights, outFeatures: outFeatures, inFeatures: inFeatures, from: checkpoint.weights,
          file: checkpoint.name)
      }
      return Linear(name: name, weight: .quantized(weight.packed()), bias: bias)
    }
    return Linear(name: name, weight: .dense(try tensor(name + ".weight")), bias: bias)
  }

  /// Loads one decoder layer.
  public func layer(_ index: Int) throws(ModelError) -> DecoderLayer {
    let prefix = layerPrefix(index)
    func load(_ name: String) throws(ModelError) -> Linear {
      let (outFeatures, inFeatures) = shape(ofLinear: name)
      return try linear(prefix + name, outFeatures: outFeatures, inFeatures: inFeatures, bias: hasBias(name))
    }
    let c = configuration
    return DecoderLayer(
      inputNorm: try tensor(prefix + "input_layernorm.weight").floats(),
      attention: Attention(
        q: try load("self_attn.q_proj"), k: try load("self_attn.k_proj"), v: try load("self_attn.v_proj"),
        o: try load("self_attn.o_proj"),
        attention: CausalAttention(
          heads: c.heads, keyValueHeads: c.keyValueHeads, headDimension: c.headDimension,
          scale: 1 / Float(c.headDimension).squareRoot())),
      postAttentionNorm: try tensor(prefix + "post_attention_layernorm.weight").floats(),
      feedForward: GatedFeedForward(
        gate: try load("mlp.gate_proj"), up: try load("mlp.up_proj"), down: try load("mlp.down_proj")),
      normEpsilon: c.normEpsilon)
  }

  // MARK: Both ends

  private var embeddingScheme: QuantizationScheme? { quantization?.scheme(of: "model.embed_tokens") }

  /// Loads the embedding, kept for as long as the caller needs it.
  public func embedding() throws(ModelError) -> Embedding {
    let (rows, columns) = (configuration.vocabularySize, configuration.hiddenSize)
    let table = try linear("model.embed_tokens", outFeatures: rows, inFeatures: columns, bias: false)
    return Embedding(table: table)
  }

  /// Loads the final norm and the head.
  public func head() throws(ModelError) -> Head {
    let name = configuration.tiesEmbeddings ? "model.embed_tokens" : "lm_head"
    return Head(
      norm: try tensor("model.norm.weight").floats(), normEpsilon: configuration.normEpsilon,
      projection: try linear(
        name, outFeatures: configuration.vocabularySize, inFeatures: configuration.hiddenSize, bias: false))
  }
}

/// The table of token vectors.
public struct Embedding: Sendable {
  let table: Linear

  /// Hidden states of tokens, `[tokens, hiddenSize]`.
  public func callAsFunction(_ ids: [Int]) throws(ModelError) -> Matrix {
    let (rows, columns) = (table.outFeatures, table.inFeatures)
    var values: [Float] = []
    values.reserveCapacity(ids.count * columns)
    for id in ids {
      guard (0..<rows).contains(id) else { throw .token(id: id, vocabularySize: rows) }
      switch table.weight {
      case .dense(let tensor): values += tensor.rows(id..<id + 1).floats()
      case .matrix(let matrix): values += matrix.row(id)
      case .quantized(let packed): values += packed.dequantizedRows(id..<id + 1).values
      }
    }
    return Matrix(rows: ids.count, columns: columns, values: values)
  }
}

/// The final norm and the projection onto the vocabulary.
public struct Head: Sendable {
  let norm: [Float]
  let normEpsilon: Float
  let projection: Linear

  /// Logits, `[tokens, vocabularySize]`, of hidden states after the last layer.
  public func callAsFunction(_ hidden: Matrix) -> Matrix {
    projection(hidden.rmsNormalized(weight: norm, epsilon: normEpsilon))
  }
}

extension LanguageModel {
  /// Logits of one text, all layers in turn: `[tokens, vocabularySize]`.
  public func logits(of ids: [Int], progress: (Int) -> Void = { _ in }) throws(ModelError) -> Matrix {
    guard ids.count <= configuration.maximumPositions else {
      throw .tooLong(length: ids.count, maximum: configuration.maximumPositions)
    }
    var hidden = try embedding()(ids)
    let sequences = Sequences(lengths: [ids.count])
    let rotary = configuration.rotary.table(positions: ids.count)
    for index in 0..<configuration.layerCount {
      try layer(index)(&hidden, sequences: sequences, rotary: rotary)
      progress(index)
    }
    return try head()(hidden)
  }
}
