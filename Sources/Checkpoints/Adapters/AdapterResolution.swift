internal import Tensors

/// Finds the tensors of a base that an adapter changes; whatever of the adapter finds no place is refused.
struct AdapterResolution {
  let adapter: Adapter
  let modules: BaseModules
  let isTied: Bool
  private(set) var changes: [String: TensorChange] = [:]
  private(set) var deferred: Set<String> = []
  private(set) var breaksTie = false
  private(set) var vocabularySize: Int?
  private(set) var warnings: [String] = []

  init(adapter: Adapter, modules: BaseModules, isTied: Bool) {
    self.adapter = adapter
    self.modules = modules
    self.isTied = isTied
  }

  mutating func resolve() throws(CheckpointError) {
    for module in adapter.sorted {
      if isHead(module), isTied {
        try resolveTiedHead(module)
      } else if let base = modules.find(module.name) {
        try resolve(module, in: base)
      } else {
        try resolveExperts(module, in: nil)
      }
    }
    try finishEmbedding()
    warnTargets()
  }

  private func isHead(_ module: AdapterModule) -> Bool { ModuleName.canonical(module.name) == "lm_head" }

  private func missing(_ module: AdapterModule) -> CheckpointError {
    let names = nearMisses(of: module.name, among: modules.names)
    let near = names.isEmpty ? "" : "; near: " + names.joined(separator: ", ")
    return adapter.refuse(
      module, "the base has no module of this name\(near); is it the model that the adapter was trained on?")
  }

  // MARK: Modules

  private mutating func resolve(_ module: AdapterModule, in base: BaseModules.Module) throws(CheckpointError) {
    guard adapter.configuration.parameters(of: module.name).isEmpty else {
      return try resolveExperts(module, in: base)
    }
    if module.changesWeight {
      if base.isQuantized {
        deferred.insert(base.name)
      } else {
        guard let info = base.tensors["weight"] else { throw missing(module) }
        try change(info, by: module)
      }
    }
    if module.changesBias {
      guard let info = base.tensors["bias"], info.dtype.isFullPrecision, info.shape.rank == 1 else {
        throw adapter.refuse(module, "has a bias, the base's module has none")
      }
      let adapter = adapter
      // Shapes are compared now, not when the tensor is read.
      _ = try adapter.merged(bias: [Float](repeating: 0, count: info.shape[0]), with: module)
      put(info.name, source: info, info.shape) { tensor throws(CheckpointError) in
        Tensor(info.shape, floats: try adapter.merged(bias: tensor.floats(), with: module))
      }
    }
    for (last, tensor) in module.whole.sorted(by: { $0.key < $1.key }) where last != "weight" && last != "bias" {
      guard let info = base.tensors[last] else {
        throw adapter.refuse(module, "has a \(last), the base's module has none")
      }
      try replace(info, by: tensor, of: module)
    }
  }

  private mutating func put(
    _ name: String, source: TensorInfo, _ shape: Shape,
    _ merged: @escaping @Sendable (Tensor) throws(CheckpointError) -> Tensor
  ) {
    changes[name] = TensorChange(source: source.name, shape: shape, file: adapter.weightsFile, merged: merged)
  }

  /// A tensor that is in the adapter as a whole.
  private mutating func replace(
    _ info: TensorInfo, by tensor: Tensor, of module: AdapterModule
  ) throws(CheckpointError) {
    guard tensor.shape == info.shape, info.dtype.isFullPrecision else {
      throw adapter.refuse(
        module,
        "\(ModuleName.split(info.name).last) is \(tensor.shape), the base has \(info.dtype.rawValue) \(info.shape)")
    }
    put(info.name, source: info, info.shape) { _ throws(CheckpointError) in
      Tensor(tensor.shape, floats: tensor.floats())
    }
  }

