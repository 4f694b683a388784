internal import StrictJSON

/// A model of text and images whose text model belongs to one of the families; image tensors are carried along.
struct MultimodalModel {
  /// `model_type` of the whole.
  let modelType: String
  /// `model_type` of its text model where the file does not say so.
  let textType: String
  /// Whether the text model's keys may lie at the top, without a `text_config`.
  var isFlat = false
  /// Whether the head is the embedding where no `tie_word_embeddings` is.
  var ties = false
  /// Keys of the text model that count where they are missing.
  var defaults: JSONObject = [:]

  static let all = [
    // Files leave out whatever equals the values of the reference implementation's class.
    MultimodalModel(
      modelType: "gemma3", textType: "gemma3_text", ties: true,
      defaults: [
        "vocab_size": 262_208, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 131_072,
      ]),
    MultimodalModel(modelType: "mistral3", textType: "mistral", ties: true),
    MultimodalModel(modelType: "qwen2_vl", textType: "qwen2_vl_text", isFlat: true),
    MultimodalModel(modelType: "qwen2_5_vl", textType: "qwen2_5_vl_text", isFlat: true),
    MultimodalModel(modelType: "qwen3_vl", textType: "qwen3_vl_text", defaults: ["rope_theta": 500_000]),
    MultimodalModel(modelType: "qwen3_vl_moe", textType: "qwen3_vl_moe_text", defaults: ["rope_theta": 500_000]),
  ]

  /// The kind of model that a `config.json` describes; `nil` for text models.
  static func of(_ reader: ConfigurationReader) throws(ModelError) -> MultimodalModel? {
    let type = try reader.string("model_type")
    return all.first { $0.modelType == type }
  }

  /// The configuration of the text model.
  ///
  /// Keys that may lie inside or outside are looked for inside first, but `tie_word_embeddings` outside.
  func textReader(_ reader: ConfigurationReader) throws(ModelError) -> ConfigurationReader {
    let inner = try reader.nested("text_config")
    guard inner != nil || isFlat else { throw reader.refusal("text_config", "is missing") }
    var object = inner?.object ?? reader.object
    object["vision_config"] = nil
    if inner?.value("model_type") == nil { object["model_type"] = .string(textType) }
    for key in ["eos_token_id", "bos_token_id", "vocab_size"] where object[key]?.isNull ?? true {
      object[key] = reader.value(key)
    }
    object["tie_word_embeddings"] = try tying(reader, inner)
    for member in defaults.members where object[member.name] == nil { object[member.name] = member.value }
    return ConfigurationReader(object, file: reader.file, path: inner == nil ? "" : "text_config.")
  }

  /// What is said of tying, if anything; in flat families either place may say so.
  private func tying(
    _ outer: ConfigurationReader, _ inner: ConfigurationReader?
  ) throws(ModelError) -> JSONValue? {
    var given: [Bool] = []
    for reader in [outer, inner].compactMap({ $0 }) where reader.value("tie_word_embeddings") != nil {
      given.append(try reader.flag("tie_word_embeddings", default: false))
    }
    return (isFlat ? given.max { !$0 && $1 } : given.first).map { .bool($0) }
  }
}
