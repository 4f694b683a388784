extension Architecture {
  /// Qwen 1.5 and 2 with experts, and a shared one that a gate weighs for each token.
  public static let qwen2MoE = Architecture(modelTypes: ["qwen2_moe"]) { reader throws(ModelError) in
    guard try !reader.flag("use_sliding_window", default: false) else {
      throw reader.refusal("use_sliding_window", "is true, which implementations of this family understand differently")
    }
    var attention = try reader.groupedAttention(keyValueHeads: 16)
    attention.hasQueryKeyValueBias = try reader.flag("qkv_bias", default: true)
    var shared = try reader.denseFeedForward(width: "shared_expert_intermediate_size", default: 5632)
    shared.prefix = "mlp.shared_expert."
    let experts = try reader.qwenExperts(
      routing: Routing(.softmax, normalizes: try reader.flag("norm_topk_prob", default: false)),
      shared: .init(shared, gateName: "mlp.shared_expert_gate"), default: (experts: 60, perToken: 4, width: 1408))
    return try reader.qwenMoE(attention, experts)
  }
}
