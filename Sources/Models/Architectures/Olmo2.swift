extension Architecture {
  /// OLMo 2: norms behind each block instead of before it, and over all query and all key heads together.
  public static let olmo2 = Architecture(modelTypes: ["olmo2"]) { reader throws(ModelError) in
    try reader.requireFullAttention()
    let attention = try reader.olmoAttention()
    let style = try reader.normStyle(default: 1e-5)
    let layer = LayerConfiguration(
      attention: .grouped(attention), feedForward: .dense(try reader.denseFeedForward()),
      norms: .behindBlocks(style))
    return try reader.model(
      rotaries: [try reader.rotaryEmbedding(dimension: attention.headDimension)], style: style
    ) { _ in layer }
  }

  /// OLMo 3: as OLMo 2, three of four layers with a window; only the others stretch their rotation.
  public static let olmo3 = Architecture(modelTypes: ["olmo3"]) { reader throws(ModelError) in
    var attention = try reader.olmoAttention()
    let window = try reader.window(default: 4096)
    let slides = try reader.slidingLayers { ($0 + 1) % 4 != 0 }
    let style = try reader.normStyle(default: 1e-5)
    let feedForward = try reader.denseFeedForward()
    let dimension = attention.headDimension
    let base = 5e5
    let full = try reader.rotaryEmbedding(dimension: dimension, defaultBase: base, layerType: "full_attention")
    let local = try reader.localRotaryEmbedding(dimension: dimension, base: base)
    let hasLocal = try reader.hasLocalRotaryEmbedding()
    guard local.base == full.base || hasLocal else {
      throw reader.refusal(
        "rope_theta", "is \(full.base); implementations differ in whether layers with a window turn by it, too")
    }
    return try reader.model(understood: ["sliding_window"], rotaries: [full, local], style: style) {
      index throws(ModelError) in
      attention.window = try reader.window(window, ofSliding: slides[index])
      attention.rotary = RotaryUse(table: slides[index] ? 1 : 0)
      return LayerConfiguration(
        attention: .grouped(attention), feedForward: .dense(feedForward), norms: .behindBlocks(style))
    }
  }

  /// Mixture of OLMo: norms before each block, over all query and all key heads together, and clipped projections.
  public static let olmoE = Architecture(modelTypes: ["olmoe"]) { reader throws(ModelError) in
    try reader.requireFullAttention()
    var attention = try reader.olmoAttention()
    attention.clip = try reader.positiveIfAny("clip_qkv").map { Float($0) }
    let style = try reader.normStyle(default: 1e-5)
    let key = reader.value("num_experts") != nil ? "num_experts" : "num_local_experts"
    var mixture = MixtureOfExperts(
      count: try reader.count(key, default: 64, most: MixtureOfExperts.most),
      perToken: try reader.count("num_experts_per_tok", default: 8), width: try reader.count("intermediate_size"),
      routing: Routing(.softmax, normalizes: try reader.flag("norm_topk_prob", default: false)))
    mixture.gate = try reader.gateFunction("hidden_act", default: "silu")
    try reader.check(mixture, perToken: "num_experts_per_tok")
    let layer = LayerConfiguration(
      attention: .grouped(attention), feedForward: .mixture(mixture), norms: LayerNorms(style: style))
    return try reader.model(
      understood: ["num_experts", "num_local_experts", "clip_qkv"],
      rotaries: [try reader.rotaryEmbedding(dimension: attention.headDimension)], style: style
    ) { _ in layer }
  }
}

extension LayerNorms {
  /// Norms behind both blocks, none before them.
  static func behindBlocks(_ style: NormStyle) -> LayerNorms {
    LayerNorms(
      attentionInput: nil, attentionOutput: "post_attention_layernorm", feedForwardInput: nil,
      feedForwardOutput: "post_feedforward_layernorm", style: style)
  }
}

extension ConfigurationReader {
  fileprivate func olmoAttention() throws(ModelError) -> GroupedAttention {
    var attention = try groupedAttention()
    attention.hasQueryKeyValueBias = try flag("attention_bias", default: false)
    attention.hasOutputBias = attention.hasQueryKeyValueBias
    attention.headNorms = .init(.row)
    return attention
  }

  /// Whether `rope_parameters` has an entry for layers with a window.
  fileprivate func hasLocalRotaryEmbedding() throws(ModelError) -> Bool {
    try nested("rope_parameters")?.value("sliding_attention") != nil
  }

  /// The embedding of layers with a window: that of `rope_parameters`, or unstretched by a base.
  func localRotaryEmbedding(dimension: Int, base: Double) throws(ModelError) -> RotaryEmbedding {
    guard try hasLocalRotaryEmbedding() else {
      return RotaryEmbedding(base: base, dimension: dimension)
    }
    return try rotaryEmbedding(dimension: dimension, layerType: "sliding_attention")
  }
}
