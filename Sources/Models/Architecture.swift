/// A family of models as data: which configurations it reads, and which op feeds which linears.
public struct Architecture: Sendable {
  /// `model_type`s of `config.json` that belong to the family.
  public let modelTypes: [String]
  /// Reads `config.json`; what cannot be expressed is refused by its key.
  public let configuration: @Sendable (ConfigurationReader) throws(ModelError) -> ModelConfiguration
  /// Where activation-aware scales can be folded, in the order they are searched.
  public let folds: [Fold]

  /// A family.
  public init(
    modelTypes: [String], folds: [Fold],
    configuration: @escaping @Sendable (ConfigurationReader) throws(ModelError) -> ModelConfiguration
  ) {
    self.modelTypes = modelTypes
    self.folds = folds
    self.configuration = configuration
  }

  /// Every family, one file each.
  public static let all: [Architecture] = [.llama, .qwen2]

  /// The family that a `config.json` belongs to.
  public static func of(_ reader: ConfigurationReader) throws(ModelError) -> Architecture {
    let modelType = try reader.string("model_type")
    guard let found = all.first(where: { $0.modelTypes.contains(modelType) }) else {
      throw .unknownFamily(file: reader.file, modelType: modelType, known: all.flatMap(\.modelTypes))
    }
    return found
  }
}

/// A place where channel scales can move from one op into the linears that read it, leaving the function unchanged.
///
/// The source's output channels are divided by s, and the columns of every linear that reads them are multiplied by s.
/// `linears` must be all readers of the source.
public struct Fold: Sendable, Hashable {
  /// What is divided.
  public enum Source: Sendable, Hashable {
    /// The weight of a norm.
    case norm(String)
    /// The output features of the value projection; each key-value head is read by several query heads.
    case valueHeads(String)
    /// The output features of a linear, one for one.
    case linear(String)
  }

  /// The part of a decoder layer whose output tells whether a fold helps.
  public enum Block: Sendable, Hashable {
    /// Attention, from the norm's output to the output projection's.
    case attention
    /// The feed-forward, from the norm's output to the down projection's.
    case feedForward
  }

  /// What is divided by the scales.
  public let source: Source
  /// What is multiplied, names within the layer.
  public let linears: [String]
  /// Where the loss is measured.
  public let block: Block

  /// A fold.
  public init(_ source: Source, into linears: [String], block: Block) {
    self.source = source
    self.linears = linears
    self.block = block
  }

  /// Name within the layer of what is divided.
  public var sourceName: String {
    switch source {
    case .norm(let name), .valueHeads(let name), .linear(let name): name
    }
  }

  /// Such as `input_layernorm → q_proj, k_proj, v_proj`.
  public var title: String {
    func last(_ name: String) -> String { String(name.split(separator: ".").last ?? "") }
    return "\(last(sourceName)) → \(linears.map(last).joined(separator: ", "))"
  }
}
