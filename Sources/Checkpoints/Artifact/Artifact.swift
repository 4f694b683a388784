internal import Crypto
public import Tensors

/// A finished artifact, read in place: any member or tensor is decoded from the frames that hold it.
///
/// `formats/artifact.md` says what the bytes mean and what is refused.
public final class Artifact: WeightSource {
  /// A file inside the artifact.
  public struct Member: Sendable, Equatable {
    /// Its name, a plain relative path.
    public let name: String
    /// Bytes of its content.
    public let byteCount: Int
  }

  /// The file.
  public let path: String
  /// All members in order, `model.safetensors` and `digests.json` among them.
  public let members: [Member]
  /// Every tensor, in file order.
  public let tensors: [TensorInfo]
  let store: FrameStore
  let memberRanges: [Range<Int>]
  private let header: SafetensorsHeader
  /// Where the weights' data area begins in the archive.
  private let data: Int
  /// What ``member(_:)`` reads at once; no side file of a model comes near.
  static let largestMember = 1 << 30

  /// Opens an artifact: seek table, archive headers and the weights' header are read, nothing else.
  ///
  /// What it costs is bounded by the file's size and by what its parts declare.
  public init(path: String) throws(CheckpointError) {
    self.path = path
    let file = try FileDescriptor(reading: path)
    let table = try SeekTable(of: file)
    let frames = FrameStore(file: file, entries: Array(table.entries.dropLast()))
    store = frames
    let expected = try file.read(frames.fileEnd..<frames.fileEnd + 8)
    guard expected.elementsEqual(DigestFrame.bytes([UInt8](repeating: 0, count: 32))[..<8]) else {
      throw .malformed(
        file: path, offset: frames.fileEnd, tensor: nil, problem: "no digest frame begins after the last frame")
    }

    // Headers of small members lie together: the frame decoded last mostly holds the next one too.
    var recent: (index: Int, content: [UInt8]) = (-1, [])
    var recentStart = 0
    func read(_ range: Range<Int>) throws(CheckpointError) -> [UInt8] {
      let touched = frames.frames(of: range)
      guard touched.count == 1 else { return try frames.read(range) }
      if touched.lowerBound != recent.index {
        recent = (touched.lowerBound, try frames.content(touched.lowerBound))
        recentStart = frames.start(of: touched.lowerBound)
      }
      return Array(recent.content[range.lowerBound - recentStart..<range.upperBound - recentStart])
    }
    let found = try TarReader(byteCount: frames.byteCount, path: path).members(read: read)
    members = found.map { Member(name: $0.name, byteCount: $0.content.count) }
    memberRanges = found.map(\.content)
    guard found.last?.name == MemberName.digests else {
      throw .malformed(file: path, offset: nil, tensor: nil, problem: "\(MemberName.digests) is not the last member")
    }
    guard let weights = found.first(where: { $0.name == MemberName.weights })?.content else {
      throw .notFound(MemberName.weights, reason: "\(path) has no member of this name")
    }

    let start = weights.lowerBound
    header = try SafetensorsHeader(fileByteCount: weights.count, path: path + "/" + MemberName.weights) {
      range throws(CheckpointError) in try read(start + range.lowerBound..<start + range.upperBound)
    }
    data = start + header.dataOffset
    tensors = header.entries.map(\.info)
  }

  /// What is known of one tensor, or `nil` if there is none of this name.
  public func info(_ name: String) -> TensorInfo? { header[name]?.info }

  /// Where each tensor lies in the archive.
  var tensorRanges: [Range<Int>] { header.entries.map(place) }

  private func place(_ entry: SafetensorsHeader.Entry) -> Range<Int> {
    data + entry.range.lowerBound..<data + entry.range.upperBound
  }

  private func entry(_ name: String) throws(CheckpointError) -> SafetensorsHeader.Entry {
    guard let entry = header[name] else { throw .missingTensor(name, file: path) }
    return entry
  }

  /// The tensor's content, decoded on all cores from the frames that hold it, whose checksums are checked.
  public func tensor(_ name: String) throws(CheckpointError) -> Tensor {
    let entry = try entry(name)
    var result = Result<Void, CheckpointError>.success(())
    let tensor = Tensor(entry.info.dtype, entry.info.shape) { destination in
      result = Result { () throws(CheckpointError) in try store.read(place(entry), into: destination) }
    }
    try result.get()
    return tensor
  }

  /// Lends the tensor's content frame by frame, decoded on all cores; checksums are checked.
  public func forEachPart(
    of name: String, _ body: @Sendable (_ offset: Int, UnsafeRawBufferPointer) -> Void
  ) throws(CheckpointError) {
    let range = place(try entry(name))
    // Our writer cuts large tensors every 2 MiB; others may cut anywhere.
    guard store.cuts(range, atMultiplesOf: 4) else {
      let whole = try tensor(name)
      return whole.withBytes { body(0, $0) }
    }
    try store.forEachPart(of: range, body)
  }

  /// Bytes that a tensor takes in the file; tensors that share a frame share its bytes by their sizes, rounded down.
  public func compressedByteCount(of name: String) throws(CheckpointError) -> Int {
    store.compressedByteCount(of: place(try entry(name)))
  }

  /// A member's content; `model.safetensors` is read by tensors instead.
  public func member(_ name: String) throws(CheckpointError) -> [UInt8] {
    guard let index = members.firstIndex(where: { $0.name.utf8.elementsEqual(name.utf8) }) else {
      throw .notFound(name, reason: "\(path) has no member of this name")
    }
    let range = memberRanges[index]
    guard range.count <= Self.largestMember else {
      throw .malformed(
        file: path, offset: nil, tensor: nil,
        problem: "member \"\(name)\" has \(range.count) bytes, more than \(Self.largestMember)")
    }
    return try store.read(range)
  }

  /// The SHA-256 that the digest frame has of all bytes before it, in hexadecimal; whether it is right is not checked.
  public func recordedSHA256() throws(CheckpointError) -> String {
    Hex.text(try store.file.read(store.fileEnd + 8..<store.fileEnd + DigestFrame.byteCount))
  }

  /// The SHA-256 of the whole file in hexadecimal, by which reports name the artifact.
  public func fileSHA256() throws(CheckpointError) -> String {
    var hash = SHA256()
    let byteCount = try store.file.byteCount()
    for start in stride(from: 0, to: byteCount, by: 4 << 20) {
      let part = try store.file.read(start..<min(start + (4 << 20), byteCount))
      part.withUnsafeBytes { hash.update(bufferPointer: $0) }
    }
    return Hex.text(hash.finalize())
  }
}
