internal import Crypto
internal import Kernels
internal import Tensors

/// The frames of a file as one archive that can be read anywhere.
final class FrameStore: Sendable {
  let file: FileDescriptor
  let entries: [SeekTable.Entry]
  /// Where each frame begins in the file, and where the last one ends.
  private let fileOffsets: [Int]
  /// Where each frame begins in the archive, and where the last one ends.
  private let archiveOffsets: [Int]
  /// Frames that are decoded at once while scanning: at most 64 MiB of content.
  private static let batch = 16

  /// A store of frames that follow one another from the file's beginning.
  init(file: FileDescriptor, entries: [SeekTable.Entry]) {
    self.file = file
    self.entries = entries
    fileOffsets = entries.reduce(into: [0]) { $0.append($0[$0.count - 1] + Int($1.compressedSize)) }
    archiveOffsets = entries.reduce(into: [0]) { $0.append($0[$0.count - 1] + Int($1.contentSize)) }
  }

  /// The archive's size.
  var byteCount: Int { archiveOffsets[entries.count] }

  /// Where the frames end in the file.
  var fileEnd: Int { fileOffsets[entries.count] }

  /// The frame that holds a byte of the archive.
  private func frame(at offset: Int) -> Int {
    var (low, high) = (0, entries.count)
    while high - low > 1 {
      let middle = (low + high) / 2
      if archiveOffsets[middle] <= offset { low = middle } else { high = middle }
    }
    return low
  }

  /// Where a frame begins in the archive.
  func start(of frame: Int) -> Int { archiveOffsets[frame] }

  /// The frames that a range of the archive touches.
  func frames(of range: Range<Int>) -> Range<Int> {
    range.isEmpty ? 0..<0 : frame(at: range.lowerBound)..<frame(at: range.upperBound - 1) + 1
  }

  /// Bytes that a range of the archive takes in the file; frames that it shares count by its part of them.
  func compressedByteCount(of range: Range<Int>) -> Int {
    frames(of: range).reduce(0) { sum, index in
      let span = archiveOffsets[index]..<archiveOffsets[index + 1]
      return sum + Int(entries[index].compressedSize) * range.clamped(to: span).count / span.count
    }
  }

  /// The frame as it stands in the file.
  private func compressed(_ index: Int) throws(CheckpointError) -> [UInt8] {
    try file.read(fileOffsets[index]..<fileOffsets[index + 1])
  }

  private func refuse(_ index: Int, _ problem: String) -> CheckpointError {
    .corrupt(file: file.path, part: "frame \(index) at byte \(fileOffsets[index])", problem: problem)
  }

  /// Decodes one frame into exactly as many bytes as it holds.
  private func decode(
    _ index: Int, _ frame: [UInt8], into destination: UnsafeMutableRawBufferPointer
  ) throws(CheckpointError) {
    guard frame.littleEndianWord(at: frame.count - 4) == entries[index].checksum else {
      throw refuse(index, "its checksum is not that of the seek table")
    }
    let result = frame.withUnsafeBytes { bytes in
      Result { () throws(ZstdError) in try ZstdFrame.decompress(bytes, into: destination) }
    }
    if case .failure(let error) = result { throw refuse(index, error.description) }
  }

  /// The content of one frame.
  func content(_ index: Int) throws(CheckpointError) -> [UInt8] { try content(index, try compressed(index)) }

  private func content(_ index: Int, _ frame: [UInt8]) throws(CheckpointError) -> [UInt8] {
    var result = Result<Void, CheckpointError>.success(())
    let size = Int(entries[index].contentSize)
    let content = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
      let destination = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[..<size])
      result = Result { () throws(CheckpointError) in try decode(index, frame, into: destination) }
      if case .success = result { count = size }
    }
    try result.get()
    return content
  }

  /// Decodes a range of the archive into place, on all cores.
  ///
  /// A frame that lies within the range is decoded where it belongs; of others, the part is copied.
  func read(_ range: Range<Int>, into destination: UnsafeMutableRawBufferPointer) throws(CheckpointError) {
    precondition(range.count == destination.count, "\(destination.count) places for \(range.count) bytes")
    let frames = frames(of: range)
    nonisolated(unsafe) let places = destination
    let results = Parallel.map(frames.count) { job in
      Result { () throws(CheckpointError) in
        let index = frames.lowerBound + job
        let span = archiveOffsets[index]..<archiveOffsets[index + 1]
        let part = range.clamped(to: span)
        let place = UnsafeMutableRawBufferPointer(
          rebasing: places[part.lowerBound - range.lowerBound..<part.upperBound - range.lowerBound])
        if part == span {
          try decode(index, try compressed(index), into: place)
        } else {
          let whole = try content(index)
          place.copyBytes(from: whole[part.lowerBound - span.lowerBound..<part.upperBound - span.lowerBound])
        }
      }
    }
    for result in results { try result.get() }
  }

  /// Decodes a range of the archive.
  func read(_ range: Range<Int>) throws(CheckpointError) -> [UInt8] {
    var result = Result<Void, CheckpointError>.success(())
    let bytes = [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
      let destination = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[..<range.count])
      result = Result { () throws(CheckpointError) in try read(range, into: destination) }
      if case .success = result { count = range.count }
    }
    try result.get()
    return bytes
  }

  private enum Output: Sendable {
    case hashed(StreamHasher.Progress)
    case file(SHA256)
  }

  /// Reads and decodes every frame, hashing the file's bytes and what they hold.
  ///
  /// - Parameter visit: is given each part of the archive and its offset, in order.
  func scan(
    hasher: inout StreamHasher, fileHash: inout SHA256,
    visit: (_ offset: Int, _ content: [UInt8]) throws(CheckpointError) -> Void
  ) throws(CheckpointError) {
    var first = 0
    while first < entries.count {
      let (start, count) = (first, min(Self.batch, entries.count - first))
      let decoded = Parallel.map(count) { job in
        Result { () throws(CheckpointError) in
          let frame = try compressed(start + job)
          return (frame, try content(start + job, frame))
        }
      }
      var frames: [[UInt8]] = []
      var contents: [[UInt8]] = []
      for result in decoded {
        let (frame, content) = try result.get()
        frames.append(frame)
        contents.append(content)
      }
      let (before, beforeFile, parts, wholes) = (hasher, fileHash, contents, frames)
      let outputs = Parallel.map(StreamHasher.jobs + 1) { job in
        if job < StreamHasher.jobs {
          return Output.hashed(before.run(job: job, over: parts, at: archiveOffsets[start]))
        }
        return .file(beforeFile.updated(with: wholes))
      }
      for (job, output) in outputs.enumerated() {
        switch output {
        case .hashed(let progress): hasher.finish(job: job, progress)
        case .file(let hash): fileHash = hash
        }
      }
      for (index, content) in contents.enumerated() { try visit(archiveOffsets[start + index], content) }
      first += count
    }
  }
}
