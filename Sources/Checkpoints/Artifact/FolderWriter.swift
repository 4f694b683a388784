internal import Foundation
public import StrictJSON
public import Tensors

/// Writes the members of an artifact as an ordinary folder: `DIR.partial` with `DIR.journal` beside it, at the end `DIR`.
///
/// The files are byte for byte those that `tar -xf` takes out of an artifact of the same plan and tensors.
public struct FolderWriter: ~Copyable, CheckpointWriter {
  private let path: String
  private let layout: ArtifactLayout
  private let weights: FileDescriptor
  private var hasher: StreamHasher
  /// Bytes of `model.safetensors` so far.
  private var byteCount: Int
  private let output: OutputLane
  private var journal: RunJournal
  /// The index in the plan of the tensor that is to be written next.
  public private(set) var nextTensor: Int
  /// What the finished checkpoints noted, those of an interrupted run first.
  public private(set) var notes: [JSONValue]

  /// Begins a folder; a partial one of the same path is lost.
  ///
  /// - Parameters:
  ///   - path: of the folder to be, which must not be there, or be empty.
  ///   - plan: everything but the tensors' bytes.
  ///   - fingerprint: tells this run from others: whoever resumes must give the same.
  public init(path: String, plan: ArtifactPlan, fingerprint: String) throws(CheckpointError) {
    self = try Self.begun(path, plan, fingerprint)
  }

  /// Begins a folder that cannot be resumed before ``identify(fingerprint:)``; a partial one of the same path is lost.
  public init(path: String, plan: ArtifactPlan) throws(CheckpointError) { self = try Self.begun(path, plan, nil) }

  private static func begun(
    _ path: String, _ plan: ArtifactPlan, _ fingerprint: String?
  ) throws(CheckpointError) -> FolderWriter {
    let layout = try layout(plan, path: path)
    // The old journal goes before what it speaks of.
    try Journal.remove(path + ".journal")
    let partial = path + ".partial"
    if FileSystem.isEntry(partial) { try foundation(partial, "remove") { try $0.removeItem(atPath: partial) } }
    try makeFolder(partial)
    let weights = try FileDescriptor(writing: partial + "/" + MemberName.weights, isNew: true)
    var writer = FolderWriter(path: path, layout: layout, weights: weights, journal: nil, checkpoints: [])
    try writer.writeHead()
    if let fingerprint { try writer.identify(fingerprint: fingerprint) }
    return writer
  }

  /// Continues a folder that an interrupted run with the same path, plan and fingerprint has left.
  ///
  /// What is there is hashed again; ``notes`` and ``nextTensor`` say what is done.
  public static func resume(
    path: String, plan: ArtifactPlan, fingerprint: String
  ) throws(CheckpointError) -> FolderWriter {
    let layout = try layout(plan, path: path)
    let (journal, checkpoints) = try Journal.resume(path + ".journal", owner: owner(fingerprint, layout))
    try makeFolder(path + ".partial")
    let name = path + ".partial/" + MemberName.weights
    let weights = try FileDescriptor(writing: name, isNew: checkpoints.isEmpty)
    var writer = FolderWriter(
      path: path, layout: layout, weights: weights, journal: journal, checkpoints: checkpoints)
    if let last = checkpoints.last {
      try writer.adopt(last)
    } else {
      try writer.writeHead()
    }
    return writer
  }

  private init(
    path: String, layout: ArtifactLayout, weights: FileDescriptor, journal: Journal?, checkpoints: [Journal.Checkpoint]
  ) {
    self.path = path
    self.layout = layout
    self.weights = weights
    output = OutputLane(weights)
    self.journal = RunJournal(journal)
    hasher = StreamHasher(members: layout.members, tensors: layout.tensors)
    byteCount = 0
    nextTensor = checkpoints.last?.tensors ?? 0
    notes = checkpoints.map(\.note)
  }

  private static func layout(_ plan: ArtifactPlan, path: String) throws(CheckpointError) -> ArtifactLayout {
    if FileSystem.isEntry(path) {
      var content: [String] = []
      try foundation(path, "replace") { content = try $0.contentsOfDirectory(atPath: path) }
      guard content.isEmpty else { throw .file(.isNotEmpty(path)) }
    }
    return try ArtifactLayout(plan, path: path)
  }

  private static func owner(_ fingerprint: String, _ layout: ArtifactLayout) -> Journal.Owner {
    Journal.Owner(fingerprint: fingerprint, plan: layout.fingerprint, compressor: 0)
  }

