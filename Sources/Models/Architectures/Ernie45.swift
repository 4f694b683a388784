internal import Kernels

extension Architecture {
  /// ERNIE 4.5, the dense one: neighbours turn; all projections have biases or none.
  public static let ernie45 = Architecture(modelTypes: ["ernie4_5"]) { reader throws(ModelError) in
    try reader.requireFullAttention()
    let hasBias = try reader.flag("use_bias", default: false)
    var attention = try reader.groupedAttention(headDimension: 128, keyValueHeads: 2)
    attention.rotary = RotaryUse(pairing: .neighbours)
    attention.hasQueryKeyValueBias = hasBias
    attention.hasOutputBias = hasBias
    var feedForward = try reader.denseFeedForward()
    feedForward.hasBias = hasBias
    return try reader.uniform(
      rotary: try reader.rotaryEmbedding(dimension: attention.headDimension, defaultBase: 5e5),
      style: try reader.normStyle(default: 1e-5), attention: attention, feedForward: feedForward, tied: true)
  }
}
