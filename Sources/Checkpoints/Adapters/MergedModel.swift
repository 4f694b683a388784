internal import StrictJSON
internal import Tensors

/// A model with an adapter merged into it, to be written as a model of its own.
public struct MergedModel: Sendable {
  /// The type in which full-precision tensors are written.
  public enum ElementType: String, Sendable, CaseIterable {
    /// All as F32: nothing is lost, and the file is twice as large as one of 16 bits.
    case float32
    /// As in the base: changed tensors are rounded once, to nearest even.
    case base
  }

  /// The merged model; its tensors are computed when they are read.
  public let checkpoint: Checkpoint
  /// What will be written.
  public let plan: ArtifactPlan

  /// Merges an adapter into a model in full precision.
  public init(
    _ base: Checkpoint, adapter: Adapter, elementType: ElementType = .float32
  ) throws(CheckpointError) {
    guard try StoredQuantization.of(base) == nil else {
      throw .malformed(
        file: base.configurationFile, offset: nil, tensor: nil,
        problem: "the model is quantized; merge the adapter into the model it was made from, and quantize the result")
    }
    let merged = try base.adapted(by: adapter)
    let source = merged.weights as? AdaptedSource
    checkpoint = merged
    let tensors = merged.weights.tensors.map { info in
      let dtype =
        switch elementType {
        case .float32: info.dtype.isFullPrecision ? .float32 : info.dtype
        case .base: source?.storedType(info.name) ?? info.dtype
        }
      return ArtifactPlan.PlannedTensor(
        TensorInfo(name: info.name, dtype: dtype, shape: info.shape),
        compression: info.dtype.isFullPrecision ? .floats : .codes)
    }
    var members: [ArtifactPlan.Member] = []
    for name in try Self.sideFiles(of: merged) where name != MemberName.configuration {
      if let bytes = try merged.file(name) { members.append(.init(name: name, bytes: bytes)) }
    }
    var configuration = merged.configuration
    if elementType == .float32 { Checkpoint.declare(.float32, in: &configuration) }
    members.append(
      .init(name: MemberName.configuration, bytes: Array(JSONValue.object(configuration).prettyText.utf8)))
    plan = ArtifactPlan(members: members, tensors: tensors)
  }

  /// Bytes of all tensors.
  public var byteCount: Int { plan.tensors.reduce(0) { $0 + $1.info.byteCount } }

  /// Writes the model, one tensor in memory at a time; what is there under the name stays until all is written.
  ///
  /// - Parameters:
  ///   - path: `NAME.tar.zst` for an artifact, or `NAME/` for a folder, which must not be there, or be empty.
  ///   - progress: is shown each tensor before it is merged, with its index; what it throws ends the writing.
  public func write(
    to path: String, progress: (Int, TensorInfo) throws -> Void = { _, _ in }
  ) throws -> ArtifactSummary {
    let fingerprint = "merge"
    if path.hasSuffix("/") {
      let writer = try FolderWriter(path: String(path.dropLast()), plan: plan, fingerprint: fingerprint)
      return try write(to: writer, progress)
    }
    return try write(to: try ArtifactWriter(path: path, plan: plan, fingerprint: fingerprint), progress)
  }

  private func write<Writer: CheckpointWriter & ~Copyable>(
    to writer: consuming Writer, _ progress: (Int, TensorInfo) throws -> Void
  ) throws -> ArtifactSummary {
    do {
      for (index, planned) in plan.tensors.enumerated() {
        try progress(index, planned.info)
        let tensor = try checkpoint.weights.tensor(planned.info.name)
        let isRounded = tensor.dtype != planned.info.dtype
        try writer.write(
          isRounded ? Tensor(tensor.shape, floats: tensor.floats(), as: planned.info.dtype) : tensor,
          named: planned.info.name)
      }
    } catch {
      try writer.discard()
      throw error
    }
    return try writer.finish()
  }

  /// The base's side files, and a tokenizer that only the adapter has.
  private static func sideFiles(of checkpoint: Checkpoint) throws(CheckpointError) -> [String] {
    var names = try checkpoint.sideFiles()
    for name in Checkpoint.tokenizerFiles where !names.contains(name) {
      if try checkpoint.file(name) != nil { names.append(name) }
    }
    return names
  }
}
