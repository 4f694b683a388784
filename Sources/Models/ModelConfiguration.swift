internal import StrictJSON

/// The numbers of a decoder-only model, family differences resolved.
public struct ModelConfiguration: Sendable {
  /// `model_type` of `config.json`.
  public var modelType: String
  /// Rows of the embedding.
  public var vocabularySize: Int
  /// Channels of the residual stream.
  public var hiddenSize: Int
  /// Channels inside the feed-forward.
  public var intermediateSize: Int
  /// Number of decoder layers.
  public var layerCount: Int
  /// Number of query heads.
  public var heads: Int
  /// Number of key-value heads; divides ``heads``.
  public var keyValueHeads: Int
  /// Channels a head.
  public var headDimension: Int
  /// ε of the norms.
  public var normEpsilon: Float
  /// Rotary position embedding.
  public var rotary: RotaryEmbedding
  /// Whether the head is the embedding's transpose.
  public var tiesEmbeddings: Bool
  /// Whether q, k and v have biases.
  public var hasQueryKeyValueBias: Bool
  /// Whether o has a bias.
  public var hasOutputBias: Bool
  /// Whether gate, up and down have biases.
  public var hasFeedForwardBias: Bool
  /// Number of positions the model was made for.
  public var maximumPositions: Int
  /// Tokens that end a text.
  public var endTokens: [Int]
  /// Token that begins a text, if any.
  public var beginToken: Int?
}

extension ConfigurationReader {
  /// Reads the keys that llama-like families share.
  ///
  /// - Parameter understood: further keys of the family that ``refuseForeignArithmetic(except:)`` should let pass.
  public func decoderConfiguration(understood: Set<String> = []) throws(ModelError) -> ModelConfiguration {
    try refuseForeignArithmetic(except: understood)
    let activation = try string("hidden_act", default: "silu")
    guard activation == "silu" || activation == "swish" else {
      throw refusal("hidden_act", "is \"\(activation)\", expected \"silu\"")
    }
    let hidden = try count("hidden_size")
    let heads = try count("num_attention_heads")
    let keyValueHeads = try count("num_key_value_heads", default: heads)
    guard heads % keyValueHeads == 0 else {
      throw refusal("num_key_value_heads", "is \(keyValueHeads), which does not divide \(heads) heads")
    }
    guard value("head_dim") != nil || hidden % heads == 0 else {
      throw refusal("hidden_size", "is \(hidden), which \(heads) heads do not divide, and head_dim is missing")
    }
    let headDimension = try count("head_dim", default: hidden / heads)
    let layers = try count("num_hidden_layers")
    if let given = value("layer_types") {
      guard let types = given.arrayValue else { throw refusal("layer_types", "is \(given.typeName), expected a list") }
      guard types.count == layers else {
        throw refusal("layer_types", "has \(types.count) entries for \(layers) layers")
      }
      if let odd = types.first(where: { $0.stringValue != "full_attention" }) {
        throw refusal("layer_types", "has \(odd.compactText), expected \"full_attention\"")
      }
    }
    return ModelConfiguration(
      modelType: try string("model_type"), vocabularySize: try count("vocab_size"), hiddenSize: hidden,
      intermediateSize: try count("intermediate_size"), layerCount: layers, heads: heads, keyValueHeads: keyValueHeads,
      headDimension: headDimension, normEpsilon: Float(try positive("rms_norm_eps", default: 1e-6)),
      rotary: try rotaryEmbedding(dimension: headDimension),
      tiesEmbeddings: try flag("tie_word_embeddings", default: false), hasQueryKeyValueBias: false,
      hasOutputBias: false, hasFeedForwardBias: false,
      maximumPositions: try count("max_position_embeddings", default: 2048),
      endTokens: try tokens("eos_token_id"), beginToken: try tokens("bos_token_id").first)
  }
}
