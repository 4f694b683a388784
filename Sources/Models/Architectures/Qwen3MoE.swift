extension Architecture {
  /// Qwen 3 with experts in some layers: those that `mlp_only_layers` does not name, at every `decoder_sparse_step`.
  public static let qwen3MoE = Architecture(modelTypes: ["qwen3_moe"]) { reader throws(ModelError) in
    let attention = try reader.qwen3Attention(headDimension: nil, keyValueHeads: 4)
    let experts = try reader.qwenExperts(
      routing: Routing(.softmax, normalizes: try reader.flag("norm_topk_prob", default: false)),
      default: (experts: 128, perToken: 8, width: 768))
    return try reader.qwenMoE(attention, experts)
  }

  /// The text model of Qwen 3 VL with experts: they lie in one tensor, and their weights are always divided by their sum.
  public static let qwen3VLMoE = Architecture(modelTypes: ["qwen3_vl_moe_text"]) { reader throws(ModelError) in
    guard try reader.flag("norm_topk_prob", default: true) else {
      throw reader.refusal("norm_topk_prob", "is false, expected true")
    }
    var stacks = MixtureOfExperts.Stacks()
    // Released files lie [in, out], files that are saved again [out, in].
    stacks.order = .either
    let experts = try reader.qwenExperts(
      routing: Routing(.softmax, normalizes: true), storage: .stacked(stacks),
      default: (experts: 60, perToken: 4, width: 1408))
    return try reader.qwenMoE(try reader.qwen3Attention(keyValueHeads: 16), experts)
  }
}

extension ConfigurationReader {
  /// A Qwen model with experts.
  func qwenMoE(
    _ attention: GroupedAttention, _ feedForward: (Int) throws(ModelError) -> FeedForwardConfiguration
  ) throws(ModelError) -> ModelConfiguration {
    var attention = attention
    let windows = try qwenMoEWindows()
    let style = try normStyle()
    return try model(
      understood: Self.qwenKeys.union(["num_experts", "num_local_experts"])
        .union(attention.headNorms == nil ? [] : ["use_qk_norm"]),
      rotaries: [try rotaryEmbedding(dimension: attention.headDimension)], style: style
    ) { index throws(ModelError) in
      attention.window = windows[index]
      return LayerConfiguration(
        attention: .grouped(attention), feedForward: try feedForward(index), norms: LayerNorms(style: style))
    }
  }

  /// The window of each layer: all slide one or none does.
  ///
  /// Implementations differ in what a mixture of both would be.
  private func qwenMoEWindows() throws(ModelError) -> [Int?] {
    let isUsed = try flag("use_sliding_window", default: false)
    let slides = try slidingLayers { _ in isUsed }
    guard slides.allSatisfy({ $0 == isUsed }) else {
      throw refusal("layer_types", "differs from use_sliding_window, which is \(isUsed)")
    }
    let window = isUsed ? try count("sliding_window", default: 4096) : nil
    return slides.map { _ in window }
  }

  /// The feed-forward of each layer of a Qwen model with experts.
  func qwenExperts(
    routing: Routing, shared: MixtureOfExperts.Shared? = nil, storage: MixtureOfExperts.Storage? = nil,
    default counts: (experts: Int, perToken: Int, width: Int)
  ) throws(ModelError) -> ((Int) throws(ModelError) -> FeedForwardConfiguration) {
    // transformers writes num_local_experts since its version 5, num_experts before.
    let key = value("num_experts") != nil ? "num_experts" : "num_local_experts"
    var mixture = MixtureOfExperts(
      count: try count(key, default: counts.experts, most: MixtureOfExperts.most),
      perToken: try count("num_experts_per_tok", default: counts.perToken),
      width: try count("moe_intermediate_size", default: counts.width),
      routing: routing)
    mixture.gate = try gateFunction("hidden_act", default: "silu")
    mixture.shared = shared
    if let storage { mixture.storage = storage }
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
