public import Checkpoints
public import Kernels
internal import Quantization
public import Tensors

/// A decoder-only language model over a checkpoint; layers are loaded when asked for, and nothing is kept.
public struct LanguageModel: Sendable {
  /// The files.
  public private(set) var checkpoint: Checkpoint
  /// The numbers.
  public let configuration: ModelConfiguration
  /// How the tensors are called.
  public let names: TensorNames
  /// How `checkpoint` stores quantized linears, if it does.
  public let quantization: StoredQuantization?
  /// What each layer's tensors are.
  public let layouts: [LayerLayout]
  /// What is rounded besides the weights; nothing unless it is asked for.
  public var rounding = RuntimeRounding.none

  /// Reads the configuration and checks that every tensor the model needs is there in the right shape.
  public init(_ checkpoint: Checkpoint) throws(ModelError) {
    self.checkpoint = checkpoint
    var configuration = try Architecture.configuration(
      of: ConfigurationReader(checkpoint.configuration, file: checkpoint.configurationFile))
    names = TensorNames.of { checkpoint.weights.info($0) != nil }
    if configuration.tiesEmbeddings && configuration.assumesTie {
      configuration.tiesEmbeddings = !TensorNames.isLinear(names.head) { checkpoint.weights.info($0) != nil }
    }
    do throws(CheckpointError) { quantization = try StoredQuantization.of(checkpoint) } catch {
      throw .checkpoint(error)
    }
    var known: [LayerConfiguration: LayerLayout] = [:]
    let hidden = configuration.hiddenSize
    layouts = configuration.layers.map { layer in
      if let layout = known[layer] { return layout }
      let layout = LayerLayout(layer, hiddenSize: hidden)
      known[layer] = layout
      return layout
    }
    self.configuration = configuration
    try checkTensors()
  }

  // MARK: Names

  /// The prefix of a layer's tensors.
  public func layerPrefix(_ index: Int) -> String { names.layer(index) }

  /// Names of all linears of the decoder layers, in layer order, such as `model.layers.0.self_attn.q_proj`.
  public var linearNames: [String] {
    layouts.indices.flatMap { layer in layouts[layer].linears.map { layerPrefix(layer) + $0.name } }
  }

  /// What is known of a linear by its full name; `nil` for both ends of the model.
  ///
  /// Layers behind the last one, which predict further tokens, are as the last one is.
  public func linear(named name: String) -> LayerLayout.Linear? {
    guard let (layer, local) = names.place(name), layer < layouts.count + configuration.predictionLayers else {
      return nil
    }
    return layouts[min(layer, layouts.count - 1)].linear(local)
  }

  /// Extents of a linear by its full name, `[outFeatures, inFeatures]`; the embedding and the head are linears too.
  public func shape(ofLinear name: String) -> (outFeatures: Int, inFeatures: Int) {
    linear(named: name).map { ($0.outFeatures, $0.inFeatures) }
      ?? (configuration.vocabularySize, configuration.hiddenSize)
  }

  /// The tensor that holds a linear's weight in full precision.
  public func weightTensor(ofLinear name: String) -> String {
    guard let (layer, _) = names.place(name), let stack = linear(named: name)?.stack else { return name + ".weight" }
    return layerPrefix(layer) + stack.tensor
  }

  /// What the checkpoint stores for a linear's weights, its bias left out.
  ///
  /// Of experts that share a tensor, each names the whole.
  public func storedTensors(ofLinear name: String) -> [TensorInfo] {
    if let quantization, quantization.scheme(of: name) != nil {
      return quantization.storedTensors(of: name, in: checkpoint.weights)
    }
    return checkpoint.weights.info(weightTensor(ofLinear: name)).map { [$0] } ?? []
  }

