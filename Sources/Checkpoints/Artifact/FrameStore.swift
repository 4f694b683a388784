internal import Crypto
internal import Kernels
internal import Synchronization
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
  /// Bytes after a large tensor that are read ahead.
  private static let ahead = 16 << 20
  private let idle = Mutex<[FrameScratch]>([])

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

  private func refuse(_ index: Int, _ problem: String) -> CheckpointError {
    .corrupt(file: file.path, part: "frame \(index) at byte \(fileOffsets[index])", problem: problem)
  }

  /// Lends memory to decode with; a thread that comes again finds it in the cache.
  private func withScratch<Value>(
    _ body: (FrameScratch) throws(CheckpointError) -> Value
  ) throws(CheckpointError) -> Value {
    let scratch = idle.withLock { $0.popLast() } ?? FrameScratch()
    defer { idle.withLock { $0.append(scratch) } }
    return try body(scratch)
  }

  /// Decodes one frame into exactly as many bytes as it holds, and returns the frame as it stands in the file.
  @discardableResult
  private func decode(
    _ index: Int, with scratch: FrameScratch, into destination: UnsafeMutableRawBufferPointer
  ) throws(CheckpointError) -> UnsafeRawBufferPointer {
    let input = scratch.frame(of: Int(entries[index].compressedSize))
    try file.read(at: fileOffsets[index], into: input)
    let frame = UnsafeRawBufferPointer(input)
    let checksum = UInt32(littleEndian: frame.loadUnaligned(fromByteOffset: frame.count - 4, as: UInt32.self))
    guard checksum == entries[index].checksum else { throw refuse(index, "its checksum is not that of the seek table") }
    do throws(ZstdError) { try ZstdFrame.decompress(frame, into: destination, with: scratch.decoder) } catch {
      throw refuse(index, error.description)
    }
    return frame
  }

  /// The content of one frame, and the frame itself where it is asked for.
  private func whole(_ index: Int, keepsFrame: Bool) throws(CheckpointError) -> (frame: [UInt8], content: [UInt8]) {
    try withScratch { scratch throws(CheckpointError) in
      var result = Result<[UInt8], CheckpointError>.success([])
      let size = Int(entries[index].contentSize)
      let content = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
        let destination = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[..<size])
        result = Result { () throws(CheckpointError) in
          let frame = try decode(index, with: scratch, into: destination)
          return keepsFrame ? Array(frame) : []
        }
        if case .success = result { count = size }
      }
      return (try result.get(), content)
    }
  }

  /// The content of one frame.
  func content(_ index: Int) throws(CheckpointError) -> [UInt8] { try whole(index, keepsFrame: false).content }

  /// Decodes a range of the archive into place, on all cores.
  ///
  /// A frame that lies within the range is decoded where it belongs; of others, the part is copied.
  func read(_ range: Range<Int>, into destination: UnsafeMutableRawBufferPointer) throws(CheckpointError) {
    precondition(range.count == destination.count, "\(destination.count) places for \(range.count) bytes")
    nonisolated(unsafe) let places = destination
    try forEachFrame(of: range) { index, span, part, scratch throws(CheckpointError) in
      let place = UnsafeMutableRawBufferPointer(
        rebasing: places[part.lowerBound - range.lowerBound..<part.upperBound - range.lowerBound])
      if part == span {
        try decode(index, with: scratch, into: place)
      } else {
        place.copyMemory(from: try content(index, part, span, scratch))
      }
    }
  }

  /// Decodes a range of the archive part by part, on all cores.
  ///
  /// - Parameter body: is given the offset of each part in the range, in no order and on several threads at once.
  func forEachPart(
    of range: Range<Int>, _ body: @Sendable (_ offset: Int, UnsafeRawBufferPointer) -> Void
  ) throws(CheckpointError) {
    try forEachFrame(of: range) { index, span, part, scratch throws(CheckpointError) in
      body(part.lowerBound - range.lowerBound, try content(index, part, span, scratch))
    }
  }

  /// A part of one frame's span, decoded in the scratch's own memory.
  private func content(
    _ index: Int, _ part: Range<Int>, _ span: Range<Int>, _ scratch: FrameScratch
  ) throws(CheckpointError) -> UnsafeRawBufferPointer {
    let whole = scratch.content(of: span.count)
    try decode(index, with: scratch, into: whole)
    return UnsafeRawBufferPointer(
      rebasing: whole[part.lowerBound - span.lowerBound..<part.upperBound - span.lowerBound])
  }

  /// Whether frames cut a range at multiples of a number of bytes from its beginning.
  func cuts(_ range: Range<Int>, atMultiplesOf size: Int) -> Bool {
    frames(of: range).dropFirst().allSatisfy { (archiveOffsets[$0] - range.lowerBound) % size == 0 }
  }

  /// Reads of single frames on several threads look random to the system: it is told what they add up to, and that what
  /// follows will probably be wanted next, so that the disk works while frames are decoded.
  private func readAhead(_ frames: Range<Int>) {
    guard frames.count > 1 else { return }
    let end = min(fileEnd, fileOffsets[frames.upperBound] + Self.ahead)
    file.beginReading(fileOffsets[frames.lowerBound]..<end)
  }

  /// Runs something for every frame that a range touches, with its span and the part of that in the range.
  private func forEachFrame(
    of range: Range<Int>,
    _ body:
      @Sendable (_ index: Int, _ span: Range<Int>, _ part: Range<Int>, FrameScratch) throws(CheckpointError) -> Void
  ) throws(CheckpointError) {
    let frames = frames(of: range)
    readAhead(frames)
    let results = Parallel.map(frames.count) { job in
      Result { () throws(CheckpointError) in
        let index = frames.lowerBound + job
        let span = archiveOffsets[index]..<archiveOffsets[index + 1]
        try withScratch { scratch throws(CheckpointError) in
          try body(index, span, range.clamped(to: span), scratch)
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
          try whole(start + job, keepsFrame: true)
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
