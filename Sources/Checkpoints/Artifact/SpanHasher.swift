internal import Crypto
internal import Kernels
internal import Tensors

/// SHA-256 of several spans of a stream whose bytes come by in order, whole or in parts.
struct SpanHasher: Sendable {
  private let spans: [Range<Int>]
  private var index = 0
  private var position = 0
  private var hasher = SHA256()

  /// A hasher of spans that lie one after another; what lies between them is not hashed.
  init(_ spans: [Range<Int>]) { self.spans = spans }

  /// Takes the bytes from a stream's offset on, and returns the digests of the spans that are complete now.
  mutating func update(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> [[UInt8]] {
    var digests: [[UInt8]] = []
    while index < spans.count {
      let span = spans[index]
      let from = max(span.lowerBound, position)
      let to = min(span.upperBound, offset + bytes.count)
      if from < to {
        precondition(from >= offset, "bytes \(from)..<\(offset) of the stream were left out")
        hasher.update(bufferPointer: UnsafeRawBufferPointer(rebasing: bytes[from - offset..<to - offset]))
        position = to
      }
      // Empty spans are complete as soon as their turn comes.
      guard max(position, span.lowerBound) == span.upperBound else { break }
      digests.append(Array(hasher.finalize()))
      hasher = SHA256()
      index += 1
    }
    return digests
  }

  /// A stream's digest at once.
  static func digest(_ bytes: [UInt8]) -> [UInt8] { Array(SHA256.hash(data: bytes)) }
}

/// The digests of all members and all tensors of one archive, as its bytes come by.
///
/// The two run over the same bytes, so they are two jobs for two cores.
struct StreamHasher: Sendable {
  static let jobs = 2
  private var hashers: [SpanHasher]
  /// Finished digests: of the members, and of the tensors.
  private(set) var digests: [[[UInt8]]] = [[], []]

  /// A hasher of an archive's members and tensors.
  init(members: [Range<Int>], tensors: [Range<Int>]) { hashers = [SpanHasher(members), SpanHasher(tensors)] }

  /// What one job has done.
  struct Progress: Sendable {
    fileprivate var hasher: SpanHasher
    fileprivate var digests: [[UInt8]]
  }

  /// Does one job over the next bytes.
  func run(job: Int, over bytes: UnsafeRawBufferPointer, at offset: Int) -> Progress {
    var progress = Progress(hasher: hashers[job], digests: [])
    progress.digests = progress.hasher.update(bytes, at: offset)
    return progress
  }

  /// Does one job over the next bytes, which come in several parts.
  func run(job: Int, over parts: [[UInt8]], at offset: Int) -> Progress {
    var progress = Progress(hasher: hashers[job], digests: [])
    var offset = offset
    for part in parts {
      progress.digests += part.withUnsafeBytes { progress.hasher.update($0, at: offset) }
      offset += part.count
    }
    return progress
  }

  /// Hashes the next bytes, both jobs at once.
  mutating func append(_ bytes: Tensor, at offset: Int) {
    let before = self
    let progress = Parallel.map(Self.jobs) { job in bytes.withBytes { before.run(job: job, over: $0, at: offset) } }
    for (job, progress) in progress.enumerated() { finish(job: job, progress) }
  }

  /// The same with the digests of empty spans at the end.
  func completed() -> StreamHasher {
    var copy = self
    let nothing = UnsafeRawBufferPointer(start: nil, count: 0)
    for job in 0..<Self.jobs { copy.finish(job: job, run(job: job, over: nothing, at: 0)) }
    return copy
  }

  /// Takes over what a job has done.
  mutating func finish(job: Int, _ progress: Progress) {
    hashers[job] = progress.hasher
    digests[job] += progress.digests
  }
}
