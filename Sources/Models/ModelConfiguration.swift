internal import StrictJSON

/// The numbers of a decoder-only model, family differences resolved.
public struct ModelConfiguration: Sendable {
  /// `model_type` of `config.json`.
  public var modelType: String
  /// Rows of the embedding.
  public var vocabularySize: Int
  /// Channels of the residual stream.
  public var hiddenSize: Int
  /// The decoder layers.
  public var layers: [LayerConfiguration]
  /// Rotary position embeddings that layers refer to.
  public var rotaries: [RotaryEmbedding]
  /// The norm before the head.
  public var finalNorm: NormStyle
  /// Factor of the embedding's rows.
  public var embeddingMultiplier: Float = 1
  /// Factor of the logits.
  public var logitScale: Float = 1
  /// c of c·tanh(logit / c).
  public var logitSoftcap: Float?
  /// Whether the head is the embedding's transpose.
  public var tiesEmbeddings: Bool
  /// Whether the configuration does not say so itself; then a head in the checkpoint counts.
  public var assumesTie = false
  /// Whether the head has a bias.
  public var hasHeadBias = false
  /// Number of positions the model was made for.
  public var maximumPositions: Int
  /// Number of layers behind the last one that predict further tokens (DeepSeek-V3); they are not run.
  public var predictionLayers = 0
  /// Tokens that end a text.
  public var endTokens: [Int]
  /// Token that begins a text, if any.
  public var beginToken: Int?

  /// Number of decoder layers.
  public var layerCount: Int { layers.count }

  /// Whether any layer has experts.
  public var hasExperts: Bool { layers.contains { if case .mixture = $0.feedForward { true } else { false } } }

  /// The widest activation of a token anywhere in a layer.
  public var widestActivation: Int {
    layers.map { layer in
      let attention =
        switch layer.attention {
        case .grouped(let a): (a.heads + 2 * a.keyValueHeads) * a.headDimension
        case .latent(let a): a.heads * (2 * a.headDimension + 2 * a.valueDimension)
        }
      let inner =
        switch layer.feedForward {
        case .dense(let f): 2 * f.width
        case .mixture(let m): max(2 * m.width, 2 * (m.shared?.feedForward.width ?? 0))
        }
      return max(attention, inner, hiddenSize)
    }.max() ?? hiddenSize
  }
}

extension ConfigurationReader {
  /// Reads what all families share, and puts the layers in.
  ///
  /// - Parameters:
  ///   - understood: keys that the family reads itself, which ``refuseForeignArithmetic(except:)`` lets pass.
  ///   - tied: whether the head is the embedding where `tie_word_embeddings` is missing.
  ///   - layer: the configuration of each layer.
  public func model(
    understood: Set<String> = [], rotaries: [RotaryEmbedding], style: NormStyle, tied: Bool = false,
    layer: (Int) throws(ModelError) -> LayerConfiguration
  ) throws(ModelError) -> ModelConfiguration {
    try refuseForeignArithmetic(except: understood)
    var layers: [LayerConfiguration] = []
    for index in 0..<(try layerCount()) { layers.append(try layer(index)) }
    var model = ModelConfiguration(
      modelType: try string("model_type"), vocabularySize: try count("vocab_size"),
      hiddenSize: try count("hidden_size"), layers: layers, rotaries: rotaries, finalNorm: style,
      tiesEmbeddings: try flag("tie_word_embeddings", default: tied),
      maximumPositions: try count("max_position_embeddings", default: 2048), endTokens: try tokens("eos_token_id"),
      beginToken: try tokens("bos_token_id").first)
    model.assumesTie = value("tie_word_embeddings") == nil
    return model
  }

  /// Number of decoder layers.
  public func layerCount() throws(ModelError) -> Int { try count("num_hidden_layers", most: 4096) }

  /// ε of the norms, by its root mean square.
  public func normStyle(
    _ key: String = "rms_norm_eps", default epsilon: Double = 1e-6
  ) throws(ModelError) -> NormStyle {
    NormStyle(epsilon: Float(try positive(key, default: epsilon)))
  }

  /// Heads and their width; no biases, window or norms yet.
  public func groupedAttention(
    headDimension given: Int? = nil, keyValueHeads fallback: Int? = nil
  ) throws(ModelError) -> GroupedAttention {
    let hidden = try count("hidden_size")
    let heads = try count("num_attention_heads")
    let keyValueHeads = try count("num_key_value_heads", default: fallback ?? heads)
    guard heads % keyValueHeads == 0 else {
      throw refusal("num_key_value_heads", "is \(keyValueHeads), which does not divide \(heads) heads")
    }
    guard given != nil || value("head_dim") != nil || hidden % heads == 0 else {
      throw refusal("hidden_size", "is \(hidden), which \(heads) heads do not divide, and head_dim is missing")
    }
    return GroupedAttention(
      heads: heads, keyValueHeads: keyValueHeads,
      headDimension: try count("head_dim", default: given ?? hidden / heads))
  }

  /// The feed-forward of `intermediate_size` channels.
  public func denseFeedForward(
    width key: String = "intermediate_size", default width: Int? = nil, activation: String = "hidden_act",
    gate: String = "silu"
  ) throws(ModelError) -> DenseFeedForward {
    var result = DenseFeedForward(width: try count(key, default: width))
    result.gate = try gateFunction(activation, default: gate)
    return result
  }

  /// What each layer attends to: true where it slides a window.
  ///
  /// - Parameter slides: the family's rule where `layer_types` is missing.
  public func slidingLayers(default slides: (Int) -> Bool) throws(ModelError) -> [Bool] {
    let layers = try layerCount()
    guard let given = value("layer_types") else { return (0..<layers).map(slides) }
    guard let types = given.arrayValue else { throw refusal("layer_types", "is \(given.typeName), expected a list") }
    guard types.count == layers else {
      throw refusal("layer_types", "has \(types.count) entries for \(layers) layers")
    }
    var result: [Bool] = []
    for type in types {
      switch type.stringValue {
      case "full_attention": result.append(false)
      case "sliding_attention": result.append(true)
      default:
        throw refusal("layer_types", "has \(type.compactText), expected \"full_attention\" or \"sliding_attention\"")
      }
    }
    return result
  }

  /// The window of layers that slide one; `nil` where the file says `null`.
  public func window(default fallback: Int?) throws(ModelError) -> Int? {
    if isNull("sliding_window") { return nil }
    return value("sliding_window") == nil ? fallback : try count("sliding_window")
  }

  /// The window of a layer; refused where it slides one that the file does not have.
  func window(_ window: Int?, ofSliding slides: Bool) throws(ModelError) -> Int? {
    guard slides else { return nil }
    guard let window else { throw refusal("sliding_window", "is missing, but layers slide one") }
    return window
  }

  /// Refuses layers that slide a window, for families that have none.
  public func requireFullAttention() throws(ModelError) {
    if try slidingLayers(default: { _ in false }).contains(true) {
      throw refusal("layer_types", "has \"sliding_attention\", expected \"full_attention\"")
    }
  }

  /// A family of equal layers with norms before each block.
  public func uniform(
    understood: Set<String> = [], rotary: RotaryEmbedding, style: NormStyle, attention: GroupedAttention,
    feedForward: DenseFeedForward, tied: Bool = false
  ) throws(ModelError) -> ModelConfiguration {
    let layer = LayerConfiguration(
      attention: .grouped(attention), feedForward: .dense(feedForward), norms: LayerNorms(style: style))
    return try model(understood: understood, rotaries: [rotary], style: style, tied: tied) { _ in layer }
  }
}
