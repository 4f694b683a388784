extension Architecture {
  /// SmolLM3: some layers know no positions.
  public static let smolLM3 = Architecture(modelTypes: ["smollm3"]) { reader throws(ModelError) in
    var attention = try reader.groupedAttention(keyValueHeads: 4)
    attention.hasQueryKeyValueBias = try reader.flag("attention_bias", default: false)
    attention.hasOutputBias = attention.hasQueryKeyValueBias
    var feedForward = try reader.denseFeedForward()
    feedForward.hasBias = try reader.flag("mlp_bias", default: false)
    let turns = try reader.turningLayers()
    let window = try reader.window(default: nil)
    let isUsed = try reader.flag("use_sliding_window", default: false) && window != nil
    let slides = try reader.slidingLayers { isUsed && !turns[$0] }
    let style = try reader.normStyle()
    return try reader.model(
      understood: ["no_rope_layers", "no_rope_layer_interval", "sliding_window", "use_sliding_window"],
      rotaries: [try reader.rotaryEmbedding(dimension: attention.headDimension, defaultBase: 2e6)], style: style,
      tied: true
    ) { index throws(ModelError) in
      attention.window = try reader.window(window, ofSliding: slides[index])
      attention.rotary = turns[index] ? RotaryUse() : nil
      return LayerConfiguration(
        attention: .grouped(attention), feedForward: .dense(feedForward), norms: LayerNorms(style: style))
    }
  }
}

extension ConfigurationReader {
  /// Which layers turn queries and keys: `no_rope_layers` says 1 for those that do, in spite of its name.
  fileprivate func turningLayers() throws(ModelError) -> [Bool] {
    let layers = try layerCount()
    let interval = try count("no_rope_layer_interval", default: 4)
    let flags = try integers("no_rope_layers", default: (1...layers).map { $0 % interval == 0 ? 0 : 1 })
    guard flags.count == layers, flags.allSatisfy({ $0 == 0 || $0 == 1 }) else {
      throw refusal("no_rope_layers", "has \(flags.count) numbers, expected 0 or 1 for each of \(layers) layers")
    }
    return flags.map { $0 == 1 }
  }
}
