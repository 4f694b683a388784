extension Architecture {
  /// OLMo 2: norms behind each block instead of before it, and over all query and all key heads together.
  public static let olmo2 = Architecture(modelTypes: ["olmo2"]) { reader throws(ModelError) in
    try reader.requireFullAttention()
    var attention = try reader.groupedAttention()
    attention.hasQueryKeyValueBias = try reader.flag("attention_bias", default: false)
    attention.hasOutputBias = attention.hasQueryKeyValueBias
    attention.headNorms = .init(.row)
    let style = try reader.normStyle(default: 1e-5)
    let layer = LayerConfiguration(
      attention: .grouped(attention), feedForward: .dense(try reader.denseFeedForward()),
      norms: LayerNorms(
        attentionInput: nil, attentionOutput: "post_attention_layernorm", feedForwardInput: nil,
        feedForwardOutput: "post_feedforward_layernorm", style: style))
    return try reader.model(
      rotaries: [try reader.rotaryEmbedding(dimension: attention.headDimension)], style: style
    ) { _ in layer }
  }
}
