import StrictJSON
import Testing

/// A change of a configuration that reads well, and the key by which it is refused.
struct ConfigurationRefusal: Sendable, CustomTestStringConvertible {
  /// A folder of `Families`, or a kind of tiny model.
  let family: String
  let changes: JSONObject
  let key: String
  var testDescription: String { "\(family): \(JSONValue.object(changes).compactText)" }

  init(_ family: String, _ changes: JSONObject, _ key: String) {
    self.family = family
    self.changes = changes
    self.key = key
  }

  /// A change of one key, refused by that key.
  init(_ family: String, _ key: String, _ value: JSONValue) { self.init(family, [key: value], key) }

  static let all = common + foreign + families + numbers

  private static let common = [
    ConfigurationRefusal("llama", "hidden_act", "relu"),
    ConfigurationRefusal("llama", "hidden_act", 1),
    ConfigurationRefusal("llama", "num_key_value_heads", 3),
    ConfigurationRefusal("llama", "num_key_value_heads", 0),
    ConfigurationRefusal("llama", ["num_attention_heads": 5, "num_key_value_heads": 5], "hidden_size"),
    ConfigurationRefusal("llama", "head_dim", 15),
    ConfigurationRefusal("llama", "head_dim", .number("16.5")),
    ConfigurationRefusal("llama", "hidden_size", .null),
    ConfigurationRefusal("llama", "hidden_size", -64),
    ConfigurationRefusal("llama", "hidden_size", .number("1e300")),
    ConfigurationRefusal("llama", "intermediate_size", .null),
    ConfigurationRefusal("llama", "intermediate_size", "96"),
    ConfigurationRefusal("llama", "num_hidden_layers", 0),
    ConfigurationRefusal("llama", "vocab_size", .null),
    ConfigurationRefusal("llama", "rms_norm_eps", 0),
    ConfigurationRefusal("llama", "rms_norm_eps", "small"),
    ConfigurationRefusal("llama", "rope_theta", 0),
    ConfigurationRefusal("llama", "tie_word_embeddings", "yes"),
    ConfigurationRefusal("llama", "attention_bias", 1),
    ConfigurationRefusal("llama", "eos_token_id", ["a"]),
    ConfigurationRefusal("llama", "eos_token_id", "2"),
    ConfigurationRefusal("llama", "layer_types", ["full_attention"]),
    ConfigurationRefusal("llama", "layer_types", ["full_attention", "sliding_attention"]),
    ConfigurationRefusal("llama", "layer_types", ["full_attention", "linear_attention"]),
    ConfigurationRefusal("llama", "layer_types", "full_attention"),
    ConfigurationRefusal("llama", "model_type", .null),
    ConfigurationRefusal("llama", "model_type", 7),
  ]

  /// Keys of other families.
  private static let foreign = [
    ConfigurationRefusal("llama", "sliding_window", 4096),
    ConfigurationRefusal("llama", "use_sliding_window", true),
    ConfigurationRefusal("llama", "attn_logit_softcapping", 50),
    ConfigurationRefusal("llama", "final_logit_softcapping", 30),
    ConfigurationRefusal("llama", "query_pre_attn_scalar", 256),
    ConfigurationRefusal("llama", "partial_rotary_factor", .number("0.5")),
    ConfigurationRefusal("llama", "embedding_multiplier", 12),
    ConfigurationRefusal("llama", "residual_multiplier", .number("0.22")),
    ConfigurationRefusal("llama", "attention_multiplier", .number("0.015")),
    ConfigurationRefusal("llama", "logits_scaling", 8),
    ConfigurationRefusal("llama", "clip_qkv", 8),
    ConfigurationRefusal("llama", "num_local_experts", 8),
    ConfigurationRefusal("llama", "kv_lora_rank", 512),
    ConfigurationRefusal("llama", "use_qk_norm", true),
    ConfigurationRefusal("llama", "no_rope_layers", [1, 1, 0]),
    ConfigurationRefusal("llama", "rope_interleaved", true),
    ConfigurationRefusal("llama", "text_config", ["model_type": "llama"]),
    ConfigurationRefusal("llama", "hidden_activation", "gelu_pytorch_tanh"),
    ConfigurationRefusal("qwen3", "index_topk", 64),
    ConfigurationRefusal("gemma3_text", "use_bidirectional_attention", true),
    ConfigurationRefusal("gemma3_text", "attn_logit_softcapping", 50),
    ConfigurationRefusal("deepseek_v3", "index_topk", 2048),
    ConfigurationRefusal("hunyuan_v1_dense", "use_cla", true),
  ]

