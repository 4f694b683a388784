extension Architecture {
  /// Qwen 3 with experts in some layers: those that `mlp_only_layers` does not name, at every `decoder_sparse_step`.
  public static let qwen3MoE = Architecture(modelTypes: ["qwen3_moe", "qwen3_vl_moe_text"]) {
    reader throws(ModelError) in
    var attention = try reader.qwen3Attention()
    let windows = try reader.qwenWindows()
    let style = try reader.normStyle()
    let experts = try reader.qwenExperts(
      routing: Routing(.softmax, normalizes: try reader.flag("norm_topk_prob", default: false)))
    return try reader.model(
      understood: ConfigurationReader.qwenKeys.union(["num_experts", "num_local_experts"]),
      rotaries: [try reader.rotaryEmbedding(dimension: attention.headDimension)], style: style
    ) { index throws(ModelError) in
      attention.window = windows[index]
      return LayerConfiguration(
        attention: .grouped(attention), feedForward: try experts(index), norms: LayerNorms(style: style))
    }
  }
}

extension ConfigurationReader {
  /// The feed-forward of each layer of a Qwen model with experts.
  func qwenExperts(
    routing: Routing, shared: MixtureOfExperts.Shared? = nil
  ) throws(ModelError) -> ((Int) throws(ModelError) -> FeedForwardConfiguration) {
    // transformers writes num_local_experts since its version 5, num_experts before.
    let key = value("num_experts") != nil ? "num_experts" : "num_local_experts"
    var mixture = MixtureOfExperts(
      count: try count(key), perToken: try count("num_experts_per_tok"), width: try count("moe_intermediate_size"),
      routing: routing)
    mixture.gate = try gateFunction("hidden_act", default: "silu")
    mixture.shared = shared
    try check(mixture, perToken: "num_experts_per_tok")
    let step = try count("decoder_sparse_step", default: 1)
    let dense = Set(try integers("mlp_only_layers", default: []))
    let feedForward = dense.isEmpty && step == 1 ? nil : try denseFeedForward()
    return { index in
      guard let feedForward, dense.contains(index) || (index + 1) % step != 0 else { return .mixture(mixture) }
      return .dense(feedForward)
    }
  }

  /// Refuses routings that cannot choose as many experts as they should.
  func check(_ mixture: MixtureOfExperts, perToken key: String) throws(ModelError) {
    var available = mixture.count
    if let groups = mixture.routing.groups {
      guard mixture.count % groups.count == 0 else {
        throw refusal("n_group", "is \(groups.count), which does not divide \(mixture.count) experts")
      }
      guard groups.kept <= groups.count else {
        throw refusal("topk_group", "is \(groups.kept), more than the \(groups.count) groups")
      }
      available = mixture.count / groups.count * groups.kept
    }
    guard mixture.perToken <= available else {
      throw refusal(key, "is \(mixture.perToken), only \(available) experts can be chosen")
    }
  }
}
