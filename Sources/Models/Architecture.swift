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
      throw .unknownFamily(
        file: reader.file, modelType: modelType, known: all.flatMap(\.modelTypes) + MultimodalModel.all.map(\.modelType)
      )
    }
    return found
  }

  /// Reads the configuration of a model: its own, or that of the text model inside a multimodal one.
  public static func configuration(of reader: ConfigurationReader) throws(ModelError) -> ModelConfiguration {
    guard let whole = try MultimodalModel.of(reader) else { return try of(reader).configuration(reader) }
    let text = try whole.textReader(reader)
    var configuration = try of(text).configuration(text)
    if configuration.assumesTie { configuration.tiesEmbeddings = whole.ties }
    return configuration
  }
}
