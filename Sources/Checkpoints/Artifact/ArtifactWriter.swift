public import StrictJSON
public import Tensors

/// Writes an artifact as a stream: `PATH.partial` with `PATH.journal` beside it, and at the end `PATH`.
///
/// The same plan and tensors give the same bytes, with any number of threads, resumed or not.
public struct ArtifactWriter: ~Copyable, CheckpointWriter {
  private let path: String
  private let layout: ArtifactLayout
  private let file: FileDescriptor
  private var frames: FrameWriter
  private var journal: RunJournal
  private var journaledFrames: Int
  /// The index in the plan of the tensor that is to be written next.
  public private(set) var nextTensor: Int
  /// What the finished checkpoints noted, those of an interrupted run first.
  public private(set) var notes: [JSONValue]

  /// Begins an artifact; a partial one of the same path is lost.
  ///
  /// - Parameters:
  ///   - path: of the file to be; a file that has this name stays until the new one is complete.
  ///   - plan: everything but the tensors' bytes.
  ///   - fingerprint: tells this run from others: whoever resumes must give the same.
  public init(path: String, plan: ArtifactPlan, fingerprint: String) throws(CheckpointError) {
    self = try Self.begun(path, plan, fingerprint)
  }

  /// Begins an artifact that cannot be resumed before ``identify(fingerprint:)``; a partial one of the same path is lost.
  public init(path: String, plan: ArtifactPlan) throws(CheckpointError) { self = try Self.begun(path, plan, nil) }

  private static func begun(
    _ path: String, _ plan: ArtifactPlan, _ fingerprint: String?
  ) throws(CheckpointError) -> ArtifactWriter {
    let layout = try layout(plan, path: path)
    let file = try FileDescriptor(writing: path + ".partial", isNew: true)
    // The old journal goes before what it speaks of.
    try Journal.remove(path + ".journal")
    try file.empty()
    var frames = FrameWriter(file: file, layout: layout)
    try frames.append(Tensor(.uint8, [layout.head.count], bytes: layout.head))
    // A file that cannot be written is found before the work.
    try frames.output.finish()
    var writer = ArtifactWriter(
      path: path, layout: layout, file: file, frames: frames, journal: nil, checkpoints: [])
    if let fingerprint { try writer.identify(fingerprint: fingerprint) }
    return writer
  }

  /// Continues an artifact that an interrupted run with the same path, plan and fingerprint has left.
  ///
  /// What is there is decoded and hashed again; ``notes`` and ``nextTensor`` say what is done. What came after the
  /// last checkpoint is cut off.
  public static func resume(
    path: String, plan: ArtifactPlan, fingerprint: String
  ) throws(CheckpointError) -> ArtifactWriter {
    let layout = try layout(plan, path: path)
    let (journal, checkpoints) = try Journal.resume(path + ".journal", owner: owner(fingerprint, layout))
    let file = try FileDescriptor(writing: path + ".partial", isNew: checkpoints.isEmpty)
    var frames = FrameWriter(file: file, layout: layout)
    if let last = checkpoints.last {
      try frames.adopt(sizes: checkpoints.flatMap(\.frames))
      let archive = frames.entries.reduce(0) { $0 + Int($1.contentSize) }
      guard frames.fileOffset == last.byteCount, last.tensors <= plan.tensors.count, plan.isBetweenGroups(last.tensors),
        archive == (last.tensors == 0 ? layout.head.count : layout.tensors[last.tensors - 1].upperBound)
      else {
        throw .malformed(
          file: path + ".journal", offset: nil, tensor: nil, problem: "the last checkpoint does not fit its frames")
      }
      try file.truncate(to: frames.fileOffset)
    } else {
      try file.empty()
      try frames.append(Tensor(.uint8, [layout.head.count], bytes: layout.head))
    }
    return ArtifactWriter(
      path: path, layout: layout, file: file, frames: frames, journal: journal, checkpoints: checkpoints)
  }

