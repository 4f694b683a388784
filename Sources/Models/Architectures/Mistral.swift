extension Architecture {
  /// Mistral and Ministral: every layer may slide a window, 4096 tokens wide where the key is missing altogether.
  public static let mistral = Architecture(modelTypes: ["mistral", "ministral"]) { reader throws(ModelError) in
    var attention = try reader.groupedAttention(keyValueHeads: 8)
    let window = try reader.isNull("sliding_window") ? nil : reader.count("sliding_window", default: 4096)
    let slides = try reader.slidingLayers { _ in window != nil }
    let style = try reader.normStyle()
    let feedForward = try reader.denseFeedForward()
    return try reader.model(
      understood: ["sliding_window"],
      rotaries: [try reader.rotaryEmbedding(dimension: attention.headDimension)], style: style
    ) { index throws(ModelError) in
      if slides[index] && window == nil { throw reader.refusal("sliding_window", "is missing, but layers slide one") }
      attention.window = slides[index] ? window : nil
      return LayerConfiguration(
        attention: .grouped(attention), feedForward: .dense(feedForward), norms: LayerNorms(style: style))
    }
  }
}
