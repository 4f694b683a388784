extension Architecture {
  /// Gemma 2: norms of 1 + w before and after each block, capped scores and logits, every other layer a window.
  public static let gemma2 = Architecture(modelTypes: ["gemma2"]) { reader throws(ModelError) in
    var attention = try reader.gemmaAttention()
    attention.softcap = try reader.gemmaCap("attn_logit_softcapping", default: 50)
    let window = try reader.window(default: 4096)
    let slides = try reader.slidingLayers { $0 % 2 == 0 }
    let norms = try reader.gemmaNorms()
    let feedForward = try reader.gemmaFeedForward()
    var model = try reader.model(
      understood: ConfigurationReader.gemmaKeys,
      rotaries: [try reader.rotaryEmbedding(dimension: attention.headDimension)], style: norms.style, tied: true
    ) { index throws(ModelError) in
      attention.window = try reader.window(window, ofSliding: slides[index])
      return LayerConfiguration(attention: .grouped(attention), feedForward: .dense(feedForward), norms: norms)
    }
    model.embeddingMultiplier = Float(model.hiddenSize).squareRoot()
    model.logitSoftcap = try reader.gemmaCap("final_logit_softcapping", default: 30)
    return model
  }
}

extension ConfigurationReader {
  /// Keys that Gemma models read.
  static let gemmaKeys: Set<String> = [
    "attn_logit_softcapping", "final_logit_softcapping", "query_pre_attn_scalar", "sliding_window",
    "hidden_activation", "rope_local_base_freq",
  ]

  /// Attention whose scale has a key of its own.
  func gemmaAttention() throws(ModelError) -> GroupedAttention {
    var attention = try groupedAttention(headDimension: 256)
    attention.scale = Float(1 / (try positive("query_pre_attn_scalar", default: 256)).squareRoot())
    attention.hasQueryKeyValueBias = try flag("attention_bias", default: false)
    attention.hasOutputBias = attention.hasQueryKeyValueBias
    return attention
  }

  /// A cap; `null` is none.
  func gemmaCap(_ key: String, default cap: Double?) throws(ModelError) -> Float? {
    if let given = try positiveIfAny(key) { return Float(given) }
    return isNull(key) ? nil : cap.map { Float($0) }
  }

  /// Norms around both blocks.
  func gemmaNorms() throws(ModelError) -> LayerNorms {
    var style = try normStyle()
    style.isOffset = true
    return LayerNorms(
      attentionOutput: "post_attention_layernorm", feedForwardInput: "pre_feedforward_layernorm",
      feedForwardOutput: "post_feedforward_layernorm", style: style)
  }

  /// The feed-forward; older files call the activation `hidden_act`, and it was never another.
  func gemmaFeedForward() throws(ModelError) -> DenseFeedForward {
    try denseFeedForward(activation: "hidden_activation", gate: "gelu_pytorch_tanh")
  }
}