  /// The full-precision type of a linear's weights, in which scales and kept values are stored.
  public func storedType(ofLinear name: String) throws(ModelError) -> DType {
    if let quantization, quantization.scheme(of: name) != nil { return quantization.storedType }
    let tensor = weightTensor(ofLinear: name)
    guard let info = checkpoint.weights.info(tensor) else {
      throw .checkpoint(.missingTensor(tensor, file: checkpoint.name))
    }
    return info.dtype
  }

  // MARK: Loading

  /// Takes what an earlier run has made of the same files out of a cache.
  ///
  /// - Throws: where the cache's linears and tensors are not the model's.
  public mutating func use(_ cache: WeightCache) throws(ModelError) {
    for (name, matrix) in cache.matrices {
      let expected = shape(ofLinear: name)
      guard quantization?.scheme(of: name) != nil, checkpoint.adapter == nil,
        (matrix.outFeatures, matrix.inFeatures) == expected
      else { throw .tensor(file: cache.path, name: name, problem: "the model has no such linear") }
    }
    let model = checkpoint
    checkpoint = try wrapped { () throws(CheckpointError) in try model.cached(by: cache) }
  }

  private func wrapped<Result>(_ body: () throws(CheckpointError) -> Result) throws(ModelError) -> Result {
    do throws(CheckpointError) { return try body() } catch { throw .checkpoint(error) }
  }

  /// Reads a tensor as it is stored.
  public func tensor(_ name: String) throws(ModelError) -> Tensor {
    try wrapped { () throws(CheckpointError) in try checkpoint.weights.tensor(name) }
  }

  /// Loads a linear by its full name.
  public func linear(_ name: String) throws(ModelError) -> Linear {
    let layout = linear(named: name)
    let (rows, columns) = shape(ofLinear: name)
    var result = Linear(name: name, weight: .matrix(Matrix(rows: 0, columns: columns)), bias: try bias(name, layout))
    if let quantization, quantization.scheme(of: name) != nil {
      // Our own artifacts, and what runtimes read, are multiplied with as they are; other layouts are decoded.
      let packed = try wrapped { () throws(CheckpointError) -> PackedMatrix? in
        if let kept = checkpoint.cache?.matrices[name] { return kept }
        guard quantization.isMultipliedAsStored, checkpoint.adapter == nil else { return nil }
        return try quantization.packed(
          name, outFeatures: rows, inFeatures: columns, from: checkpoint.weights, file: checkpoint.name)
      }
      if let packed {
        result.weight = .quantized(packed)
      } else {
        let weight = try wrapped { () throws(CheckpointError) in
          try quantization.weight(
            of: name, outFeatures: rows, inFeatures: columns, from: checkpoint.weights, file: checkpoint.name)
        }
        result.weight = .rows(weight.rows)
        result.codes = weight
      }
      let roundsInput =
        rounding.products == .int8 || (rounding.products == .chosen && !quantization.keepsInputFloat(name))
      result.activations = roundsInput ? .int8 : .float
      if rounding.activations {
        result.inputRounding = try wrapped { () throws(CheckpointError) in
          try quantization.activationRounding(
            of: name, inFeatures: columns, from: checkpoint.weights, file: checkpoint.name)
        }
      }
    } else if let layout, let stack = layout.stack {
      let all = try tensor(weightTensor(ofLinear: name))
      result.weight =
        layout.isTransposed(in: all.shape) ?? false
        ? .rows(WeightRows(transposing: all, index: stack.index))
        : .dense(all.rows(stack.index..<stack.index + 1).reshaped(to: [rows, columns]))
    } else {
      result.weight = .dense(try tensor(name + ".weight"))
    }
    if checkpoint.adapter != nil, case .rows(let rows) = result.weight {
      result.weight = .rows(try wrapped { () throws(CheckpointError) in try checkpoint.adapted(rows, module: name) })
      result.codes = nil
    }
    return result
  }

