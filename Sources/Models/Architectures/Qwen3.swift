extension Architecture {
  /// Qwen 3: each query and key head is normalised before it turns.
  public static let qwen3 = Architecture(modelTypes: ["qwen3", "qwen3_vl_text"]) { reader throws(ModelError) in
    var attention = try reader.qwen3Attention()
    let windows = try reader.qwenWindows()
    let style = try reader.normStyle()
    let feedForward = try reader.denseFeedForward()
    return try reader.model(
      understood: ConfigurationReader.qwenKeys.union(["use_qk_norm"]),
      rotaries: [try reader.rotaryEmbedding(dimension: attention.headDimension)], style: style
    ) { index throws(ModelError) in
      attention.window = windows[index]
      return LayerConfiguration(
        attention: .grouped(attention), feedForward: .dense(feedForward), norms: LayerNorms(style: style))
    }
  }
}

extension ConfigurationReader {
  /// Attention as all Qwen 3 models have it.
  func qwen3Attention(
    headDimension: Int? = 128, keyValueHeads: Int = 32
  ) throws(ModelError) -> GroupedAttention {
    var attention = try groupedAttention(headDimension: headDimension, keyValueHeads: keyValueHeads)
    attention.hasQueryKeyValueBias = try flag("attention_bias", default: false)
    attention.hasOutputBias = attention.hasQueryKeyValueBias
    attention.headNorms = .init(.head)
    guard try flag("use_qk_norm", default: true) else { throw refusal("use_qk_norm", "is false, expected true") }
    return attention
  }
}
