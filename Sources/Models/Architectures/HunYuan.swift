internal import Foundation

extension Architecture {
  /// HunYuan, the dense one: heads are normalised after they turned, by a base that a factor makes longer.
  public static let hunYuanDense = Architecture(modelTypes: ["hunyuan_v1_dense"]) { reader throws(ModelError) in
    try reader.requireFullAttention()
    var attention = try reader.groupedAttention()
    attention.hasQueryKeyValueBias = try reader.flag("attention_bias", default: false)
    attention.hasOutputBias = attention.hasQueryKeyValueBias
    var norms = GroupedAttention.HeadNorms(.head)
    norms.query = "self_attn.query_layernorm"
    norms.key = "self_attn.key_layernorm"
    norms.followsRotary = true
    attention.headNorms = norms
    guard try reader.flag("use_qk_norm", default: true) else {
      throw reader.refusal("use_qk_norm", "is false, expected true")
    }
    guard try reader.count("attention_head_dim", default: attention.headDimension) == attention.headDimension else {
      throw reader.refusal("attention_head_dim", "differs from head_dim, which is \(attention.headDimension)")
    }
    let style = try reader.normStyle(default: 1e-5)
    let layer = LayerConfiguration(
      attention: .grouped(attention), feedForward: .dense(try reader.denseFeedForward()),
      norms: LayerNorms(style: style))
    return try reader.model(
      understood: ["use_qk_norm"], rotaries: [try reader.hunYuanRotary(dimension: attention.headDimension)],
      style: style
    ) { _ in layer }
  }
}

extension ConfigurationReader {
  /// θ·α^(d/(d−2)) in place of θ where dynamic scaling has an α, for texts of any length.
  fileprivate func hunYuanRotary(dimension: Int) throws(ModelError) -> RotaryEmbedding {
    let rotary = try rotaryEmbedding(dimension: dimension, understood: ["alpha"])
    guard let rope = try ropeParameters(), let alpha = try rope.positiveIfAny("alpha"),
      try rope.string("rope_type", default: try rope.string("type", default: "default")) == "dynamic"
    else { return rotary }
    guard dimension > 2 else { throw rope.refusal("alpha", "is \(alpha), which needs heads of more than 2 channels") }
    let exponent = Double(dimension) / Double(dimension - 2)
    return RotaryEmbedding(base: rotary.base * pow(alpha, exponent), dimension: dimension)
  }
}
