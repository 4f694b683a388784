extension Architecture {
  /// Gemma 3: as Gemma 2 with normalised heads instead of capped scores; windowed layers turn by a base of their own.
  public static let gemma3 = Architecture(modelTypes: ["gemma3_text"]) { reader throws(ModelError) in
    var attention = try reader.gemmaAttention()
    attention.headNorms = .init(.head)
    let window = try reader.window(default: 4096)
    let key = reader.value("sliding_window_pattern") != nil ? "sliding_window_pattern" : "_sliding_window_pattern"
    let pattern = try reader.count(key, default: 6)
    let slides = try reader.slidingLayers { ($0 + 1) % pattern != 0 }
    let norms = try reader.gemmaNorms()
    let feedForward = try reader.gemmaFeedForward()
    let dimension = attention.headDimension
    let local = try reader.localRotaryEmbedding(
      dimension: dimension, base: try reader.positive("rope_local_base_freq", default: 1e4))
    let full = try reader.rotaryEmbedding(dimension: dimension, defaultBase: 1e6, layerType: "full_attention")
    var model = try reader.model(
      // The reference never caps the scores of this family; a file that asks for it is refused.
      understood: ConfigurationReader.gemmaKeys.subtracting(["attn_logit_softcapping"]), rotaries: [full, local],
      style: norms.style, tied: true
    ) { index throws(ModelError) in
      attention.window = try reader.window(window, ofSliding: slides[index])
      attention.rotary = RotaryUse(table: slides[index] ? 1 : 0)
      return LayerConfiguration(attention: .grouped(attention), feedForward: .dense(feedForward), norms: norms)
    }
    model.embeddingMultiplier = Float(model.hiddenSize).squareRoot()
    model.logitSoftcap = try reader.gemmaCap("final_logit_softcapping", default: nil)
    return model
  }
}
