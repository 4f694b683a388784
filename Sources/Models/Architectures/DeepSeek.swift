internal import Kernels

extension Architecture {
  /// DeepSeek-V2: latent attention, experts chosen by softmax, perhaps out of some groups only.
  public static let deepSeekV2 = Architecture(modelTypes: ["deepseek_v2"]) { reader throws(ModelError) in
    let scoring = try reader.string("scoring_func", default: "softmax")
    guard scoring == "softmax" else { throw reader.refusal("scoring_func", "is \"\(scoring)\", expected \"softmax\"") }
    guard try !reader.flag("norm_topk_prob", default: false) else {
      throw reader.refusal("norm_topk_prob", "is true, which implementations of this family understand differently")
    }
    var routing = Routing(.softmax, scaling: Float(try reader.positive("routed_scaling_factor", default: 1)))
    switch try reader.string("topk_method", default: "greedy") {
    case "greedy": break
    case "group_limited_greedy": routing.groups = try reader.expertGroups(sumsTopTwo: false, default: nil)
    case let other:
      throw reader.refusal("topk_method", "is \"\(other)\"; known are greedy and group_limited_greedy")
    }
    return try reader.deepSeek(
      mixture: try reader.deepSeekMixture(routing, default: (experts: 64, perToken: nil, shared: 2, width: 1407)),
      firstSparse: 0, pairing: .neighbours)
  }

  /// DeepSeek-V3, R1 and Kimi K2: experts chosen by sigmoids and a correction, out of the groups with the best pairs.
  public static let deepSeekV3 = Architecture(modelTypes: ["deepseek_v3", "kimi_k2"]) { reader throws(ModelError) in
    let scoring = try reader.string("scoring_func", default: "sigmoid")
    guard scoring == "sigmoid" else { throw reader.refusal("scoring_func", "is \"\(scoring)\", expected \"sigmoid\"") }
    let method = try reader.string("topk_method", default: "noaux_tc")
    guard method == "noaux_tc" else { throw reader.refusal("topk_method", "is \"\(method)\", expected \"noaux_tc\"") }
    let routing = try reader.deepSeekV3Routing(groups: (count: 8, kept: 4), scaling: 2.5)
    let mixture = try reader.deepSeekMixture(routing, default: (experts: 256, perToken: 8, shared: 1, width: 2048))
    let isInterleaved = try reader.flag("rope_interleave", default: true)
    return try reader.deepSeek(mixture: mixture, firstSparse: 3, pairing: isInterleaved ? .neighbours : .halves)
  }
}

extension ConfigurationReader {
  /// Groups of experts; one group is none.
  func expertGroups(
    sumsTopTwo: Bool, default groups: (count: Int, kept: Int)?
  ) throws(ModelError) -> Routing.Groups? {
    let count = try count("n_group", default: groups?.count)
    guard count > 1 else { return nil }
    return .init(count: count, kept: try self.count("topk_group", default: groups?.kept), sumsTopTwo: sumsTopTwo)
  }

  /// Sigmoids and a correction, out of the groups with the best pairs.
  func deepSeekV3Routing(groups: (count: Int, kept: Int), scaling: Double) throws(ModelError) -> Routing {
    Routing(
      .sigmoid, correction: "mlp.gate.e_score_correction_bias",
      groups: try expertGroups(sumsTopTwo: true, default: groups),
      normalizes: try flag("norm_topk_prob", default: true),
      scaling: Float(try positive("routed_scaling_factor", default: scaling)))
  }

  /// Experts, and those that every token passes together as one; `nil` where there are none.
  func deepSeekMixture(
    _ routing: Routing, default counts: (experts: Int, perToken: Int?, shared: Int, width: Int)
  ) throws(ModelError) -> MixtureOfExperts? {
    guard try countOrZero("n_routed_experts", default: counts.experts) > 0 else { return nil }
    var mixture = MixtureOfExperts(
      count: try count("n_routed_experts", default: counts.experts, most: MixtureOfExperts.most),
      perToken: try count("num_experts_per_tok", default: counts.perToken),
      width: try count("moe_intermediate_size", default: counts.width), routing: routing)
    mixture.gate = try gateFunction("hidden_act", default: "silu")
    let shared = isNull("n_shared_experts") ? 0 : try countOrZero("n_shared_experts", default: counts.shared)
    if shared > 0 {
      guard shared <= MixtureOfExperts.most else { throw refusal("n_shared_experts", "is \(shared)") }
      var expert = DenseFeedForward(width: shared * mixture.width)
      expert.gate = mixture.gate
      expert.prefix = "mlp.shared_experts."
      mixture.shared = .init(expert)
    }
    try check(mixture, perToken: "num_experts_per_tok")
    return mixture
  }

  /// The feed-forward of each layer: experts from `first_k_dense_replace` on.
  func deepSeekFeedForward(
    _ mixture: MixtureOfExperts?, firstSparse: Int
  ) throws(ModelError) -> ((Int) -> FeedForwardConfiguration) {
    let first = try countOrZero("first_k_dense_replace", default: firstSparse)
    let step = try count("moe_layer_freq", default: 1)
    guard first <= (try layerCount()) else {
      throw refusal("first_k_dense_replace", "is \(first), more than the layers there are")
    }
    let dense = try denseFeedForward()
    return { index in
      guard let mixture, index >= first, index % step == 0 else { return .dense(dense) }
      return .mixture(mixture)
    }
  }

  func deepSeek(
    mixture: MixtureOfExperts?, firstSparse: Int, pairing: RotaryPairing
  ) throws(ModelError) -> ModelConfiguration {
    try requireFullAttention()
    let turning = try count("qk_rope_head_dim", default: 64)
    guard turning % 2 == 0 else { throw refusal("qk_rope_head_dim", "is \(turning), rotation needs an even number") }
    let rotary = try rotaryEmbedding(dimension: turning)
    let queryRank = isNull("q_lora_rank") ? nil : try count("q_lora_rank", default: 1536)
    var attention = LatentAttention(
      heads: try count("num_attention_heads"), queryRank: queryRank,
      keyValueRank: try count("kv_lora_rank", default: 512),
      plainDimension: try count("qk_nope_head_dim", default: 128), rotaryDimension: turning,
      valueDimension: try count("v_head_dim", default: 128), rotary: RotaryUse(pairing: pairing))
    attention.hasBias = try flag("attention_bias", default: false)
    // YaRN's magnitude belongs to the scores, squared, as well as to cosines and sines.
    if case .yarn(let yarn) = rotary.scaling {
      attention.scale *= Float(yarn.scoreMagnitude * yarn.scoreMagnitude)
    }
    let style = try normStyle()
    let feedForward = try deepSeekFeedForward(mixture, firstSparse: firstSparse)
    var model = try model(
      understood: ["n_routed_experts", "kv_lora_rank", "q_lora_rank", "rope_interleave"], rotaries: [rotary],
      style: style
    ) { index in
      LayerConfiguration(
        attention: .latent(attention), feedForward: feedForward(index), norms: LayerNorms(style: style))
    }
    model.predictionLayers = try countOrZero("num_nextn_predict_layers")
    return model
  }
}
