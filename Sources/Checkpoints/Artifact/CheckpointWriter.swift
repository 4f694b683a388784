public import StrictJSON
public import Tensors

/// Takes the planned tensors one after another and leaves a complete model: an artifact or a folder.
public protocol CheckpointWriter: ~Copyable {
  /// What the finished checkpoints noted, those of an interrupted run first.
  var notes: [JSONValue] { get }

  /// The index in the plan of the tensor that is to be written next.
  var nextTensor: Int { get }

  /// Writes the next tensor of the plan.
  ///
  /// - Precondition: name, type and shape are those that the plan has next.
  mutating func write(_ tensor: Tensor, named name: String) throws(CheckpointError)

  /// Says which run this is: until then nothing of it can be resumed; what was finished is noted now.
  ///
  /// - Parameter fingerprint: tells this run from others: whoever resumes must give the same.
  mutating func identify(fingerprint: String) throws(CheckpointError)

  /// Makes all that was written so far outlast a crash, and notes that it is finished; the disk does so meanwhile.
  ///
  /// - Precondition: the last tensor written ends a group.
  /// - Parameter note: comes back in ``notes`` when the run is resumed.
  mutating func checkpoint(note: JSONValue) throws(CheckpointError)

  /// Writes what comes after the tensors and gives the output its name.
  ///
  /// - Parameter late: the content of the plan's ``ArtifactPlan/lateMember``; empty where it has none.
  /// - Precondition: all tensors of the plan were written.
  consuming func finish(late: [UInt8]) throws(CheckpointError) -> ArtifactSummary

  /// Gives up, and removes what was written. A writer that is merely dropped leaves it for a later run to resume.
  consuming func discard() throws(CheckpointError)
}

extension CheckpointWriter where Self: ~Copyable {
  /// ``finish(late:)`` of a plan without a late member.
  public consuming func finish() throws(CheckpointError) -> ArtifactSummary { try finish(late: []) }
}

/// What was written.
public struct ArtifactSummary: Sendable, Equatable {
  /// A tensor and what it takes.
  public struct StoredTensor: Sendable, Equatable {
    /// Its name.
    public let name: String
    /// Bytes of its content.
    public let byteCount: Int
    /// Bytes that it takes in the file; tensors that share a frame share its bytes by their sizes, rounded down.
    public let compressedByteCount: Int
  }

  /// Bytes of the file, or of all files of the folder.
  public let byteCount: Int
  /// The SHA-256, in hexadecimal, of the file, or of the folder's `digests.json`.
  public let sha256: String
  /// All tensors in their order.
  public let tensors: [StoredTensor]
}

extension ArtifactPlan {
  /// Traps when a tensor is not the next one of the plan: which it is was decided by the same program.
  func require(_ tensor: Tensor, named name: String, at index: Int) {
    precondition(index < tensors.count, "tensor \"\(name)\" comes after the last one of the plan")
    let info = tensors[index].info
    precondition(
      info == TensorInfo(name: name, dtype: tensor.dtype, shape: tensor.shape),
      "tensor \"\(name)\" \(tensor.dtype) \(tensor.shape), where \"\(info.name)\" \(info.dtype) \(info.shape) is next")
  }

  /// Traps when the content of the late member is not of the planned size.
  func require(late: [UInt8]) {
    let expected = lateMember?.byteCount ?? 0
    precondition(late.count == expected, "\(late.count) bytes, where \(lateMember?.name ?? "nothing") has \(expected)")
  }

  /// Whether the output can be continued before the tensor of an index.
  func isBetweenGroups(_ index: Int) -> Bool { index == 0 || index == tensors.count || tensors[index - 1].endsGroup }
}
