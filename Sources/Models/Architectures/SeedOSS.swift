extension Architecture {
  /// Seed-OSS: as Llama, with biases of q, k and v but not of o.
  public static let seedOSS = Architecture(modelTypes: ["seed_oss"]) { reader throws(ModelError) in
    try reader.requireFullAttention()
    var attention = try reader.groupedAttention(headDimension: 128, keyValueHeads: 8)
    attention.hasQueryKeyValueBias = try reader.flag("attention_bias", default: true)
    attention.hasOutputBias = try reader.flag("attention_out_bias", default: false)
    var feedForward = try reader.denseFeedForward()
    feedForward.hasBias = try reader.flag("mlp_bias", default: false)
    return try reader.uniform(
      rotary: try reader.rotaryEmbedding(dimension: attention.headDimension), style: try reader.normStyle(),
      attention: attention, feedForward: feedForward)
  }
}
