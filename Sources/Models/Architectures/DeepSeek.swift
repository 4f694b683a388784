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
    case "group_limited_greedy": routing.groups = try reader.expertGroups(sumsTopTwo: false)
    case let other:
      throw reader.refusal("topk_method", "is \"\(other)\"; known are greedy and group_limited_greedy")
    }
    return try reader.deepSeek(routing: routing, pairing: .neighbours)
  }

  /// DeepSeek-V3, R1 and Kimi K2: experts chosen by sigmoids and a correction, out of the groups with the best pairs.
  public static let deepSeekV3 = Architecture(modelTypes: ["deepseek_v3", "kimi_k2"]) { reader throws(ModelError) in
    let scoring = try reader.string("scoring_func", default: "sigmoid")
    guard scoring == "sigmoid" else { throw reader.refusal("scoring_func", "is \"\(scoring)\", expected \"sigmoid\"") }
    let method = try reader.string("topk_method", default: "noaux_tc")
    guard method == "noaux_tc" else { throw reader.refusal("topk_method", "is \"\(method)\", expected \"noaux_tc\"") }
    let routing = Routing(
      .sigmoid, correction: "mlp.gate.e_score_correction_bias", groups: try reader.expertGroups(sumsTopTwo: true),
      normalizes: try reader.flag("norm_topk_prob", default: true),
      scaling: Float(try reader.positive("routed_scaling_factor", default: 2.5)))
    let isInterleaved = try reader.flag("rope_interleave", default: true)
    return try reader.deepSeek(routing: routing, pairing: isInterleaved ? .neighbours : .halves)
  }
}

extension ConfigurationReader {
  /// Groups of experts; one group is none.
  func expertGroups(sumsTopTwo: Bool) throws(ModelError) -> Routing.Groups? {
    let count = try count("n_group", default: 1)
    guard count > 1 else { return nil }
    return .init(count: count, kept: try self.count("topk_group"), sumsTopTwo: sumsTopTwo)
  }

  func deepSeek(routing: Routing, pairing: RotaryPairing) throws(ModelError) -> ModelConfiguration {
    try requireFullAttention()
    let turning = try count("qk_rope_head_dim")
    let rotary = try rotaryEmbedding(dimension: turning)
    var attention = LatentAttention(
      heads: try count("num_attention_heads"), queryRank: value("q_lora_rank") == nil ? nil : try count("q_lora_rank"),
      keyValueRank: try count("kv_lora_rank"), plainDimension: try count("qk_nope_head_dim"),
      rotaryDimension: turning, valueDimension: try count("v_head_dim"), rotary: RotaryUse(pairing: pairing))
    attention.hasBias = try flag("attention_bias", default: false)
    // YaRN's magnitude belongs to the scores, squared, as well as to cosines and sines.
    if case .yarn(let yarn) = rotary.scaling {
      attention.scale *= Float(yarn.scoreMagnitude * yarn.scoreMagnitude)
    }
    let style = try normStyle()
    let feedForward = try denseFeedForward()
    let firstSparse = try countOrZero("first_k_dense_replace")
    let step = try count("moe_layer_freq", default: 1)
    guard firstSparse <= (try count("num_hidden_layers")) else {
      throw refusal("first_k_dense_replace", "is \(firstSparse), more than the layers there are")
    }
    var mixture: MixtureOfExperts?
    if try countOrZero("n_routed_experts") > 0 {
      var found = MixtureOfExperts(
        count: try count("n_routed_experts"), perToken: try count("num_experts_per_tok"),
        width: try count("moe_intermediate_size"), routing: routing)
      found.gate = feedForward.gate
      let shared = try countOrZero("n_shared_experts")
      if shared > 0 {
        var expert = DenseFeedForward(width: shared * found.width)
        expert.gate = feedForward.gate
        expert.prefix = "mlp.shared_experts."
        found.shared = .init(expert)
      }
      try check(found, perToken: "num_experts_per_tok")
      mixture = found
    }
    var model = try model(
      understood: ["n_routed_experts", "kv_lora_rank", "q_lora_rank", "rope_interleave"], rotaries: [rotary],
      style: style
    ) { index throws(ModelError) in
      var kind = FeedForwardConfiguration.dense(feedForward)
      if let mixture, index >= firstSparse, index % step == 0 { kind = .mixture(mixture) }
      return LayerConfiguration(attention: .latent(attention), feedForward: kind, norms: LayerNorms(style: style))
    }
    model.predictionLayers = try countOrZero("num_nextn_predict_layers")
    return model
  }
}
