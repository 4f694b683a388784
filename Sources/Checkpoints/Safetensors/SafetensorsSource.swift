public import Tensors

/// The weights of a model: one safetensors file, or the shards that an index names.
public struct SafetensorsSource: WeightSource {
  /// The files, sorted by name.
  public let files: [SafetensorsFile]
  /// Every tensor, file after file, in the order of the data; of a sharded model those that the index names.
  public let tensors: [TensorInfo]
  /// What is odd but harmless, a sentence each: a wrong `total_size`, tensors and files that the index does not name.
  public let warnings: [String]
  private let fileIndices: [String: Int]

  /// One file.
  public init(file path: String) throws(CheckpointError) {
    try self.init(file: path, scope: FileScope(), warnings: [])
  }

  /// The shards that an index names; they lie beside it.
  public init(index path: String) throws(CheckpointError) {
    try self.init(index: path, scope: FileScope())
  }

  /// The weights of a folder: `model.safetensors`, or else `model.safetensors.index.json` and its shards.
  public init(folder path: String) throws(CheckpointError) {
    try self.init(folder: path, scope: FileScope())
  }

  /// Bytes of all tensors.
  public var byteCount: Int { tensors.reduce(0) { $0 + $1.byteCount } }

  /// What is known of one tensor, or `nil` if there is none of this name.
  public func info(_ name: String) -> TensorInfo? { fileIndices[name].flatMap { files[$0].info(name) } }

  /// A view of one tensor; its bytes may be unaligned for their type.
  public func tensor(_ name: String) throws(CheckpointError) -> Tensor {
    guard let index = fileIndices[name] else {
      let place = files.count == 1 ? files[0].path : files.first.map { FileSystem.parent($0.path) } ?? ""
      throw .missingTensor(name, file: place)
    }
    return try files[index].tensor(name)
  }
}

extension SafetensorsSource {
  /// Gives the memory of all mappings' pages back.
  public func discardPages() { for file in files { file.discardPages() } }
}

// MARK: Opening

extension SafetensorsSource {
  static let singleName = "model.safetensors"
  static let indexName = "model.safetensors.index.json"

  init(file path: String, scope: FileScope, warnings: [String]) throws(CheckpointError) {
    try scope.require(path, because: "there is no such file")
    let file = try SafetensorsFile(path: path)
    files = [file]
    tensors = file.tensors
    self.warnings = warnings
    fileIndices = Dictionary(tensors.map { ($0.name, 0) }, uniquingKeysWith: { first, _ in first })
  }

  init(folder: String, scope: FileScope) throws(CheckpointError) {
    let (single, index) = (FileSystem.join(folder, Self.singleName), FileSystem.join(folder, Self.indexName))
    if try scope.has(single) {
      // The loaders that folders are made for look for the single file first, too.
      let unread = FileSystem.isEntry(index) ? ["\(single) is read; \(Self.indexName) beside it is not"] : []
      try self.init(file: single, scope: scope, warnings: unread)
    } else {
      try scope.require(index, because: "there is neither \(Self.singleName) nor \(Self.indexName) in \(folder)")
      try self.init(index: index, scope: scope)
    }
  }

  init(index path: String, scope: FileScope) throws(CheckpointError) {
    let index = try SafetensorsIndex(path: path)
    let folder = FileSystem.parent(path)
    let shards = index.shards
    for shard in shards {
      try scope.require(FileSystem.join(folder, shard), because: "\(path) names this shard")
    }
    var files: [SafetensorsFile] = []
    for shard in shards { files.append(try SafetensorsFile(path: FileSystem.join(folder, shard))) }
    let found = try Self.places(of: files, shards: shards, index: path)
    for (tensor, shard) in index.places {
      func refuse(_ problem: String) -> CheckpointError {
        .malformed(file: path, offset: nil, tensor: tensor, problem: problem)
      }
      let said = "the index says it is in \(shard)"
      guard let place = found[tensor] else { throw refuse("\(said), which does not hold it") }
      guard shards[place] == shard else { throw refuse("\(said), but \(shards[place]) holds it") }
    }
    let names = Set(index.places.map(\.tensor))
    let listed = found.filter { names.contains($0.key) }
    self.files = files
    tensors = files.flatMap(\.tensors).filter { listed[$0.name] != nil }
    fileIndices = listed
    var warnings = files.compactMap { Self.warning(forUnlisted: $0, listed) }
    if let warning = index.warning(forTotalSize: tensors.reduce(0) { $0 + $1.byteCount }) { warnings.append(warning) }
    self.warnings = warnings + Self.warnings(forFilesIn: folder, besides: Set(shards))
  }

  /// Which shard holds which tensor.
  ///
  /// A tensor in two shards is refused even where the index picks one: loaders that read whole shards take the other.
  private static func places(
    of files: [SafetensorsFile], shards: [String], index path: String
  ) throws(CheckpointError) -> [String: Int] {
    var places: [String: Int] = [:]
    for (place, file) in files.enumerated() {
      for entry in file.header.entries {
        guard let earlier = places.updateValue(place, forKey: entry.info.name) else { continue }
        throw .malformed(
          file: path, offset: nil, tensor: entry.info.name,
          problem: "both \(shards[earlier]) and \(shards[place]) hold it")
      }
    }
    return places
  }

  private static func warnings(forFilesIn folder: String, besides shards: Set<String>) -> [String] {
    do {
      return try FileSystem.entries(folder).filter { $0.hasSuffix(".safetensors") && !shards.contains($0) }
        .map { "\(FileSystem.join(folder, $0)) is not named by the index and is not read" }
    } catch {
      return [error.description]
    }
  }

  private static func warning(forUnlisted file: SafetensorsFile, _ listed: [String: Int]) -> String? {
    let names = file.header.entries.map(\.info.name).filter { listed[$0] == nil }
    guard !names.isEmpty else { return nil }
    let some = names.prefix(3).map { "\"\($0)\"" }.joined(separator: ", ") + (names.count > 3 ? ", …" : "")
    return "\(file.path): the index does not name \(names.count) of its tensors, which are not read: \(some)"
  }
}
