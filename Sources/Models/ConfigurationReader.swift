public import Kernels
public import StrictJSON

/// Reads `config.json` strictly: a value of the wrong type is refused by its key, `null` counts as absent.
public struct ConfigurationReader: Sendable {
  /// The file, for messages.
  public let file: String
  /// All keys.
  public let object: JSONObject
  private let path: String

  /// A reader of one object; `path` prefixes keys in messages.
  public init(_ object: JSONObject, file: String, path: String = "") {
    self.object = object
    self.file = file
    self.path = path
  }

  /// The value of a key that is there and not `null`.
  public func value(_ key: String) -> JSONValue? {
    guard let value = object[key], !value.isNull else { return nil }
    return value
  }

  /// Whether a key is there and says `null`, where that means something else than nothing at all.
  public func isNull(_ key: String) -> Bool { object[key]?.isNull ?? false }

  /// An error about one key.
  public func refusal(_ key: String, _ problem: String) -> ModelError {
    .configuration(file: file, key: path + key, problem: problem)
  }

  private func read<Value>(
    _ key: String, _ kind: String, default fallback: Value?, _ convert: (JSONValue) -> Value?
  ) throws(ModelError) -> Value {
    guard let value = value(key) else {
      if let fallback { return fallback }
      throw refusal(key, "is missing")
    }
    guard let result = convert(value) else { throw refusal(key, "is \(value.compactText), expected \(kind)") }
    return result
  }

  /// The largest extent: products of two with a small number do not overflow.
  public static let largestCount = 1 << 28

  /// A whole number from 1 on.
  public func count(
    _ key: String, default fallback: Int? = nil, most: Int = largestCount
  ) throws(ModelError) -> Int {
    try read(key, "a whole number from 1 to \(most)", default: fallback) { value in
      value.intValue.flatMap { (1...most).contains($0) ? $0 : nil }
    }
  }

  /// A number above zero, in float32 too.
  public func positive(_ key: String, default fallback: Double? = nil) throws(ModelError) -> Double {
    try read(key, "a positive number", default: fallback) { value in
      value.doubleValue.flatMap { Float($0) > 0 && Float($0).isFinite ? $0 : nil }
    }
  }

  /// A number above zero, if there is one.
  public func positiveIfAny(_ key: String) throws(ModelError) -> Double? {
    value(key) == nil ? nil : try positive(key)
  }

  /// A whole number from 0 on.
  public func countOrZero(_ key: String, default fallback: Int = 0) throws(ModelError) -> Int {
    try read(key, "a whole number from 0 to \(Self.largestCount)", default: fallback) { value in
      value.intValue.flatMap { (0...Self.largestCount).contains($0) ? $0 : nil }
    }
  }

  /// Whole numbers.
  public func integers(_ key: String, default fallback: [Int]? = nil) throws(ModelError) -> [Int] {
    try read(key, "a list of whole numbers", default: fallback) { value in
      let numbers = value.arrayValue?.compactMap(\.intValue)
      return numbers?.count == value.arrayValue?.count ? numbers : nil
    }
  }

  /// The function of a gate.
  public func gateFunction(_ key: String, default fallback: String) throws(ModelError) -> GateFunction {
    switch try string(key, default: fallback) {
    case "silu", "swish": return .silu
    case "gelu_pytorch_tanh", "gelu_new", "gelu_fast": return .geluTanh
    case "gelu": return .gelu
    case let other:
      throw refusal(key, "is \"\(other)\"; known are silu, gelu and gelu_pytorch_tanh")
    }
  }

  /// An object inside, read as strictly.
  public func nested(_ key: String) throws(ModelError) -> ConfigurationReader? {
    guard let json = value(key) else { return nil }
    guard let object = json.objectValue else { throw refusal(key, "is \(json.typeName), expected an object") }
    return ConfigurationReader(object, file: file, path: path + key + ".")
  }

  /// A truth value.
  public func flag(_ key: String, default fallback: Bool) throws(ModelError) -> Bool {
    try read(key, "true or false", default: fallback, \.boolValue)
  }

  /// A string.
  public func string(_ key: String, default fallback: String? = nil) throws(ModelError) -> String {
    try read(key, "a string", default: fallback, \.stringValue)
  }

  /// Token ids: one, a list, or none.
  public func tokens(_ key: String) throws(ModelError) -> [Int] {
    try read(key, "a token id or a list of them", default: []) { value in
      if let id = value.intValue { return [id] }
      let ids = value.arrayValue?.compactMap(\.intValue)
      return ids?.count == value.arrayValue?.count ? ids : nil
    }
  }

  /// Refuses keys that change the arithmetic of other families, unless they are neutral here.
  ///
  /// - Parameter understood: keys that the family reads itself.
  public func refuseForeignArithmetic(except understood: Set<String> = []) throws(ModelError) {
    for (key, neutral) in Self.foreign where !understood.contains(key) {
      guard let value = value(key), !neutral.contains(value) else { continue }
      if case .number = value, let number = value.doubleValue, neutral.contains(where: { $0.doubleValue == number }) {
        continue
      }
      throw refusal(key, "is \(value.compactText), which this family does not know how to compute")
    }
  }

  /// Keys that some families compute with, and the values under which they change nothing.
  private static let foreign: [(String, [JSONValue])] = [
    ("attn_logit_softcapping", []), ("final_logit_softcapping", []), ("query_pre_attn_scalar", []),
    ("partial_rotary_factor", [1]), ("rotary_pct", [1]), ("qk_norm", [false]), ("use_qk_norm", [false]),
    ("embedding_multiplier", [1]), ("residual_multiplier", [1]), ("attention_multiplier", []), ("logits_scaling", [1]),
    ("logit_scale", [1]), ("scale_emb", [1]), ("scale_depth", []), ("clip_qkv", []), ("alibi", [false]),
    ("use_parallel_residual", [false]), ("parallel_attn", [false]), ("num_local_experts", [0]), ("num_experts", [0]),
    ("n_routed_experts", [0]), ("kv_lora_rank", [0]), ("q_lora_rank", [0]), ("swiglu_limit", []),
    ("no_rope_layers", [[]]), ("no_rope_layer_interval", [0]), ("attn_temperature_tuning", [false]),
    ("rope_local_base_freq", []), ("rope_interleave", [false]), ("index_topk", []), ("attn_output_gate", [false]),
    ("rope_interleaved", [false]),
    ("sliding_window", []), ("use_sliding_window", [false]), ("is_encoder_decoder", [false]),
    ("add_cross_attention", [false]), ("text_config", []), ("vision_config", []), ("hidden_activation", ["silu"]),
    ("use_mrope", [false]), ("attention_chunk_size", []), ("use_bidirectional_attention", [false]),
    ("position_embedding_type", ["rope"]), ("layer_norm_type", ["rms_norm"]), ("norm_type", ["rms_norm", "rms"]),
    ("use_cla", [false]),
  ]
}
