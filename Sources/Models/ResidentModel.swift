internal import Kernels

/// A model all of whose layers are in memory, as generating text needs them.
public struct ResidentModel: Sendable {
  /// The numbers.
  public let configuration: ModelConfiguration
  let embedding: Embedding
  var layers: [DecoderLayer]
  let head: Head
  let rotaryTables: @Sendable (_ positions: Int) -> [RotaryTable]

  /// Loads everything.
  public init(_ model: LanguageModel) throws(ModelError) {
    configuration = model.configuration
    let isTied = configuration.tiesEmbeddings
    // Both ends and all layers at once: the frames of one linear are too few for all cores.
    let parts = Parallel.map(configuration.layerCount + 2) { index in
      Result { () throws(ModelError) in try Self.part(index, of: model) }
    }
    var embedding: Embedding?
    var head: Head?
    var layers: [DecoderLayer] = []
    for part in parts {
      switch try part.get() {
      case .embedding(let table): embedding = table
      case .head(let loaded): head = loaded
      case .layer(let layer): layers.append(layer)
      case .none: break
      }
    }
    let table = if let embedding { embedding } else { try model.embedding() }
    self.embedding = table
    self.head = if let head, !isTied { head } else { try model.head(projection: try table.table.resident()) }
    self.layers = layers
    rotaryTables = { model.rotaryTables(positions: $0) }
  }

  private enum Part: Sendable {
    case embedding(Embedding)
    case head(Head)
    case layer(DecoderLayer)
    case none
  }

  private static func part(_ index: Int, of model: LanguageModel) throws(ModelError) -> Part {
    switch index {
    case 0: return .embedding(try model.embedding())
    case 1:
      if model.configuration.tiesEmbeddings { return .none }
      return .head(try model.head(projection: try model.linear(model.names.head).resident()))
    default:
      var layer = try model.layer(index - 2)
      try layer.makeResident()
      return .layer(layer)
    }
  }
}