  private init(
    path: String, layout: ArtifactLayout, file: FileDescriptor, frames: FrameWriter, journal: Journal?,
    checkpoints: [Journal.Checkpoint]
  ) {
    self.path = path
    self.layout = layout
    self.file = file
    self.frames = frames
    self.journal = RunJournal(journal)
    journaledFrames = checkpoints.isEmpty ? 0 : frames.entries.count
    nextTensor = checkpoints.last?.tensors ?? 0
    notes = checkpoints.map(\.note)
  }

  private static func layout(_ plan: ArtifactPlan, path: String) throws(CheckpointError) -> ArtifactLayout {
    // Found out now, not after hours, when the file gets its name.
    if FileSystem.kind(path) == .folder { throw .file(.isFolder(path)) }
    return try ArtifactLayout(plan, path: path)
  }

  private static func owner(_ fingerprint: String, _ layout: ArtifactLayout) -> Journal.Owner {
    Journal.Owner(fingerprint: fingerprint, plan: layout.fingerprint, compressor: ZstdFrame.libraryVersion)
  }

  /// Writes the next tensor of the plan; after an error the writer must not be used further.
  ///
  /// - Precondition: name, type and shape are those that the plan has next.
  public mutating func write(_ tensor: Tensor, named name: String) throws(CheckpointError) {
    layout.plan.require(tensor, named: name, at: nextTensor)
    try frames.append(tensor)
    nextTensor += 1
  }

  /// Says which run this is: until then nothing of it can be resumed; what was finished is noted now.
  ///
  /// - Precondition: it was not said before.
  public mutating func identify(fingerprint: String) throws(CheckpointError) {
    try journal.begin(
      try Journal(path: path + ".journal", owner: Self.owner(fingerprint, layout)), frames.output)
  }

  /// Makes all that was written so far outlast a crash, and notes that it is finished; the disk does so meanwhile.
  ///
  /// - Precondition: the last tensor written ends a group.
  public mutating func checkpoint(note: JSONValue) throws(CheckpointError) {
    precondition(layout.plan.isBetweenGroups(nextTensor) && frames.isBetweenFrames, "a checkpoint within a group")
    let checkpoint = Journal.Checkpoint(
      tensors: nextTensor, byteCount: frames.fileOffset,
      frames: frames.entries[journaledFrames...].map(\.compressedSize), note: note)
    try journal.append(checkpoint, frames.output)
    journaledFrames = frames.entries.count
    notes.append(note)
  }

  /// Writes what comes after the tensors, waits for the disk, and gives the file its name.
  ///
  /// - Parameter late: the content of the plan's ``ArtifactPlan/lateMember``; empty where it has none.
  /// - Precondition: all tensors of the plan were written.
  public consuming func finish(late: [UInt8]) throws(CheckpointError) -> ArtifactSummary {
    let plan = layout.plan
    precondition(nextTensor == plan.tensors.count, "\(plan.tensors.count - nextTensor) tensors were not written")
    let hasher = frames.hasher.completed()
    let tail = layout.tail(late: late, memberDigests: hasher.digests[0], tensorDigests: hasher.digests[1])
    try frames.append(Tensor(.uint8, [tail.count], bytes: tail))
    let digest = try frames.finish()
    try file.synchronize()
    try FileSystem.rename(path + ".partial", to: path)
    try FileSystem.remove(path + ".journal")
    let store = FrameStore(file: file, entries: Array(frames.entries.dropLast()))
    let tensors = zip(plan.tensors, layout.tensors).map { planned, range in
      ArtifactSummary.StoredTensor(
        name: planned.info.name, byteCount: range.count, compressedByteCount: store.compressedByteCount(of: range))
    }
    return ArtifactSummary(byteCount: frames.fileOffset, sha256: Hex.text(digest), tensors: tensors)
  }

  /// Gives up, and removes what was written.
  public consuming func discard() throws(CheckpointError) {
    // Whatever became of what is still being written.
    _ = try? frames.output.finish()
    try FileSystem.remove(path + ".journal")
    try FileSystem.remove(path + ".partial")
  }
}
