internal import StrictJSON
public import Tensors

extension Checkpoint {
  /// The same model with an adapter merged into it, tensor by tensor as they are read.
  ///
  /// The configuration changes where the adapter changes the vocabulary's size or breaks the tie of head and embedding.
  ///
  /// - Parameter deferringQuantized: whether the caller merges the rows of linears that are stored quantized, which it
  ///   decodes itself (``AdaptedSource/deferredModules``); otherwise a base with such linears is refused.
  public func adapted(
    by adapter: Adapter, deferringQuantized: Bool = false
  ) throws(CheckpointError) -> Checkpoint {
    guard self.adapter == nil else {
      throw .malformed(file: adapter.path, offset: nil, tensor: nil, problem: "\(name) has an adapter already")
    }
    let source = try AdaptedSource(weights, adapter: adapter, isTied: declaredTie)
    if let module = source.deferredModules.min(), !deferringQuantized {
      throw .malformed(
        file: adapter.path, offset: nil, tensor: module,
        problem: "\(name) stores it quantized, so that the adapter cannot be merged into its weights exactly;"
          + " give the model in full precision")
    }
    var configuration = configuration
    if let rows = source.vocabularySize { Self.set("vocab_size", .integer(rows), in: &configuration) }
    if source.breaksTie { Self.set("tie_word_embeddings", false, in: &configuration) }
    return Checkpoint(self, configuration: configuration, weights: source, adapter: adapter)
  }

  /// The rows of a module that was decoded, with the adapter in them if ``AdaptedSource`` left that to its reader.
  ///
  /// All others come back as they are: their tensors are merged already, or the adapter does not touch them.
  ///
  /// - Parameters:
  ///   - rows: the base's, `[outFeatures, inFeatures]`.
  ///   - module: its name in the checkpoint, such as `model.layers.0.mlp.up_proj`.
  public func adapted(_ rows: WeightRows, module: String) throws(CheckpointError) -> WeightRows {
    guard let adapter, (weights as? AdaptedSource)?.deferredModules.contains(module) ?? false else { return rows }
    return try adapter.merged(rows, module: module) ?? rows
  }

  /// What is odd but harmless about the adapter, a sentence each.
  public var adapterWarnings: [String] { (weights as? AdaptedSource)?.warnings ?? [] }

  /// Whether `config.json` says that head and embedding are one; `nil` where it does not say.
  private var declaredTie: Bool? {
    let key = "tie_word_embeddings"
    return (configuration[key] ?? configuration["text_config"]?[key])?.boolValue
  }

  /// Sets a key where the file has it: at the top, in `text_config`, or in both; at the top if in neither.
  static func set(_ key: String, _ value: JSONValue, in configuration: inout JSONObject) {
    var isNested = false
    if var text = configuration["text_config"]?.objectValue, text[key] != nil {
      text[key] = value
      configuration["text_config"] = .object(text)
      isNested = true
    }
    if !isNested || configuration[key] != nil { configuration[key] = value }
  }

  /// A file that the adapter changes or brings along, or `nil`.
  func adaptedFile(_ name: String, by adapter: Adapter) throws(CheckpointError) -> [UInt8]? {
    guard let source = weights as? AdaptedSource else { return nil }
    if name == "config.json" {
      guard source.vocabularySize != nil || source.breaksTie else { return nil }
      return Array(JSONValue.object(configuration).prettyText.utf8)
    }
    // Tokens that the base does not have are known to the tokenizer that was trained with them alone.
    guard source.vocabularySize != nil, Self.tokenizerFiles.contains(name) else { return nil }
    return try adapter.file(name)
  }

  /// Files that know a model's tokens.
  static let tokenizerFiles = [
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
  ]
}