  /// A module's `weight`, under its own name or another.
  private mutating func change(
    _ info: TensorInfo, by module: AdapterModule, as name: String? = nil
  ) throws(CheckpointError) {
    guard info.shape.rank == 2 else {
      guard !module.hasLowRank, module.tokenRows == nil, let whole = module.whole["weight"] else {
        throw adapter.refuse(module, "has lora tensors, the base's weight is \(info.shape), two axes are expected")
      }
      return try replace(info, by: whole, of: module)
    }
    let adapter = adapter
    let isTransposed = adapter.configuration.isTransposed && !module.hasEmbeddingFactors && !module.factors.isEmpty
    // A dry run on a base of zeros finds every wrong shape now; columns of lengths would read it all.
    var probe = module
    if isTransposed || module.hasEmbeddingFactors { probe.magnitude = nil }
    let zeros = WeightRows(outFeatures: info.shape[0], inFeatures: info.shape[1], storedType: .float32) {
      $1.update(repeating: 0)
    }
    let result = try adapter.merged(zeros, with: probe, isTransposed: isTransposed)
    let shape: Shape = [result.outFeatures, result.inFeatures]
    put(name ?? info.name, source: info, shape) { tensor throws(CheckpointError) in
      TensorChange.collect(
        [try adapter.merged(WeightRows(tensor), with: module, isTransposed: isTransposed)], as: shape)
    }
  }
}

// MARK: Both ends

extension AdapterResolution {
  /// A head of its own for a model whose head was the embedding.
  private mutating func resolveTiedHead(_ module: AdapterModule) throws(CheckpointError) {
    guard let embedding = modules.embedding else { throw missing(module) }
    let embeddingChanges = adapter.modules[ModuleName.canonical(embedding.name)]?.changesWeight ?? false
    // What was trained tied is the same thing twice, if the file holds it twice.
    if adapter.configuration.keepsTie && embeddingChanges { return }
    guard module.changesWeight, !module.changesBias else {
      throw adapter.refuse(module, "has a bias, the base's head is its embedding")
    }
    guard !embedding.isQuantized, let info = embedding.tensors["weight"] else {
      throw adapter.refuse(module, "changes the head, which is the base's quantized embedding")
    }
    try change(info, by: module, as: modules.head?.tensors["weight"]?.name ?? Self.headName(beside: embedding.name))
    breaksTie = true
  }

  /// The head's name in a model whose embedding is called so: `language_model.` stays where it comes first.
  private static func headName(beside embedding: String) -> String {
    embedding.hasPrefix("language_model.") ? "language_model.lm_head.weight" : "lm_head.weight"
  }

  /// A tie that modules_to_save breaks, a stored copy of a tied head, and the vocabulary's size.
  private mutating func finishEmbedding() throws(CheckpointError) {
    guard let embedding = modules.embedding, let info = embedding.tensors["weight"] else { return }
    let module = adapter.modules[ModuleName.canonical(embedding.name)]
    let head = modules.head?.tensors["weight"]
    if isTied, let module, module.changesWeight, !breaksTie {
      let isCopied = adapter.configuration.isSaved(module.name) && !adapter.configuration.keepsTie
      if isCopied {
        guard !embedding.isQuantized else {
          throw adapter.refuse(module, "leaves the head as it was, which is the base's quantized embedding")
        }
        // PEFT trains a copy of the embedding and leaves the head as it was.
        warnings.append(
          "\(adapter.configuration.file): modules_to_save names \(module.name), which is tied to the head;"
            + " as in PEFT the head keeps the base's weights and is no longer tied")
        let name = head?.name ?? Self.headName(beside: embedding.name)
        put(name, source: info, info.shape) { tensor throws(CheckpointError) in
          Tensor(info.shape, floats: tensor.floats())
        }
        breaksTie = true
      } else if let head, let change = changes[info.name] {
        put(head.name, source: info, change.shape, change.merged)
      }
    }
    let rows = changes[info.name]?.shape[0] ?? info.shape[0]
    let heads = isTied && !breaksTie ? nil : changes["lm_head.weight"]?.shape[0] ?? head?.shape[0]
    if let heads, heads != rows, let module = module ?? adapter.modules["lm_head"] {
      throw adapter.refuse(module, "with it the embedding has \(rows) rows and the head \(heads)")
    }
    if rows != info.shape[0] { vocabularySize = rows }
  }

  /// Names that PEFT passes over when it looks for targets.
  private mutating func warnTargets() {
    guard case .names(let targets) = adapter.configuration.targets else { return }
    let names = modules.names
    let last = Set(names.map { ModuleName.split($0).last }).sorted()
    for target in targets where !names.contains(where: { ModuleName.matches($0, suffix: target) }) {
      let isKnown = adapter.modules.values.contains { ModuleName.matches($0.name, suffix: target) }
      guard !isKnown else { continue }
      let near = nearMisses(of: target, among: last)
      warnings.append(
        "\(adapter.configuration.file): target_modules names \(target), which the base does not have"
          + (near.isEmpty ? "" : "; near: " + near.joined(separator: ", ")))
    }
  }
}

