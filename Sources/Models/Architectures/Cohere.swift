internal import Kernels

extension Architecture {
  /// Command R and Aya: attention and feed-forward read one LayerNorm and are added together; neighbours turn.
  public static let cohere = Architecture(modelTypes: ["cohere"]) { reader throws(ModelError) in
    try reader.requireFullAttention()
    var attention = try reader.cohereAttention()
    if try reader.flag("use_qk_norm", default: false) { attention.headNorms = .init(.ownHead) }
    return try reader.cohere(defaultBase: 5e5) { _ in attention }
  }

  /// Command R7B and Command A: as Command R, windows in most layers, and no positions in the others.
  public static let cohere2 = Architecture(modelTypes: ["cohere2"]) { reader throws(ModelError) in
    var attention = try reader.cohereAttention()
    let hidden = try reader.count("hidden_size")
    guard attention.headDimension * attention.heads == hidden else {
      throw reader.refusal("head_dim", "is \(attention.headDimension), expected \(hidden) / \(attention.heads)")
    }
    let window = try reader.window(default: 4096)
    let pattern = try reader.count("sliding_window_pattern", default: 4)
    let slides = try reader.slidingLayers { ($0 + 1) % pattern != 0 }
    return try reader.cohere(defaultBase: 1e4) { index in
      // Without a window no layer slides one, whatever layer_types says, and none turns.
      attention.window = slides[index] ? window : nil
      attention.rotary = attention.window == nil ? nil : RotaryUse(pairing: .neighbours)
      return attention
    }
  }
}

extension ConfigurationReader {
  fileprivate func cohereAttention() throws(ModelError) -> GroupedAttention {
    var attention = try groupedAttention()
    attention.rotary = RotaryUse(pairing: .neighbours)
    attention.hasQueryKeyValueBias = try flag("attention_bias", default: false)
    attention.hasOutputBias = attention.hasQueryKeyValueBias
    return attention
  }

  fileprivate func cohere(
    defaultBase: Double, _ attention: (Int) -> GroupedAttention
  ) throws(ModelError) -> ModelConfiguration {
    var style = try normStyle("layer_norm_eps", default: 1e-5)
    style.kind = .layer
    let norms = LayerNorms(feedForwardInput: nil, isParallel: true, style: style)
    let feedForward = try denseFeedForward()
    let dimension = attention(0).headDimension
    var model = try model(
      // The last two are in old files and nothing reads them.
      understood: ["logit_scale", "use_qk_norm", "sliding_window", "position_embedding_type", "rotary_pct"],
      rotaries: [try rotaryEmbedding(dimension: dimension, defaultBase: defaultBase)], style: style, tied: true
    ) { index in
      LayerConfiguration(
        attention: .grouped(attention(index)), feedForward: .dense(feedForward), norms: norms)
    }
    model.logitScale = Float(try positive("logit_scale", default: 0.0625))
    return model
  }
}
