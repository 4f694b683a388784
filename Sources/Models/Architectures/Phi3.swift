extension Architecture {
  /// Phi-3, 3.5 and 4: q, k, v in one projection, gate and up in another; only part of a head may turn.
  public static let phi3 = Architecture(modelTypes: ["phi3"]) { reader throws(ModelError) in
    try reader.requireFullAttention()
    var attention = try reader.groupedAttention()
    attention.isFused = true
    attention.window = try reader.window(default: nil)
    var feedForward = try reader.denseFeedForward()
    feedForward.isFused = true
    return try reader.uniform(
      understood: ["sliding_window", "partial_rotary_factor"],
      rotary: try reader.rotaryEmbedding(dimension: attention.headDimension, partial: 1),
      style: try reader.normStyle(default: 1e-5), attention: attention, feedForward: feedForward)
  }
}
