internal import StrictJSON

/// A family of models as data: which configurations it reads, and what its layers are.
public struct Architecture: Sendable {
  /// `model_type`s of `config.json` that belong to the family.
  public let modelTypes: [String]
  /// Reads `config.json`; what cannot be expressed is refused by its key.
  public let configuration: @Sendable (ConfigurationReader) throws(ModelError) -> ModelConfiguration

  /// A family.
  public init(
    modelTypes: [String],
    configuration: @escaping @Sendable (ConfigurationReader) throws(ModelError) -> ModelConfiguration
  ) {
    self.modelTypes = modelTypes
    self.configuration = configuration
  }

  /// The family that a `config.json` belongs to.
  public static func of(_ reader: ConfigurationReader) throws(ModelError) -> Architecture {
    let modelType = try reader.string("model_type")
    guard let found = all.first(where: { $0.modelTypes.contains(modelType) }) else {
      throw .unknownFamily(file: reader.file, modelType: modelType, known: all.flatMap(\.modelTypes))
    }
    return found
  }

  /// Reads the configuration of a model: its own, or that of the text model inside a multimodal one.
  ///
  /// Keys that the inner object lacks are taken from the outer one, as the reference implementation does for the few
  /// that both may hold.
  public static func configuration(of reader: ConfigurationReader) throws(ModelError) -> ModelConfiguration {
    guard let inner = try reader.nested("text_config") else { return try of(reader).configuration(reader) }
    var object = inner.object
    for key in ["tie_word_embeddings", "eos_token_id", "bos_token_id", "vocab_size"]
    where inner.value(key) == nil {
      if let value = reader.value(key) { object[key] = value }
    }
    if inner.value("model_type") == nil, let outer = reader.value("model_type")?.stringValue {
      object["model_type"] = .string(outer + "_text")
    }
    let text = ConfigurationReader(object, file: reader.file, path: "text_config.")
    return try of(text).configuration(text)
  }
}
