public import Tensors

/// One safetensors file, mapped into memory; its tensors are views of the mapping.
public struct SafetensorsFile: WeightSource {
  /// The file.
  public let path: String
  /// What the file says of its tensors, checked.
  public let header: SafetensorsHeader
  private let storage: TensorStorage

  /// Maps a file and checks its header; the data are not read yet.
  public init(path: String) throws(CheckpointError) {
    let storage: TensorStorage
    do { storage = try MappedFile.open(path) } catch { throw .file(error) }
    try self.init(storage, path: path)
  }

  /// A file that is already in memory; the path is for messages.
  public init(_ storage: TensorStorage, path: String) throws(CheckpointError) {
    self.path = path
    self.storage = storage
    header = try SafetensorsHeader(reading: storage, path: path)
  }

  /// Every tensor, in the order of the data.
  public var tensors: [TensorInfo] { header.entries.map(\.info) }

  /// What is known of one tensor, or `nil` if there is none of this name.
  public func info(_ name: String) -> TensorInfo? { header[name]?.info }

  /// A view of one tensor; its bytes may be unaligned for their type.
  public func tensor(_ name: String) throws(CheckpointError) -> Tensor {
    guard let entry = header[name] else { throw .missingTensor(name, file: path) }
    return Tensor(
      entry.info.dtype, entry.info.shape, storage: storage, byteOffset: header.dataOffset + entry.range.lowerBound)
  }

  /// Gives the memory of the mapping's pages back.
  public func discardPages() { storage.discardPages() }
}
