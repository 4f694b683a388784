internal import Tensors

/// Holds an adapter's tensors against its configuration: PEFT loads many a contradiction with no more than a warning, and
/// the merged model is then not the trained one.
struct AdapterCheck {
  let configuration: AdapterConfiguration
  let modules: [String: AdapterModule]
  /// The weights' file, for messages.
  let weights: String

  /// Modules that PEFT saves whole when the vocabulary grew, although `modules_to_save` does not name them.
  private static let embeddings: Set<Substring> = [
    "embed_tokens", "lm_head", "wte", "word_embeddings", "embed_out", "embed_in", "output",
  ]

  /// Checks everything; returns what is odd but harmless.
  func warnings() throws(CheckpointError) -> [String] {
    guard !modules.isEmpty else {
      throw .malformed(file: weights, offset: nil, tensor: nil, problem: "holds no tensors")
    }
    let sorted = modules.values.sorted { $0.name < $1.name }
    for module in sorted { try check(module) }
    let names = sorted.map(\.name)
    for saved in configuration.savedModules {
      let followsTie = configuration.keepsTie && saved.hasSuffix("lm_head")
      guard
        followsTie
          || sorted.contains(where: { AdapterConfiguration.lies($0.name, in: saved) && !$0.whole.isEmpty })
      else {
        throw .malformed(
          file: weights, offset: nil, tensor: nil,
          problem: "modules_to_save names \"\(saved)\", of which no tensor is there")
      }
    }
    for tokens in configuration.trainableTokens
    where !sorted.contains(where: { $0.tokenRows != nil && Self.names(tokens, $0.name) }) {
      let name = tokens.module ?? "the input embedding"
      throw .malformed(
        file: weights, offset: nil, tensor: nil,
        problem: "trainable_token_indices names tokens of \(name), whose rows are not there")
    }
    var warnings = configuration.warnings
    if case .names(let targets) = configuration.targets {
      let adapted = sorted.filter(\.hasLowRank).map(\.name)
      let missing = targets.filter { target in !adapted.contains { ModuleName.matches($0, suffix: target) } }
      if !missing.isEmpty && names.count > 0 {
        warnings.append(
          "\(configuration.file): target_modules names \(missing.joined(separator: ", ")),"
            + " for which the adapter holds no tensors")
      }
    }
    return warnings
  }

  static func names(_ tokens: AdapterConfiguration.TrainableTokens, _ module: String) -> Bool {
    tokens.module.map { ModuleName.matches(module, suffix: $0) } ?? true
  }

  private func refuse(_ module: AdapterModule, _ problem: String) -> CheckpointError {
    .malformed(file: weights, offset: nil, tensor: module.name, problem: problem)
  }

  private func check(_ module: AdapterModule) throws(CheckpointError) {
    if module.hasLowRank { try checkLowRank(module) }
    if let magnitude = module.magnitude {
      guard configuration.hasMagnitudes else {
        throw refuse(module, "has a lora_magnitude_vector, but use_dora is not set")
      }
      guard module.hasLowRank else { throw refuse(module, "has a lora_magnitude_vector, but no lora_A and lora_B") }
      guard magnitude.shape.rank == 1 else {
        throw refuse(module, "lora_magnitude_vector is \(magnitude.shape), one axis is expected")
      }
    } else if configuration.hasMagnitudes && module.hasLowRank {
      throw refuse(module, "has no lora_magnitude_vector, but use_dora is set")
    }
    for (last, _) in module.whole.sorted(by: { $0.key < $1.key }) { try checkWhole(last, of: module) }
    try checkTokens(module)
  }

