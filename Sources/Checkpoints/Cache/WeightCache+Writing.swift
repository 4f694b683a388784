internal import Foundation
public import Kernels
internal import Tensors

extension WeightCache {
  /// Writes the file of an artifact; what lies there is replaced when the new one is whole and on the disk.
  ///
  /// The same artifact gives the same bytes.
  ///
  /// - Parameters:
  ///   - matrices: linears in the kernels' layout, by names that differ.
  ///   - tensors: names of tensors of `source` that are kept as they are.
  /// - Returns: the file's path; `nil` when another process is writing it, which then is as good.
  public static func write(
    in folder: String, artifact: String, matrices: [(name: String, matrix: PackedMatrix)], tensors: [String],
    of source: any WeightSource
  ) throws(CheckpointError) -> String? {
    let path = path(in: folder, artifact: artifact)
    let partial = path + ".partial"
    let file: FileDescriptor
    do throws(CheckpointError) { file = try FileDescriptor(writing: partial, isNew: true, isPrivate: true) } catch {
      if case .file(let reason) = error, reason.operation == "lock" { return nil }
      throw error
    }
    // Whoever was faster has given the locked file its name.
    guard file.hasItsName else { return nil }
    do throws(CheckpointError) {
      try file.empty()
      try write(to: file, artifact, matrices, tensors, source)
      try FileSystem.rename(partial, to: path)
    } catch {
      try FileSystem.remove(partial)
      throw error
    }
    return path
  }

  private static func write(
    to file: FileDescriptor, _ artifact: String, _ matrices: [(name: String, matrix: PackedMatrix)],
    _ tensors: [String], _ source: any WeightSource
  ) throws(CheckpointError) {
    var metadata = ["artifact": artifact, "version": versionText]
    var infos: [TensorInfo] = []
    for (name, matrix) in matrices {
      let format = matrix.format
      metadata[name] = format.description
      let filled = (format.byteCount + alignment - 1) / alignment * alignment
      infos.append(TensorInfo(name: name, dtype: .uint8, shape: [filled]))
    }
    for name in tensors {
      guard let info = source.info(name) else { throw .missingTensor(name, file: file.path) }
      infos.append(info)
    }
    let header = try header(infos, metadata, file.path)
    var output = Output(file: file)
    try header.encoded.withUnsafeBytes { bytes in
      Result { () throws(CheckpointError) in try output.append(bytes) }
    }.get()
    for (_, matrix) in matrices {
      try matrix.withStoredParts { bytes throws(CheckpointError) in try output.append(bytes) }
      try output.fill()
    }
    for name in tensors {
      try source.tensor(name).withBytes { bytes in
        Result { () throws(CheckpointError) in try output.append(bytes) }
      }.get()
    }
    try output.finish()
    try file.synchronize()
  }

  /// The header, which also counts the blocks of what comes before their checksums.
  private static func header(
    _ infos: [TensorInfo], _ metadata: [String: String], _ path: String
  ) throws(CheckpointError) -> SafetensorsHeader {
    let data = infos.reduce(0) { $0 + $1.byteCount }
    var blocks = 1
    while true {
      let all = infos + [checksumInfo(blocks: blocks)]
      var metadata = metadata
      metadata["padding"] = ""
      let bare = try SafetensorsHeader(tensors: all, metadata: metadata, file: path).dataOffset
      metadata["padding"] = String(repeating: " ", count: (alignment - bare % alignment) % alignment)
      let header = try SafetensorsHeader(tensors: all, metadata: metadata, file: path)
      let needed = (header.dataOffset + data + blockBytes - 1) / blockBytes
      if needed <= blocks { return header }
      blocks = needed
    }
  }

  /// Bytes that leave in whole blocks, so that the system can keep them in its largest pages; and their checksums.
  private struct Output: ~Copyable {
    private let file: FileDescriptor
    private let block = UnsafeMutableRawBufferPointer.allocate(byteCount: blockBytes, alignment: 4096)
    private var filled = 0
    private var offset = 0
    private var checksums: [UInt64] = []

    init(file: FileDescriptor) { self.file = file }

    deinit { block.deallocate() }

    mutating func append(_ bytes: UnsafeRawBufferPointer) throws(CheckpointError) {
      var rest = bytes[...]
      while !rest.isEmpty {
        let part = rest.prefix(blockBytes - filled)
        UnsafeMutableRawBufferPointer(rebasing: block[filled...]).copyMemory(
          from: UnsafeRawBufferPointer(rebasing: part))
        filled += part.count
        rest = rest.dropFirst(part.count)
        if filled == blockBytes { try flush() }
      }
    }

    /// Zeros up to the next multiple of 64.
    mutating func fill() throws(CheckpointError) {
      let zeros = [UInt8](repeating: 0, count: (alignment - (offset + filled) % alignment) % alignment)
      try zeros.withUnsafeBytes { bytes in Result { () throws(CheckpointError) in try append(bytes) } }.get()
    }

    private mutating func flush() throws(CheckpointError) {
      let bytes = UnsafeRawBufferPointer(rebasing: block[..<filled])
      checksums.append(XXHash64.hash(bytes).littleEndian)
      try file.write(bytes, at: offset)
      offset += filled
      filled = 0
    }

    mutating func finish() throws(CheckpointError) {
      if filled > 0 { try flush() }
      try checksums.withUnsafeBytes { bytes in
        Result { () throws(CheckpointError) in try file.write(bytes, at: offset) }
      }.get()
    }
  }
}