  private func bias(_ name: String, _ layout: LayerLayout.Linear?) throws(ModelError) -> [Float]? {
    switch layout?.bias {
    case .own: return try tensor(name + ".bias").floats()
    case .row(let local, let index):
      guard let (layer, _) = names.place(name) else { return nil }
      return try tensor(layerPrefix(layer) + local).rows(index..<index + 1).floats()
    case .none?: return nil
    case nil: return name == names.head && configuration.hasHeadBias ? try tensor(name + ".bias").floats() : nil
    }
  }

  /// Loads one decoder layer; its experts are loaded when tokens come to them.
  public func layer(_ index: Int) throws(ModelError) -> DecoderLayer {
    let (prefix, layout, layer) = (layerPrefix(index), layouts[index], configuration.layers[index])
    var norms: [String: Norm] = [:]
    var vectors: [String: [Float]] = [:]
    var linears: [String: Linear] = [:]
    for module in layout.modules {
      switch module {
      case .norm(let name, _):
        norms[name] = Norm(style(of: name, in: layer), stored: try tensor(prefix + name + ".weight").floats())
      case .vector(let name, _): vectors[name] = try tensor(prefix + name).floats()
      case .linear(let linear) where linear.expert == nil:
        linears[linear.name] = try self.linear(prefix + linear.name)
      case .linear: break
      }
    }
    var result = DecoderLayer(configuration: layer, layout: layout, norms: norms, vectors: vectors, linears: linears) {
      (linear: LayerLayout.Linear) throws(ModelError) in
      // Experts come one after the other; what the last one had mapped would add up to the whole layer.
      discardPages()
      return try self.linear(prefix + linear.name)
    }
    if rounding.cache, let quantization, case .grouped = layer.attention {
      result.cacheRounding = try wrapped { () throws(CheckpointError) in
        try quantization.cacheRounding(of: prefix + "self_attn", from: checkpoint.weights, file: checkpoint.name)
      }
    }
    return result
  }

  private func style(of norm: String, in layer: LayerConfiguration) -> NormStyle {
    if case .latent(let attention) = layer.attention, norm.hasPrefix("self_attn.") {
      return NormStyle(epsilon: attention.epsilon)
    }
    return layer.norms.style
  }

  /// Loads the embedding, kept for as long as the caller needs it.
  ///
  /// - Parameter table: other weights in its place.
  public func embedding(table: Linear? = nil) throws(ModelError) -> Embedding {
    let own: Linear
    if let table { own = table } else { own = try linear(names.embedding) }
    return Embedding(table: own, multiplier: configuration.embeddingMultiplier)
  }

  /// Loads the final norm and the head.
  ///
  /// - Parameter projection: other weights in its place.
  public func head(projection: Linear? = nil) throws(ModelError) -> Head {
    let own: Linear
    if let projection {
      own = projection
    } else {
      own = try linear(configuration.tiesEmbeddings ? names.embedding : names.head)
    }
    return Head(
      norm: Norm(configuration.finalNorm, stored: try tensor(names.norm + ".weight").floats()),
      projection: own,
      scale: configuration.logitScale, softcap: configuration.logitSoftcap)
  }

  /// Cosines and sines of all rotary embeddings, for texts of at most so many tokens.
  public func rotaryTables(positions: Int) -> [RotaryTable] {
    configuration.rotaries.map { $0.table(positions: positions) }
  }

  /// Gives the memory of mapped weights back; they are read again when touched.
  public func discardPages() { checkpoint.weights.discardPages() }
}

extension WeightRows {
  /// One matrix `[out, in]` out of a tensor `[count, in, out]`.
  init(transposing stack: Tensor, index: Int) {
    let (columns, rows) = (stack.shape[1], stack.shape[2])
    let matrix = stack.rows(index..<index + 1).reshaped(to: [columns * rows])
    self.init(outFeatures: rows, inFeatures: columns, storedType: stack.dtype) { range, floats in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: range.count) { line in
        for column in 0..<columns {
          matrix.rows(column * rows + range.lowerBound..<column * rows + range.upperBound).copyFloats(to: line)
          for row in 0..<range.count { floats[row * columns + column] = line[row] }
        }
      }
    }
  }
}
