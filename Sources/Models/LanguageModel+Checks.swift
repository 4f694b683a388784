internal import Checkpoints
internal import Tensors

extension LanguageModel {
  /// Checks that every tensor the model needs is there in the right shape, and that none is beside them which the
  /// configuration denies.
  func checkTensors() throws(ModelError) {
    for index in layouts.indices {
      let prefix = layerPrefix(index)
      for module in layouts[index].modules {
        switch module {
        case .norm(let name, let shape): try check(prefix + name + ".weight", shape)
        case .vector(let name, let count): try check(prefix + name, [count])
        case .linear(let linear): try check(linear, prefix)
        }
      }
      try refuseUnread(prefix, layouts[index])
    }
    let (rows, columns) = (configuration.vocabularySize, configuration.hiddenSize)
    try check(names.norm + ".weight", [columns])
    if quantization?.scheme(of: names.embedding) == nil { try check(names.embedding + ".weight", [rows, columns]) }
    if !configuration.tiesEmbeddings && quantization?.scheme(of: names.head) == nil {
      try check(names.head + ".weight", [rows, columns])
    }
    if configuration.hasHeadBias { try check(names.head + ".bias", [rows]) }
  }

  private func check(_ linear: LayerLayout.Linear, _ prefix: String) throws(ModelError) {
    let name = prefix + linear.name
    if quantization?.scheme(of: name) == nil {
      if let stack = linear.stack {
        try check(stack, of: linear, prefix + stack.tensor)
      } else {
        try check(name + ".weight", [linear.outFeatures, linear.inFeatures])
      }
    }
    switch linear.bias {
    case .own: try check(name + ".bias", [linear.outFeatures])
    case .row(let tensor, _): try check(prefix + tensor, [linear.stack?.count ?? 1, linear.outFeatures])
    case .none:
      if checkpoint.weights.info(name + ".bias") != nil {
        throw .tensor(
          file: checkpoint.name, name: name + ".bias", problem: "is there, but the configuration has no such bias")
      }
    }
  }

  private func check(
    _ stack: LayerLayout.Linear.Stack, of linear: LayerLayout.Linear, _ name: String
  ) throws(ModelError) {
    if let info = checkpoint.weights.info(name), info.dtype.isFullPrecision, linear.isTransposed(in: info.shape) != nil
    {
      return
    }
    let extents = [linear.outFeatures, linear.inFeatures]
    try check(name, Shape([stack.count] + (stack.order == .inOut ? extents.reversed() : extents)))
  }

  /// Refuses tensors whose mere presence means another arithmetic.
  private func refuseUnread(_ prefix: String, _ layout: LayerLayout) throws(ModelError) {
    let known = Set(
      layout.modules.map { module in
        switch module {
        case .norm(let name, _): name + ".weight"
        case .vector(let name, _): name
        case .linear(let linear): linear.name + ".weight"
        }
      })
    for name in [
      "self_attn.q_norm.weight", "self_attn.k_norm.weight", "self_attn.sinks", "self_attn.q_proj.weight",
      "self_attn.q_a_proj.weight", "mlp.gate.e_score_correction_bias", "self_attn.indexer.wk.weight",
    ] where !known.contains(name) && checkpoint.weights.info(prefix + name) != nil {
      throw .tensor(
        file: checkpoint.name, name: prefix + name,
        problem: "is there, but a layer as the configuration describes it has no such tensor")
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
}
