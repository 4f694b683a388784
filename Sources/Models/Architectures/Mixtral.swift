extension Architecture {
  /// Mixtral: experts in every layer, the weights of the chosen divided by their sum.
  public static let mixtral = Architecture(modelTypes: ["mixtral"]) { reader throws(ModelError) in
    var attention = try reader.groupedAttention(keyValueHeads: 8)
    attention.window = try reader.window(default: nil)
    try reader.requireFullAttention()
    let style = try reader.normStyle(default: 1e-5)
    var mixture = MixtureOfExperts(
      count: try reader.count("num_local_experts", default: 8, most: MixtureOfExperts.most),
      perToken: try reader.count("num_experts_per_tok", default: 2), width: try reader.count("intermediate_size"),
      routing: Routing(.softmax, normalizes: true))
    mixture.gate = try reader.gateFunction("hidden_act", default: "silu")
    mixture.router = "block_sparse_moe.gate"
    mixture.prefix = "block_sparse_moe.experts."
    mixture.storage = .modules(gate: "w1", up: "w3", down: "w2")
    try reader.check(mixture, perToken: "num_experts_per_tok")
    let layer = LayerConfiguration(
      attention: .grouped(attention), feedForward: .mixture(mixture), norms: LayerNorms(style: style))
    return try reader.model(
      understood: ["sliding_window", "num_local_experts"],
      rotaries: [try reader.rotaryEmbedding(dimension: attention.headDimension, defaultBase: 1e6)], style: style
    ) { _ in layer }
  }
}
