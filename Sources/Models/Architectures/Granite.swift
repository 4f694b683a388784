extension Architecture {
  /// Granite: factors of the embedding, the scores, what each block adds, and the logits.
  public static let granite = Architecture(modelTypes: ["granite"]) { reader throws(ModelError) in
    var feedForward = try reader.denseFeedForward()
    feedForward.hasBias = try reader.flag("mlp_bias", default: false)
    return try reader.granite(.dense(feedForward))
  }

  /// Granite with experts in every layer, each kind of projection of all of them in one tensor.
  public static let graniteMoE = Architecture(modelTypes: ["granitemoe"]) { reader throws(ModelError) in
    var mixture = MixtureOfExperts(
      count: try reader.count("num_local_experts", default: 8, most: MixtureOfExperts.most),
      perToken: try reader.count("num_experts_per_tok", default: 2), width: try reader.count("intermediate_size"),
      routing: Routing(.softmaxOfChosen))
    mixture.gate = try reader.gateFunction("hidden_act", default: "silu")
    mixture.router = "block_sparse_moe.router.layer"
    mixture.prefix = "block_sparse_moe."
    var stacks = MixtureOfExperts.Stacks()
    stacks.gateUp = "input_linear"
    stacks.down = "output_linear"
    stacks.suffix = ".weight"
    mixture.storage = .stacked(stacks)
    try reader.check(mixture, perToken: "num_experts_per_tok")
    return try reader.granite(.mixture(mixture))
  }
}

extension ConfigurationReader {
  fileprivate func granite(_ feedForward: FeedForwardConfiguration) throws(ModelError) -> ModelConfiguration {
    try requireFullAttention()
    var attention = try groupedAttention()
    attention.hasQueryKeyValueBias = try flag("attention_bias", default: false)
    attention.hasOutputBias = attention.hasQueryKeyValueBias
    // In place of 1/√d, not beside it.
    attention.scale = Float(try positive("attention_multiplier", default: 1))
    let style = try normStyle()
    let layer = LayerConfiguration(
      attention: .grouped(attention), feedForward: feedForward, norms: LayerNorms(style: style),
      residualMultiplier: Float(try positive("residual_multiplier", default: 1)))
    var model = try model(
      understood: [
        "embedding_multiplier", "residual_multiplier", "attention_multiplier", "logits_scaling", "num_local_experts",
      ], rotaries: [try rotaryEmbedding(dimension: attention.headDimension)], style: style
    ) { _ in layer }
    model.embeddingMultiplier = Float(try positive("embedding_multiplier", default: 1))
    model.logitScale = Float(1 / (try positive("logits_scaling", default: 1)))
    return model
  }
}
