internal import StrictJSON

/// The list of a sharded model: which tensor lies in which file.
struct SafetensorsIndex {
  /// The index file.
  let path: String
  /// Tensor and shard names, in file order.
  let places: [(tensor: String, shard: String)]
  /// What `metadata.total_size` says, as it is spelled.
  let totalSize: JSONValue?

  /// Reads an index and checks every name in it; no shard is opened.
  init(path: String) throws(CheckpointError) {
    func refuse(_ problem: String, tensor: String? = nil, offset: Int? = nil) -> CheckpointError {
      .malformed(file: path, offset: offset, tensor: tensor, problem: problem)
    }
    let value: JSONValue
    let text = try FileSystem.read(path)
    do { value = try JSONValue(parsing: text) } catch {
      throw refuse("the index is not valid JSON: \(error.reason)", offset: error.offset)
    }
    guard let root = value.objectValue else { throw refuse("the index is \(value.typeName), an object is expected") }
    guard let metadata = root["metadata"] else { throw refuse("metadata is missing") }
    guard let about = metadata.objectValue else {
      throw refuse("metadata is \(metadata.typeName), an object is expected")
    }
    guard let map = root["weight_map"] else { throw refuse("weight_map is missing") }
    guard let members = map.objectValue?.members else {
      throw refuse("weight_map is \(map.typeName), an object is expected")
    }
    guard !members.isEmpty else { throw refuse("weight_map is empty") }
    var names = Set<String>(minimumCapacity: members.count)
    var places: [(String, String)] = []
    for member in members {
      guard names.insert(member.name).inserted else {
        throw refuse("the name occurs twice, in different Unicode forms", tensor: member.name)
      }
      guard let shard = member.value.stringValue else {
        throw refuse("the shard is \(member.value.typeName), a file name is expected", tensor: member.name)
      }
      if let problem = FileSystem.problem(withRelativePath: shard) {
        throw refuse("the shard name \"\(shard)\" \(problem)", tensor: member.name)
      }
      guard shard.hasSuffix(".safetensors") else {
        throw refuse("the shard name \"\(shard)\" does not end in .safetensors", tensor: member.name)
      }
      places.append((member.name, shard))
    }
    self.path = path
    self.places = places
    totalSize = about["total_size"]
  }

  /// The shards, each once, sorted by bytes.
  var shards: [String] {
    Set(places.map(\.shard)).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  /// A sentence when `total_size` is there and is not the tensors' size; published files are often wrong.
  func warning(forTotalSize found: Int) -> String? {
    guard let totalSize, totalSize.intValue != found, totalSize.doubleValue != Double(found) else { return nil }
    let said = if case .number(let spelling) = totalSize { spelling } else { totalSize.typeName }
    return "\(path): total_size is \(said), the tensors take \(found) bytes"
  }
}
