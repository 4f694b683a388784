public import Tensors

/// Writes one safetensors file, tensor after tensor, without holding more than one of them.
///
/// The file is `PATH.partial` until ``finish()``; a writer that is given up removes it.
///
/// ```swift
/// var writer = try SafetensorsWriter(path: "model.safetensors", tensors: infos, metadata: ["format": "pt"])
/// for info in infos { try writer.write(try source.tensor(info.name), named: info.name) }
/// try writer.finish()
/// ```
public struct SafetensorsWriter: ~Copyable {
  private let file: PartialFile
  private let header: SafetensorsHeader
  private var next = 0

  /// Lays out the tensors in the given order and writes the header.
  ///
  /// - Parameters:
  ///   - path: the file to write; one that is there is replaced at the end.
  ///   - tensors: names that differ, and shapes that take whole bytes.
  ///   - metadata: texts for `__metadata__`; loaders want `"format": "pt"`.
  public init(path: String, tensors: [TensorInfo], metadata: [String: String] = [:]) throws(CheckpointError) {
    let header = try SafetensorsHeader(tensors: tensors, metadata: metadata, file: path)
    do {
      let file = try PartialFile(path)
      let result = header.encoded.withUnsafeBytes { bytes in Result { () throws(FileError) in try file.write(bytes) } }
      try result.get()
      self.file = file
    } catch { throw .file(error) }
    self.header = header
  }

  /// Appends the next tensor of the list.
  ///
  /// - Parameters:
  ///   - tensor: type and extents must be those that were announced.
  ///   - name: its name, to see that the order was kept.
  public mutating func write(_ tensor: Tensor, named name: String) throws(CheckpointError) {
    let found = "\(tensor.dtype.rawValue) \(tensor.shape)"
    guard next < header.entries.count else { throw refuse(name, "\(found) comes after the last tensor of the list") }
    let expected = header.entries[next].info
    guard expected.name == name else { throw refuse(name, "\"\(expected.name)\" is next in the list") }
    guard expected.dtype == tensor.dtype, expected.shape == tensor.shape else {
      throw refuse(name, "\(found) is given, \(expected.dtype.rawValue) \(expected.shape) was announced")
    }
    let result = tensor.withBytes { bytes in Result { () throws(FileError) in try file.write(bytes) } }
    do { try result.get() } catch { throw .file(error) }
    next += 1
  }

  /// Makes the file durable and gives it its name.
  public consuming func finish() throws(CheckpointError) {
    guard next == header.entries.count else {
      throw .missingTensor(header.entries[next].info.name, file: file.path)
    }
    do { try file.finish() } catch { throw .file(error) }
  }

  private func refuse(_ name: String, _ problem: String) -> CheckpointError {
    .malformed(file: file.path, offset: nil, tensor: name, problem: problem)
  }
}
