extension Architecture {
  /// Mistral and Ministral: every layer may slide a window, 4096 tokens wide where the key is missing altogether.
  public static let mistral = Architecture(modelTypes: ["mistral", "ministral"]) { reader throws(ModelError) in
    var attention = try reader.groupedAttention(keyValueHeads: 8)
    let window = try reader.window(default: 4096)
    let slides = try reader.slidingLayers { _ in window != nil }
    let style = try reader.normStyle()
    let feedForward = try reader.denseFeedForward()
    return try reader.model(
      understood: ["sliding_window"],
      rotaries: [try reader.rotaryEmbedding(dimension: attention.headDimension)], style: style
    ) { index throws(ModelError) in
      attention.window = try reader.window(window, ofSliding: slides[index])
      return LayerConfiguration(
        attention: .grouped(attention), feedForward: .dense(feedForward), norms: LayerNorms(style: style))
    }
  }
}
