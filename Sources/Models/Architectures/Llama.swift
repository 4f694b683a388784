extension Architecture {
  /// Llama 2 and 3, and everything that publishes itself as `llama`: no biases unless the configuration says so.
  public static let llama = Architecture(modelTypes: ["llama"]) { reader throws(ModelError) in
    try reader.requireFullAttention()
    var attention = try reader.groupedAttention()
    attention.hasQueryKeyValueBias = try reader.flag("attention_bias", default: false)
    attention.hasOutputBias = attention.hasQueryKeyValueBias
    var feedForward = try reader.denseFeedForward()
    feedForward.hasBias = try reader.flag("mlp_bias", default: false)
    return try reader.uniform(
      rotary: try reader.rotaryEmbedding(dimension: attention.headDimension), style: try reader.normStyle(),
      attention: attention, feedForward: feedForward)
  }
}
