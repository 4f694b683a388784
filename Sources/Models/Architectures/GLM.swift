internal import Kernels

extension Architecture {
  /// GLM-4-9B: neighbours turn, in half of each head; gate and up in one projection.
  public static let glm = Architecture(modelTypes: ["glm"]) { reader throws(ModelError) in
    try reader.glm(LayerNorms(style: try reader.normStyle(default: 1.5625e-7)))
  }

  /// GLM-4-0414 and GLM-Z1: as GLM, with norms behind both blocks as well.
  public static let glm4 = Architecture(modelTypes: ["glm4"]) { reader throws(ModelError) in
    // The norm called post_attention is the one before the feed-forward.
    try reader.glm(
      LayerNorms(
        attentionOutput: "post_self_attn_layernorm", feedForwardOutput: "post_mlp_layernorm",
        style: try reader.normStyle(default: 1.5625e-7)))
  }

  /// GLM-4.5 and 4.6: experts as in DeepSeek-V3, halves turn.
  public static let glm4MoE = Architecture(modelTypes: ["glm4_moe"]) { reader throws(ModelError) in
    try reader.requireFullAttention()
    var attention = try reader.groupedAttention(keyValueHeads: 8)
    attention.hasQueryKeyValueBias = try reader.flag("attention_bias", default: false)
    if try reader.flag("use_qk_norm", default: false) { attention.headNorms = .init(.head) }
    let style = try reader.normStyle(default: 1e-5)
    let mixture = try reader.deepSeekMixture(
      try reader.deepSeekV3Routing(groups: (count: 1, kept: 1), scaling: 1),
      default: (experts: 128, perToken: 8, shared: 1, width: 1408))
    let feedForward = try reader.deepSeekFeedForward(mixture, firstSparse: 1)
    var model = try reader.model(
      understood: ["n_routed_experts", "use_qk_norm", "partial_rotary_factor"],
      rotaries: [try reader.rotaryEmbedding(dimension: attention.headDimension, partial: 0.5)], style: style
    ) { index in
      LayerConfiguration(
        attention: .grouped(attention), feedForward: feedForward(index), norms: LayerNorms(style: style))
    }
    model.predictionLayers = try reader.countOrZero("num_nextn_predict_layers")
    return model
  }
}

extension ConfigurationReader {
  fileprivate func glm(_ norms: LayerNorms) throws(ModelError) -> ModelConfiguration {
    try requireFullAttention()
    var attention = try groupedAttention(headDimension: 128, keyValueHeads: 2)
    attention.hasQueryKeyValueBias = try flag("attention_bias", default: true)
    attention.rotary = RotaryUse(pairing: .neighbours)
    var feedForward = try denseFeedForward()
    feedForward.isFused = true
    let layer = LayerConfiguration(attention: .grouped(attention), feedForward: .dense(feedForward), norms: norms)
    return try model(
      understood: ["partial_rotary_factor"],
      rotaries: [try rotaryEmbedding(dimension: attention.headDimension, partial: 0.5)], style: norms.style
    ) { _ in layer }
  }
}
