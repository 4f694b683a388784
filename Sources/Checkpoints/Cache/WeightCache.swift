internal import Foundation
public import Kernels
internal import Tensors

/// What loading has made of an artifact, in a file that later runs map: linears in the kernels' layout, and all other
/// tensors as they are.
///
/// Decoding takes more of the time to the first token than everything else. The file is private to this version of the
/// program and to its user; losing it costs one slow start. It is a safetensors file:
///
/// - a linear in the kernels' layout is a U8 tensor by the linear's name, filled up to a multiple of 64 bytes. What it
///   is stands in `__metadata__` under the same name: ``PackedMatrix/Format``;
/// - other tensors have the artifact's names, types and bytes;
/// - `artifact` and `version` of `__metadata__` say what it belongs to, and `padding` makes linears begin at multiples
///   of 64;
/// - the last tensor, `cache.checksums`, U64, has the XXH64 of every 4 MiB of the file before it.
///
/// All bytes are compared with their checksums before anything is used: 8 GB/s a core, while their pages are found.
/// Where the system keeps files in small pages only, linears are then copied into large ones: a token would take 1.45
/// times as long otherwise.
public struct WeightCache: Sendable {
  /// Changes whenever another file comes of the same artifact.
  static let version = 1
  static let checksums = "cache.checksums"
  static let blockBytes = 4 << 20
  static let alignment = 64

  /// The file.
  public let path: String
  /// Linears in the kernels' layout, by name.
  public let matrices: [String: PackedMatrix]
  private let file: SafetensorsFile

  /// Where the file of an artifact lies.
  ///
  /// - Parameter artifact: ``Artifact/recordedSHA256()``.
  public static func path(in folder: String, artifact: String) -> String {
    FileSystem.join(folder, "\(artifact)-\(version).\(PackedMatrix.layoutVersion).safetensors")
  }

  /// Maps the file of an artifact and checks every byte of it; `nil` where there is none.
  public static func open(in folder: String, artifact: String) throws(CheckpointError) -> WeightCache? {
    let path = path(in: folder, artifact: artifact)
    guard FileSystem.isEntry(path) else { return nil }
    return try WeightCache(path, artifact: artifact)
  }

  private init(_ path: String, artifact: String) throws(CheckpointError) {
    guard FileSystem.isOwn(path) else {
      throw .notFound(path, reason: "others than the user of this process can have written it")
    }
    let storage: TensorStorage
    do { storage = try MappedFile.open(path, inLargePages: true) } catch { throw .file(error) }
    let file = try SafetensorsFile(storage, path: path)
    func refuse(_ problem: String, tensor: String? = nil) -> CheckpointError {
      .malformed(file: path, offset: nil, tensor: tensor, problem: problem)
    }
    let metadata = file.header.metadata
    guard metadata["version"] == Self.versionText, metadata["artifact"] == artifact else {
      throw refuse("it belongs to another artifact or version")
    }
    try Self.check(storage, file, path: path)
    var matrices: [String: PackedMatrix] = [:]
    for entry in file.header.entries {
      let name = entry.info.name
      guard let text = metadata[name] else { continue }
      let start = file.header.dataOffset + entry.range.lowerBound
      guard let format = PackedMatrix.Format(text), format.byteCount <= entry.range.count,
        let matrix = PackedMatrix(format, stored: storage.part(start..<start + format.byteCount))
      else { throw refuse("\"\(text)\" does not describe it", tensor: name) }
      matrices[name] = matrix
    }
    self.path = path
    self.matrices = MappedFile.isInLargePages(storage) ? matrices : Self.copied(matrices, from: storage)
    self.file = file
  }

  private static func copied(
    _ matrices: [String: PackedMatrix], from storage: TensorStorage
  ) -> [String: PackedMatrix] {
    let mapped = Array(matrices)
    let copies = Parallel.map(mapped.count) { (mapped[$0].key, mapped[$0].value.inOwnMemory()) }
    storage.discardPages()
    return Dictionary(uniqueKeysWithValues: copies)
  }

  static var versionText: String { "\(version).\(PackedMatrix.layoutVersion)" }

  /// Compares all bytes with the checksums, on all cores.
  private static func check(
    _ storage: TensorStorage, _ file: SafetensorsFile, path: String
  ) throws(CheckpointError) {
    let covered = file.header.dataOffset + (file.header[checksums]?.range.lowerBound ?? 0)
    let blocks = (covered + blockBytes - 1) / blockBytes
    guard let last = file.tensors.last, last == checksumInfo(blocks: blocks) else {
      throw .malformed(file: path, offset: nil, tensor: checksums, problem: "is not there as it should be")
    }
    let expected = storage.part(covered..<covered + last.byteCount)
    let damaged = Parallel.map(blocks) { block in
      let range = block * blockBytes..<min(covered, (block + 1) * blockBytes)
      let hash = XXHash64.hash(UnsafeRawBufferPointer(rebasing: storage.bytes[range]))
      return hash != UInt64(littleEndian: expected.bytes.loadUnaligned(fromByteOffset: 8 * block, as: UInt64.self))
    }
    if let block = damaged.firstIndex(of: true) {
      throw .corrupt(file: path, part: "the block at byte \(block * blockBytes)", problem: "its checksum differs")
    }
  }

  static func checksumInfo(blocks: Int) -> TensorInfo { TensorInfo(name: checksums, dtype: .uint64, shape: [blocks]) }

  /// What is known of the tensors that are kept as they are.
  public var tensors: [TensorInfo] {
    file.tensors.filter { matrices[$0.name] == nil && $0.name != Self.checksums }
  }

  /// A tensor of the artifact, if it is kept.
  func tensor(_ name: String) throws(CheckpointError) -> Tensor? {
    guard matrices[name] == nil, name != Self.checksums, file.info(name) != nil else { return nil }
    return try file.tensor(name)
  }
}
