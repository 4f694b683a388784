internal import StrictJSON
internal import Synchronization

/// What a run has finished so far, kept beside an unfinished output: one JSON text per line.
///
/// The first line says whose run it is; each further line follows after the disk has what it speaks of. A line that
/// was cut short by a crash is not there.
final class Journal: Sendable {
  /// What two runs must have in common for one to continue the other.
  struct Owner: Equatable {
    /// Given by the caller: model, recipe, calibration, program.
    var fingerprint: String
    /// Of the output's layout, which follows from the plan.
    var plan: String
    /// The compressor's version, or 0: another one might write other bytes.
    var compressor: Int
  }

  /// A place from which a run can be continued.
  struct Checkpoint: Equatable {
    /// Tensors that are complete.
    var tensors: Int
    /// Bytes of the output that are complete.
    var byteCount: Int
    /// Sizes in the file of the frames since the checkpoint before.
    var frames: [UInt32]
    /// What the caller wants to know again.
    var note: JSONValue
  }

  private let file: FileDescriptor
  private let byteCount: Mutex<Int>

  /// Begins a journal, replacing an older one.
  init(path: String, owner: Owner) throws(CheckpointError) {
    file = try FileDescriptor(writing: path, isNew: true)
    try file.empty()
    byteCount = Mutex(0)
    try append([
      "format": "quantize-journal", "version": 1, "fingerprint": .string(owner.fingerprint),
      "plan": .string(owner.plan), "compressor": .integer(owner.compressor),
    ])
    try FileSystem.synchronizeFolder(FileSystem.parent(path))
  }

  /// Removes a journal, so that no crash brings it back.
  static func remove(_ path: String) throws(CheckpointError) {
    guard FileSystem.isEntry(path) else { return }
    try FileSystem.remove(path)
    try FileSystem.synchronizeFolder(FileSystem.parent(path))
  }

  /// Adds a line and waits until the disk has it.
  func append(_ checkpoint: Checkpoint) throws(CheckpointError) {
    try append([
      "tensors": .integer(checkpoint.tensors), "byteCount": .integer(checkpoint.byteCount),
      "frames": .array(checkpoint.frames.map { .integer(Int($0)) }), "note": checkpoint.note,
    ])
  }

  private func append(_ line: JSONValue) throws(CheckpointError) {
    let bytes = Array((line.compactText + "\n").utf8)
    try file.write(bytes, at: byteCount.withLock { $0 })
    try file.synchronize()
    byteCount.withLock { $0 += bytes.count }
  }

  private init(file: FileDescriptor, byteCount: Int) {
    self.file = file
    self.byteCount = Mutex(byteCount)
  }

  /// Reopens the journal of the same run, and reads what it says.
  static func resume(_ path: String, owner: Owner) throws(CheckpointError) -> (Journal, [Checkpoint]) {
    guard FileSystem.isEntry(path) else {
      throw .notFound(path, reason: "there is no interrupted run to continue")
    }
    let file = try FileDescriptor(writing: path, isNew: false)
    let bytes = try file.read(0..<file.byteCount())
    let byteCount = (bytes.lastIndex(of: UInt8(ascii: "\n")) ?? -1) + 1
    let lines = bytes[..<byteCount].split(separator: UInt8(ascii: "\n"))
    guard let first = lines.first else { throw .notFound(path, reason: "the interrupted run left an empty journal") }
    var offset = 0
    func malformed(_ problem: String) -> CheckpointError {
      .malformed(file: path, offset: offset, tensor: nil, problem: problem)
    }
    func value(_ line: ArraySlice<UInt8>) throws(CheckpointError) -> JSONValue {
      do { return try JSONValue(parsing: line) } catch { throw malformed(error.description) }
    }
    let head = try value(first)
    guard head["format"]?.stringValue == "quantize-journal", head["version"]?.intValue == 1,
      let fingerprint = head["fingerprint"]?.stringValue, let plan = head["plan"]?.stringValue,
      let compressor = head["compressor"]?.intValue
    else { throw malformed("the first line is not that of a journal") }
    let found = Owner(fingerprint: fingerprint, plan: plan, compressor: compressor)
    if let difference = owner.difference(from: found) { throw malformed(difference) }
    offset = first.count + 1
    var checkpoints: [Checkpoint] = []
    for line in lines.dropFirst() {
      guard let checkpoint = Checkpoint(try value(line)),
        checkpoint.tensors >= checkpoints.last?.tensors ?? 0, checkpoint.byteCount >= checkpoints.last?.byteCount ?? 0
      else { throw malformed("the line is not a checkpoint, or goes back behind the one before") }
      checkpoints.append(checkpoint)
      offset += line.count + 1
    }
    try file.truncate(to: byteCount)
    return (Journal(file: file, byteCount: byteCount), checkpoints)
  }
}

extension Journal.Owner {
  /// How this run differs from the one that left a journal, or `nil`.
  fileprivate func difference(from found: Self) -> String? {
    if fingerprint.utf8.elementsEqual(found.fingerprint.utf8) {
      if plan != found.plan { return "the interrupted run had another plan: its tensors, members or schemes differ" }
      guard compressor != found.compressor else { return nil }
      return "the interrupted run used libzstd \(found.compressor), this one uses \(compressor)"
    }
    // From the field in which they differ, so that a long fingerprint names its difference.
    let (mine, its) = (Array(fingerprint.unicodeScalars), Array(found.fingerprint.unicodeScalars))
    let common = zip(mine, its).prefix { $0 == $1 }.count
    let separators: Set<Unicode.Scalar> = [" ", ";", ",", "\n", "|", "&"]
    let start = mine[..<common].lastIndex { separators.contains($0) }.map { $0 + 1 } ?? 0
    func excerpt(_ scalars: [Unicode.Scalar]) -> String {
      let field = scalars[min(start, scalars.count)...].prefix(80)
      var text = String.UnicodeScalarView()
      text.append(contentsOf: field)
      return "\"" + String(text) + (scalars.count > start + 80 ? "…" : "") + "\""
    }
    return "the interrupted run is another one: it had \(excerpt(its)), this one has \(excerpt(mine))"
  }
}

extension Journal.Checkpoint {
  fileprivate init?(_ value: JSONValue) {
    guard let tensors = value["tensors"]?.intValue, let byteCount = value["byteCount"]?.intValue,
      let frames = value["frames"]?.arrayValue?.map({ $0.intValue.flatMap(UInt32.init(exactly:)) }),
      !frames.contains(nil), let note = value["note"]
    else { return nil }
    self.init(tensors: tensors, byteCount: byteCount, frames: frames.compactMap { $0 }, note: note)
  }
}