  private static func foundation(
    _ path: String, _ operation: String, _ body: (FileManager) throws -> Void
  ) throws(CheckpointError) {
    do { try body(.default) } catch {
      let underlying = (error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError
      let code = underlying?.domain == NSPOSIXErrorDomain ? Int32(underlying?.code ?? 0) : EIO
      throw .file(FileError(path: path, operation: operation, code: code))
    }
  }

  private static func makeFolder(_ path: String) throws(CheckpointError) {
    try foundation(path, "create") {
      try $0.createDirectory(atPath: path, withIntermediateDirectories: FileSystem.kind(path) == .folder)
    }
  }

  /// Writes one of the files beside the weights.
  private func write(member name: String, _ bytes: [UInt8]) throws(CheckpointError) {
    let name = path + ".partial/" + name
    let folder = FileSystem.parent(name)
    try Self.foundation(folder, "create") {
      try $0.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }
    let file = try FileDescriptor(writing: name, isNew: true)
    try file.empty()
    try file.write(bytes, at: 0)
    try file.synchronize()
    try FileSystem.synchronizeFolder(folder)
  }

  private mutating func writeHead() throws(CheckpointError) {
    try writeMembers()
    try weights.empty()
    try weights.write(layout.weightsHeader, at: 0)
    byteCount = layout.weightsHeader.count
    hash(layout.head, at: 0)
  }

  private func writeMembers() throws(CheckpointError) {
    for member in layout.plan.members { try write(member: member.name, member.bytes) }
  }

  private mutating func hash(_ bytes: [UInt8], at offset: Int) {
    let tensor = Tensor(.uint8, [bytes.count], bytes: bytes)
    hasher.append(tensor, at: offset)
  }

  /// Hashes what an earlier run wrote, and cuts off what came after its last checkpoint.
  private mutating func adopt(_ last: Journal.Checkpoint) throws(CheckpointError) {
    let begin = layout.head.count - layout.weightsHeader.count
    let found = try weights.byteCount()
    guard last.tensors <= layout.plan.tensors.count, layout.plan.isBetweenGroups(last.tensors),
      last.byteCount == (last.tensors == 0 ? layout.head.count : layout.tensors[last.tensors - 1].upperBound) - begin,
      found >= last.byteCount, try weights.read(0..<layout.weightsHeader.count) == layout.weightsHeader
    else {
      throw .corrupt(file: weights.path, part: "what the interrupted run left", problem: "it does not fit its journal")
    }
    try writeMembers()
    hash(layout.head, at: 0)
    byteCount = layout.weightsHeader.count
    while byteCount < last.byteCount {
      let part = try weights.read(byteCount..<min(byteCount + (8 << 20), last.byteCount))
      hash(part, at: begin + byteCount)
      byteCount += part.count
    }
    try weights.truncate(to: byteCount)
  }

  /// Writes the next tensor of the plan; after an error the writer must not be used further.
  ///
  /// - Precondition: name, type and shape are those that the plan has next.
  public mutating func write(_ tensor: Tensor, named name: String) throws(CheckpointError) {
    layout.plan.require(tensor, named: name, at: nextTensor)
    try output.write(tensor, at: byteCount)
    hasher.append(tensor, at: layout.tensors[nextTensor].lowerBound)
    byteCount += tensor.byteCount
    nextTensor += 1
  }

  /// Says which run this is: until then nothing of it can be resumed; what was finished is noted now.
  ///
  /// - Precondition: it was not said before.
  public mutating func identify(fingerprint: String) throws(CheckpointError) {
    try journal.begin(
      try Journal(path: path + ".journal", owner: Self.owner(fingerprint, layout)), output)
  }

  /// Makes all that was written so far outlast a crash, and notes that it is finished; the disk does so meanwhile.
  ///
  /// - Precondition: the last tensor written ends a group.
  public mutating func checkpoint(note: JSONValue) throws(CheckpointError) {
    precondition(layout.plan.isBetweenGroups(nextTensor), "a checkpoint within a group")
    let checkpoint = Journal.Checkpoint(tensors: nextTensor, byteCount: byteCount, frames: [], note: note)
    try journal.append(checkpoint, output)
    notes.append(note)
  }

  /// Writes what comes after the tensors, waits for the disk, and gives the folder its name.
  ///
  /// - Parameter late: the content of the plan's ``ArtifactPlan/lateMember``; empty where it has none.
  /// - Precondition: all tensors of the plan were written.
  public consuming func finish(late: [UInt8]) throws(CheckpointError) -> ArtifactSummary {
    let plan = layout.plan
    precondition(nextTensor == plan.tensors.count, "\(plan.tensors.count - nextTensor) tensors were not written")
    try output.finish()
    try weights.synchronize()
    let digests = hasher.completed().digests
    let file = layout.digests(late: late, memberDigests: digests[0], tensorDigests: digests[1])
    if let member = plan.lateMember { try write(member: member.name, late) }
    try write(member: MemberName.digests, file)
    try FileSystem.rename(path + ".partial", to: path)
    try FileSystem.remove(path + ".journal")
    return ArtifactSummary(
      byteCount: plan.members.reduce(byteCount + file.count + late.count) { $0 + $1.bytes.count },
      sha256: Hex.text(SpanHasher.digest(file)),
      tensors: plan.tensors.map {
        ArtifactSummary.StoredTensor(
          name: $0.info.name, byteCount: $0.info.byteCount, compressedByteCount: $0.info.byteCount)
      })
  }

  /// Gives up, and removes what was written.
  public consuming func discard() throws(CheckpointError) {
    // Whatever became of what is still being written.
    _ = try? output.finish()
    try FileSystem.remove(path + ".journal")
    let partial = path + ".partial"
    try Self.foundation(partial, "remove") { try $0.removeItem(atPath: partial) }
  }
}
