internal import Crypto
internal import Kernels
internal import Tensors

/// Cuts an archive that comes in parts into the planned frames, and writes them one after another.
///
/// Frames are compressed on all cores, together with the hashing of the bytes they hold; what is written does not
/// depend on how many there are. Meanwhile a thread of its own writes and hashes those that were compressed before.
struct FrameWriter {
  private let file: FileDescriptor
  private let spans: [FrameSpan]
  /// The seek table so far.
  private(set) var entries: [SeekTable.Entry] = []
  /// Bytes of the file so far.
  private(set) var fileOffset = 0
  private(set) var output: OutputLane
  private var archiveOffset = 0
  /// What has come of the next frame.
  private var pending: [UInt8] = []
  /// The digests of members and tensors.
  private(set) var hasher: StreamHasher
  /// Frames that are compressed at once: 32 to 48 MiB of content.
  private static let batch = 16

  /// A writer at the beginning of a file.
  init(file: FileDescriptor, layout: ArtifactLayout) {
    self.file = file
    spans = layout.frames
    output = OutputLane(file)
    hasher = StreamHasher(members: layout.members, tensors: layout.tensors)
  }

  /// Whether an append was begun and failed.
  private var isBroken = false

  /// Whether the last frame is complete, so that the file can be cut here.
  var isBetweenFrames: Bool { pending.isEmpty && !isBroken }

  /// The content of a frame to be.
  private struct Source: Sendable {
    let bytes: Tensor
    let range: Range<Int>

    func frame(_ compression: Compression) -> Result<[UInt8], ZstdError> {
      bytes.withBytes { buffer in
        Result { () throws(ZstdError) in try ZstdFrame.compress(buffer[rebased: range], compression) }
      }
    }
  }

  private enum Output: Sendable {
    case hashed(StreamHasher.Progress)
    case frame(Result<[UInt8], ZstdError>)
  }

  /// Appends bytes to the archive.
  mutating func append(_ bytes: Tensor) throws(CheckpointError) {
    precondition(!isBroken, "bytes are appended after an error")
    isBroken = true
    var position = 0
    while position < bytes.byteCount {
      let start = position
      let batch = nextBatch(of: bytes, from: &position)
      let (hasher, spans, first, offset) = (hasher, spans, entries.count, archiveOffset)
      let range = start..<position
      let outputs = Parallel.map(StreamHasher.jobs + batch.count) { job in
        if job < StreamHasher.jobs {
          return Output.hashed(bytes.withBytes { hasher.run(job: job, over: $0[rebased: range], at: offset) })
        }
        let index = job - StreamHasher.jobs
        return .frame(batch[index].frame(spans[first + index].compression))
      }
      var frames: [[UInt8]] = []
      for (job, output) in outputs.enumerated() {
        switch output {
        case .hashed(let progress): self.hasher.finish(job: job, progress)
        case .frame(let result): frames.append(try noted(result))
        }
      }
      try write(frames)
      archiveOffset += range.count
    }
    isBroken = false
  }

  /// The frames that some bytes complete, at most so many; what is left over waits.
  private mutating func nextBatch(of bytes: Tensor, from position: inout Int) -> [Source] {
    var batch: [Source] = []
    while batch.count < Self.batch, position < bytes.byteCount {
      let missing = spans[entries.count + batch.count].byteCount - pending.count
      let part = position..<min(position + missing, bytes.byteCount)
      position = part.upperBound
      if pending.isEmpty && part.count == missing {
        batch.append(Source(bytes: bytes, range: part))
      } else {
        bytes.withBytes { pending += $0[rebased: part] }
        guard part.count == missing else { break }
        batch.append(Source(bytes: Tensor(.uint8, [pending.count], bytes: pending), range: 0..<pending.count))
        pending = []
      }
    }
    return batch
  }

  /// Enters a frame in the seek table.
  private mutating func noted(_ result: Result<[UInt8], ZstdError>) throws(CheckpointError) -> [UInt8] {
    let frame: [UInt8]
    do { frame = try result.get() } catch {
      throw .corrupt(file: file.path, part: "frame \(entries.count)", problem: error.description)
    }
    entries.append(
      SeekTable.Entry(
        compressedSize: UInt32(frame.count), contentSize: UInt32(spans[entries.count].byteCount),
        checksum: frame.littleEndianWord(at: frame.count - 4)))
    return frame
  }

  private mutating func write(_ frames: [[UInt8]]) throws(CheckpointError) {
    guard !frames.isEmpty else { return }
    try output.write(frames, at: fileOffset)
    fileOffset += frames.reduce(0) { $0 + $1.count }
  }

  /// Ends the file with digest frame and seek table, waits until all is written, and returns the whole file's SHA-256.
  mutating func finish() throws(CheckpointError) -> [UInt8] {
    precondition(pending.isEmpty && entries.count == spans.count, "\(spans.count - entries.count) frames are missing")
    try write([DigestFrame.bytes(Array(try output.finish().finalize()))])
    entries.append(.digestFrame)
    try write([SeekTable(entries).bytes])
    return Array(try output.finish().finalize())
  }

  /// Takes over frames that an earlier run wrote, after decoding them and hashing what they hold.
  ///
  /// - Parameter sizes: bytes that each of them takes in the file.
  mutating func adopt(sizes: [UInt32]) throws(CheckpointError) {
    precondition(entries.isEmpty, "frames are adopted before any is written")
    guard sizes.count <= spans.count else {
      throw .corrupt(file: file.path, part: "the journal", problem: "\(sizes.count) frames of \(spans.count)")
    }
    var adopted: [SeekTable.Entry] = []
    let byteCount = try file.byteCount()
    var offset = 0
    for (size, span) in zip(sizes, spans) {
      offset += Int(size)
      guard size >= 4, offset <= byteCount else {
        throw .corrupt(file: file.path, part: "frame \(adopted.count)", problem: "the file ends before it does")
      }
      let checksum = try file.read(offset - 4..<offset).littleEndianWord(at: 0)
      adopted.append(
        SeekTable.Entry(compressedSize: size, contentSize: UInt32(span.byteCount), checksum: checksum))
    }
    let store = FrameStore(file: file, entries: adopted)
    var fileHash = SHA256()
    try store.scan(hasher: &hasher, fileHash: &fileHash) { _, _ throws(CheckpointError) in }
    output = OutputLane(file, hash: fileHash)
    entries = adopted
    fileOffset = offset
    archiveOffset = spans[..<sizes.count].reduce(0) { $0 + $1.byteCount }
  }
}

extension SHA256 {
  /// The same after some more bytes.
  func updated(with parts: [[UInt8]]) -> SHA256 {
    var copy = self
    for part in parts { part.withUnsafeBytes { copy.update(bufferPointer: $0) } }
    return copy
  }
}

extension UnsafeRawBufferPointer {
  /// Part of the bytes, counted from zero again.
  subscript(rebased range: Range<Int>) -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: self[range]) }
}
