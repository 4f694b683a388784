internal import Kernels

extension Architecture {
  /// gpt-oss: sinks, biases everywhere, experts in one tensor with gate and up in turns and a clamped gate.
  public static let gptOSS = Architecture(modelTypes: ["gpt_oss"]) { reader throws(ModelError) in
    var attention = try reader.groupedAttention(headDimension: 64, keyValueHeads: 8)
    attention.hasQueryKeyValueBias = try reader.flag("attention_bias", default: true)
    attention.hasOutputBias = attention.hasQueryKeyValueBias
    attention.hasSinks = true
    let window = try reader.window(default: 128)
    let slides = try reader.slidingLayers { $0 % 2 == 0 }
    let style = try reader.normStyle(default: 1e-5)
    let chosen = reader.value("num_experts_per_tok") != nil ? "num_experts_per_tok" : "experts_per_token"
    var mixture = MixtureOfExperts(
      count: try reader.count("num_local_experts", most: MixtureOfExperts.most),
      perToken: try reader.count(chosen, default: 4),
      width: try reader.count("intermediate_size"), routing: Routing(.softmaxOfChosen))
    mixture.gate = .clampedSwish(limit: Float(try reader.positive("swiglu_limit", default: 7)), alpha: 1.702)
    mixture.router = "mlp.router"
    mixture.hasRouterBias = true
    var stacks = MixtureOfExperts.Stacks()
    stacks.order = .inOut
    stacks.takesTurns = true
    stacks.hasBias = true
    mixture.storage = .stacked(stacks)
    try reader.check(mixture, perToken: chosen)
    return try reader.model(
      understood: ["sliding_window", "num_local_experts", "swiglu_limit"],
      rotaries: [try reader.rotaryEmbedding(dimension: attention.headDimension, defaultBase: 150_000)], style: style
    ) { index throws(ModelError) in
      attention.window = try reader.window(window, ofSliding: slides[index])
      return LayerConfiguration(
        attention: .grouped(attention), feedForward: .mixture(mixture), norms: LayerNorms(style: style))
    }
  }
}