  private static let families = [
    ConfigurationRefusal("qwen2", "layer_types", ["sliding_attention", "full_attention"]),
    ConfigurationRefusal(
      "qwen3_moe",
      ["use_sliding_window": true, "layer_types": ["full_attention", "full_attention", "sliding_attention"]],
      "layer_types"),
    ConfigurationRefusal("qwen2_moe", "use_sliding_window", true),
    ConfigurationRefusal("qwen2_moe", "use_qk_norm", true),
    ConfigurationRefusal("qwen3_moe", "use_qk_norm", false),
    ConfigurationRefusal("qwen3_moe", "num_experts_per_tok", 7),
    ConfigurationRefusal("qwen3_moe", "decoder_sparse_step", 0),
    ConfigurationRefusal("mixtral", "num_experts_per_tok", 5),
    ConfigurationRefusal("gpt_oss", "num_experts_per_tok", 5),
    ConfigurationRefusal("olmo3", ["sliding_window": .null, "layer_types": 3], "layer_types"),
    ConfigurationRefusal("olmo3", ["rope_theta": 10_000, "rope_parameters": .null], "rope_theta"),
    ConfigurationRefusal("cohere2", "head_dim", 10),
    ConfigurationRefusal("exaone4", ["layer_types": .null, "sliding_window_pattern": "LXG"], "sliding_window_pattern"),
    ConfigurationRefusal("smollm3", "no_rope_layers", [1, 1]),
    ConfigurationRefusal("smollm3", "no_rope_layers", [1, 2, 1, 0]),
    ConfigurationRefusal(
      "smollm3",
      [
        "layer_types": ["sliding_attention", "full_attention", "full_attention", "full_attention"],
        "sliding_window": .null,
      ], "sliding_window"),
    ConfigurationRefusal("hunyuan_v1_dense", "use_qk_norm", false),
    ConfigurationRefusal("hunyuan_v1_dense", "attention_head_dim", 8),
    ConfigurationRefusal("deepseek_v3", "scoring_func", "softmax"),
    ConfigurationRefusal("deepseek_v3", "topk_method", "greedy"),
    ConfigurationRefusal("deepseek_v3", "n_group", 3),
    ConfigurationRefusal("deepseek_v3", "topk_group", 5),
    ConfigurationRefusal("deepseek_v3", "num_experts_per_tok", 5),
    ConfigurationRefusal("deepseek_v3", "first_k_dense_replace", 4),
    ConfigurationRefusal("deepseek_v3", "qk_rope_head_dim", 7),
    ConfigurationRefusal("deepseek_v2", "scoring_func", "sigmoid"),
    ConfigurationRefusal("deepseek_v2", "norm_topk_prob", true),
    ConfigurationRefusal("deepseek_v2", "topk_method", "noaux_tc"),
    ConfigurationRefusal("deepseek_v2", "topk_group", .null),
    ConfigurationRefusal(
      "glm4",
      ["rope_parameters": ["rope_type": "default", "rope_theta": 10_000, "partial_rotary_factor": .number("0.3")]],
      "partial_rotary_factor"),
  ]

  /// Numbers that kernels would trap on, or that would take all memory.
  private static let numbers = [
    ConfigurationRefusal("gemma2", "attn_logit_softcapping", 0),
    ConfigurationRefusal("gemma2", "attn_logit_softcapping", -50),
    ConfigurationRefusal("gemma2", "attn_logit_softcapping", .number("1e-50")),
    ConfigurationRefusal("gemma2", "final_logit_softcapping", 0),
    ConfigurationRefusal("gemma2", "final_logit_softcapping", .number("1e300")),
    ConfigurationRefusal("gemma2", "query_pre_attn_scalar", -1),
    ConfigurationRefusal("gemma2", "sliding_window", 0),
    ConfigurationRefusal("granite", "attention_multiplier", 0),
    ConfigurationRefusal("granite", "attention_multiplier", .number("-0.5")),
    ConfigurationRefusal("granite", "logits_scaling", 0),
    ConfigurationRefusal("cohere", "logit_scale", 0),
    ConfigurationRefusal("cohere", "layer_norm_eps", 0),
    ConfigurationRefusal("olmoe", "clip_qkv", 0),
    ConfigurationRefusal("gpt_oss", "swiglu_limit", 0),
    ConfigurationRefusal("mistral", "sliding_window", -1),
    ConfigurationRefusal("deepseek_v3", "routed_scaling_factor", 0),
    ConfigurationRefusal("deepseek_v3", "v_head_dim", 0),
    ConfigurationRefusal("llama", "num_hidden_layers", 5000),
    ConfigurationRefusal("llama", "num_attention_heads", 536_870_912),
    ConfigurationRefusal("mixtral", "num_local_experts", 1_048_576),
    ConfigurationRefusal("deepseek_v3", "n_shared_experts", 1_048_576),
  ]
}