// MARK: Experts

extension AdapterResolution {
  /// Fused experts: one tensor of three axes in the base, or each projection by itself.
  private mutating func resolveExperts(
    _ module: AdapterModule, in base: BaseModules.Module?
  ) throws(CheckpointError) {
    let parameters = adapter.configuration.parameters(of: module.name)
    guard !parameters.isEmpty, module.whole.isEmpty else { throw missing(module) }
    for parameter in parameters {
      if let info = base?.tensors[parameter] {
        try change(info, parameter, of: module, siblings: base?.tensors ?? [:])
      } else {
        try changeProjections(parameter, of: module)
      }
    }
  }

  private mutating func changeProjections(_ parameter: String, of module: AdapterModule) throws(CheckpointError) {
    let adapter = adapter
    var count = 0
    var experts: Set<Int> = []
    for base in modules.projections(of: module.name) {
      guard let projection = ExpertProjection(base.name), projection.parameter == parameter,
        projection.experts == ModuleName.canonical(module.name)
      else { continue }
      count += 1
      experts.insert(projection.index)
      guard !base.isQuantized, let info = base.tensors["weight"], info.shape.rank == 2 else {
        deferred.insert(base.name)
        continue
      }
      let zeros = WeightRows(outFeatures: info.shape[0], inFeatures: info.shape[1], storedType: .float32) {
        $1.update(repeating: 0)
      }
      _ = try adapter.merged(zeros, expert: projection, of: module)
      put(info.name, source: info, info.shape) { tensor throws(CheckpointError) in
        let rows = WeightRows(tensor)
        return TensorChange.collect([try adapter.merged(rows, expert: projection, of: module) ?? rows], as: info.shape)
      }
    }
    guard let factors = try adapter.factors(of: parameter, in: module), count > 0 else { throw missing(module) }
    guard experts.count == factors.experts, count == experts.count * (parameter == "gate_up_proj" ? 2 : 1) else {
      throw adapter.refuse(
        module,
        "its lora tensors of \(parameter) are for \(factors.experts) experts, the base has \(count) projections of"
          + " \(experts.count)")
    }
  }

  private mutating func change(
    _ info: TensorInfo, _ parameter: String, of module: AdapterModule, siblings: [String: TensorInfo]
  ) throws(CheckpointError) {
    guard let factors = try adapter.factors(of: parameter, in: module) else { throw missing(module) }
    let (outputs, inputs) = (factors.up.rows, factors.down.columns)
    // A parameter of two axes is one expert.
    let shape = info.shape.rank == 2 ? Shape([1] + info.shape.extents) : info.shape
    guard info.dtype.isFullPrecision, shape.rank == 3, shape[0] == factors.experts,
      [[outputs, inputs], [inputs, outputs]].contains(Array(shape.extents.dropFirst()))
    else {
      throw adapter.refuse(
        module,
        "its lora tensors of \(parameter) make \(factors.experts) × [\(outputs), \(inputs)], the base has"
          + " \(info.dtype.rawValue) \(info.shape)")
    }
    let isTransposed: Bool
    if outputs == inputs {
      guard let found = Self.storesTransposed(siblings) else {
        throw adapter.refuse(
          module, "\(parameter) is square, and whether the base stores it transposed is not to be told")
      }
      isTransposed = found
    } else {
      isTransposed = shape[1] == inputs
    }
    put(info.name, source: info, info.shape) { tensor throws(CheckpointError) in
      let tensor = tensor.reshaped(to: shape)
      let parts = (0..<shape[0]).map { expert in
        let part = tensor.rows(expert..<expert + 1).reshaped(to: [shape[1], shape[2]])
        return Adapter.merged(
          WeightRows(part), factors.update(of: expert, outputs: 0..<outputs, isTransposed: isTransposed))
      }
      return TensorChange.collect(parts, as: info.shape)
    }
  }

  /// Whether experts are stored `[inFeatures, outFeatures]`, as gpt-oss does; told by the two fused tensors together.
  private static func storesTransposed(_ tensors: [String: TensorInfo]) -> Bool? {
    guard let both = tensors["gate_up_proj"]?.shape, let down = tensors["down_proj"]?.shape, both.rank == 3,
      down.rank == 3
    else { return nil }
    let plain = both[1] == 2 * down[2] && both[2] == down[1]
    let transposed = both[2] == 2 * down[1] && both[1] == down[2]
    return plain == transposed ? nil : transposed
  }
}
