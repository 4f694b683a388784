extension Architecture {
  /// Llama 2 and 3, and everything that publishes itself as `llama`: no biases unless the configuration says so.
  public static let llama = Architecture(modelTypes: ["llama"], folds: Fold.gatedDecoder) {
    reader throws(ModelError) in
    var configuration = try reader.decoderConfiguration()
    let attentionBias = try reader.flag("attention_bias", default: false)
    configuration.hasQueryKeyValueBias = attentionBias
    configuration.hasOutputBias = attentionBias
    configuration.hasFeedForwardBias = try reader.flag("mlp_bias", default: false)
    return configuration
  }
}

extension Fold {
  /// The folds of a layer with separate q, k, v and a gated feed-forward.
  public static let gatedDecoder: [Fold] = [
    Fold(
      .norm("input_layernorm"), into: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], block: .attention),
    Fold(.valueHeads("self_attn.v_proj"), into: ["self_attn.o_proj"], block: .attention),
    Fold(.norm("post_attention_layernorm"), into: ["mlp.gate_proj", "mlp.up_proj"], block: .feedForward),
    Fold(.linear("mlp.up_proj"), into: ["mlp.down_proj"], block: .feedForward),
  ]
}
