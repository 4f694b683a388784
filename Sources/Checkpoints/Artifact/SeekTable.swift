/// The last part of an artifact: where each frame lies and what it decodes to (zstd seekable format 0.1.0).
struct SeekTable: Equatable, Sendable {
  /// One frame.
  struct Entry: Equatable, Sendable {
    /// Bytes that the frame takes in the file.
    var compressedSize: UInt32
    /// Bytes that it decodes to.
    var contentSize: UInt32
    /// The low half of the content's XXH64, as at the frame's end.
    var checksum: UInt32
  }

  /// All frames in file order; the digest frame is the last.
  var entries: [Entry]

  static let skippableMagic: UInt32 = 0x184D_2A5E
  static let footerMagic: UInt32 = 0x8F92_EAB1
  /// The one value of the descriptor byte: checksums are present, and no other bit is set.
  static let descriptor: UInt8 = 0x80
  static let footerByteCount = 9
  /// The format's own limit.
  static let mostFrames = 0x800_0000
  /// The most that a frame of an artifact may hold: what a reader must be ready to decode at once.
  static let largestContent = 4 << 20

  /// Bytes of a table of so many frames, its own frame header included.
  static func byteCount(frames: Int) -> Int { 8 + 12 * frames + footerByteCount }

  /// The table as a skippable frame.
  var bytes: [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(Self.byteCount(frames: entries.count))
    out.append(littleEndian: Self.skippableMagic)
    out.append(littleEndian: UInt32(12 * entries.count + Self.footerByteCount))
    for entry in entries {
      out.append(littleEndian: entry.compressedSize)
      out.append(littleEndian: entry.contentSize)
      out.append(littleEndian: entry.checksum)
    }
    out.append(littleEndian: UInt32(entries.count))
    out.append(Self.descriptor)
    out.append(littleEndian: Self.footerMagic)
    return out
  }
}

extension SeekTable {
  /// A table of given frames.
  init(_ entries: [Entry]) { self.entries = entries }

  /// Reads the table at the end of a file, and holds it against the file's size.
  ///
  /// What it costs is bounded by the file's size: no count is believed before the bytes are seen to be there.
  init(of file: FileDescriptor) throws(CheckpointError) {
    func refuse(_ offset: Int, _ problem: String) -> CheckpointError {
      .malformed(file: file.path, offset: offset, tensor: nil, problem: problem)
    }
    let fileSize = try file.byteCount()
    guard fileSize >= Self.byteCount(frames: 1) else { throw refuse(0, "\(fileSize) bytes are no artifact") }
    let footerOffset = fileSize - Self.footerByteCount
    let footer = try file.read(footerOffset..<fileSize)
    guard footer.littleEndianWord(at: 5) == Self.footerMagic else {
      throw refuse(footerOffset, "the file does not end with a seek table; it is cut short or no artifact")
    }
    guard footer[4] == Self.descriptor else {
      throw refuse(footerOffset + 4, "seek table descriptor is \(Hex.text(footer[4])), not 0x80")
    }
    let count = Int(footer.littleEndianWord(at: 0))
    guard count > 0, count <= Self.mostFrames, Self.byteCount(frames: count) <= fileSize else {
      throw refuse(footerOffset, "a seek table of \(count) frames does not fit \(fileSize) bytes")
    }
    let tableOffset = fileSize - Self.byteCount(frames: count)
    let table = try file.read(tableOffset..<footerOffset)
    guard table.littleEndianWord(at: 0) == Self.skippableMagic else {
      throw refuse(tableOffset, "no seek table of \(count) frames begins here")
    }
    let declared = table.littleEndianWord(at: 4)
    guard Int(declared) == 12 * count + Self.footerByteCount else {
      throw refuse(tableOffset + 4, "the seek table declares \(declared) bytes for \(count) frames")
    }
    var position = 0
    entries = []
    entries.reserveCapacity(count)
    for index in 0..<count {
      let offset = 8 + 12 * index
      let entry = Entry(
        compressedSize: table.littleEndianWord(at: offset), contentSize: table.littleEndianWord(at: offset + 4),
        checksum: table.littleEndianWord(at: offset + 8))
      let problem = index == count - 1 ? entry.digestFrameProblem : entry.problem
      if let problem { throw refuse(tableOffset + offset, "frame \(index) " + problem) }
      position += Int(entry.compressedSize)
      entries.append(entry)
    }
    guard position == tableOffset else {
      throw refuse(tableOffset, "the frames take \(position) bytes by the seek table, but it begins at \(tableOffset)")
    }
  }
}

extension SeekTable.Entry {
  /// Why no frame of an artifact has these sizes, or `nil`.
  fileprivate var problem: String? {
    let compressed = Int(compressedSize)
    let content = Int(contentSize)
    guard content > 0, content <= SeekTable.largestContent else {
      return "holds \(content) bytes, not 1 to \(SeekTable.largestContent)"
    }
    // The best that zstd can do is a block of four bytes for 128 KiB.
    guard content <= compressed << 15 + 128 << 10, compressed <= ZstdFrame.bound(content) else {
      return "cannot hold \(content) bytes in \(compressed)"
    }
    return nil
  }

  /// The entry of the digest frame: the same in every artifact.
  static let digestFrame = SeekTable.Entry(
    compressedSize: UInt32(DigestFrame.byteCount), contentSize: 0, checksum: 0x51D8_E999)

  fileprivate var digestFrameProblem: String? {
    self == Self.digestFrame ? nil : "is not the digest frame that closes an artifact"
  }
}

/// The SHA-256 of all bytes before it, in a skippable frame that decoders pass over.
///
/// zstd's own checksums cover what a frame decodes to, but some bits of a frame can change without changing that.
enum DigestFrame {
  static let magic: UInt32 = 0x184D_2A5D
  static let byteCount = 40

  /// The frame for a digest of 32 bytes.
  static func bytes(_ digest: [UInt8]) -> [UInt8] {
    precondition(digest.count == 32, "a SHA-256 of \(digest.count) bytes")
    var out: [UInt8] = []
    out.append(littleEndian: magic)
    out.append(littleEndian: UInt32(digest.count))
    return out + digest
  }
}