  private func checkLowRank(_ module: AdapterModule) throws(CheckpointError) {
    let parameters = configuration.parameters(of: module.name)
    let isTarget = try configuration.isTarget(module.name)
    guard isTarget || !parameters.isEmpty else {
      throw refuse(module, "has lora tensors, but target_modules does not name it (or exclude_modules does)")
    }
    if module.hasEmbeddingFactors {
      guard module.factors.isEmpty else { throw refuse(module, "has lora_A and lora_embedding_A") }
      guard let down = module.embeddingDown else {
        throw refuse(module, "has lora_embedding_B, but no lora_embedding_A")
      }
      guard let up = module.embeddingUp else { throw refuse(module, "has lora_embedding_A, but no lora_embedding_B") }
      return try checkRanks(down, up, of: module, named: "lora_embedding_")
    }
    let depths = module.factors.keys.sorted()
    guard depths == Array(0..<max(1, parameters.count)) else {
      throw refuse(
        module,
        parameters.isEmpty
          ? "has lora tensors within a base_layer, but target_parameters names no parameter of it"
          : "has \(depths.count) pairs of lora tensors, target_parameters names \(parameters.count) of its parameters")
    }
    guard parameters.count < 2 || parameters == ["down_proj", "gate_up_proj"] else {
      throw refuse(
        module, "target_parameters names \(parameters.joined(separator: ", ")), whose order in the model is not known")
    }
    for (depth, factors) in module.factors.sorted(by: { $0.key < $1.key }) {
      guard let down = factors.down else { throw refuse(module, "has lora_B, but no lora_A") }
      guard let up = factors.up else { throw refuse(module, "has lora_A, but no lora_B") }
      try checkRanks(down, up, of: module, named: "lora_", parameter: parameters.isEmpty ? nil : parameters[depth])
      guard (factors.bias != nil) == configuration.hasLowRankBias else {
        throw refuse(
          module,
          configuration.hasLowRankBias
            ? "has no lora_B.bias, but lora_bias is set" : "has a lora_B.bias, but lora_bias is not set")
      }
    }
  }

  private func checkRanks(
    _ down: Tensor, _ up: Tensor, of module: AdapterModule, named name: String, parameter: String? = nil
  ) throws(CheckpointError) {
    guard down.shape.rank == 2, up.shape.rank == 2 else {
      throw refuse(module, "\(name)A is \(down.shape) and \(name)B \(up.shape), two axes are expected")
    }
    guard down.shape[0] == up.shape[1] else {
      throw refuse(
        module, "\(name)A is \(down.shape) and \(name)B \(up.shape): the rows of A are not the columns of B")
    }
    let rank = try configuration.rank(of: parameter.map { module.name + "." + $0 } ?? module.name)
    guard parameter == nil ? down.shape[0] == rank : down.shape[0] % rank == 0 && down.shape[0] > 0 else {
      throw refuse(
        module,
        "\(name)A is \(down.shape), r (with rank_pattern) says \(rank)\(parameter == nil ? "" : " for each expert"):"
          + " the scale alpha / r would be wrong")
    }
  }

  private func checkWhole(_ last: String, of module: AdapterModule) throws(CheckpointError) {
    if configuration.isSaved(module.name) { return }
    let isAdapted = module.hasLowRank || module.tokenRows != nil
    let isEmbedding = module.name.split(separator: ".").last.map(Self.embeddings.contains) ?? false
    if last == "weight" && isEmbedding { return }
    if last == "bias" && (configuration.bias == .all || (configuration.bias == .adapted && isAdapted)) { return }
    throw refuse(
      module,
      "has a \(last) of its own, but neither modules_to_save nor bias (\"\(configuration.bias.rawValue)\") says so")
  }

  private func checkTokens(_ module: AdapterModule) throws(CheckpointError) {
    guard let rows = module.tokenRows else { return }
    guard !module.hasLowRank else { throw refuse(module, "has trained rows and lora tensors") }
    guard let tokens = configuration.trainableTokens.first(where: { Self.names($0, module.name) })?.tokens else {
      throw refuse(module, "has trainable_tokens_delta, but trainable_token_indices does not name it")
    }
    guard rows.shape.rank == 2, rows.shape[0] == tokens.count else {
      throw refuse(
        module, "trainable_tokens_delta is \(rows.shape), trainable_token_indices names \(tokens.count) tokens")
    }
  }
}
