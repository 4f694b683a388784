internal import Tensors

/// Everything that is known of an artifact before its tensors are: the writer lays out the whole file from it.
public struct ArtifactPlan: Sendable {
  /// A file that lies beside the weights.
  public struct Member: Sendable, Equatable {
    /// Its name: a plain relative path.
    public let name: String
    /// Its content.
    public let bytes: [UInt8]

    /// A name and a content.
    public init(name: String, bytes: [UInt8]) {
      self.name = name
      self.bytes = bytes
    }
  }

  /// A file beside the weights whose content is known once they are written, and its size before.
  public struct LateMember: Sendable, Equatable {
    /// Its name: a plain relative path.
    public let name: String
    /// Bytes of its content.
    public let byteCount: Int

    /// A name and a size.
    public init(name: String, byteCount: Int) {
      self.name = name
      self.byteCount = byteCount
    }
  }

  /// A tensor to come.
  public struct PlannedTensor: Sendable, Equatable {
    /// Name, type and shape.
    public let info: TensorInfo
    /// What kind of bytes it holds.
    public let compression: Compression
    /// Whether a group ends here: frames end with it, and a run can be continued after it.
    public let endsGroup: Bool

    /// A tensor, what its bytes are like, and whether it is the last of its group.
    public init(_ info: TensorInfo, compression: Compression, endsGroup: Bool = false) {
      self.info = info
      self.compression = compression
      self.endsGroup = endsGroup
    }
  }

  /// The side files in the order of the artifact.
  public let members: [Member]
  /// The tensors in the order in which they will be written.
  public let tensors: [PlannedTensor]
  /// The file between the weights and `digests.json`, if there is to be one.
  public let lateMember: LateMember?
  /// What `__metadata__` says in `model.safetensors`.
  public let metadata: [String: String]

  /// A plan; the members are put in their order: `config.json`, then by name, then `recipe.yaml`.
  ///
  /// - Parameters:
  ///   - members: all side files but `model.safetensors` and `digests.json`.
  ///   - tensors: in the order in which they will be written.
  ///   - lateMember: a file that the writer is given last.
  ///   - metadata: for `__metadata__`; transformers 4 wants `format` to be `pt`.
  public init(
    members: [Member], tensors: [PlannedTensor], lateMember: LateMember? = nil,
    metadata: [String: String] = ["format": "pt"]
  ) {
    func place(_ member: Member) -> Int {
      member.name == MemberName.configuration ? 0 : member.name == MemberName.recipe ? 2 : 1
    }
    self.members = members.sorted { one, other in
      (place(one), one.name.utf8) < (place(other), other.name.utf8)
    }
    self.tensors = tensors
    self.lateMember = lateMember
    self.metadata = metadata
  }
}

/// Integers first, then bytes.
private func < (one: (Int, String.UTF8View), other: (Int, String.UTF8View)) -> Bool {
  one.0 != other.0 ? one.0 < other.0 : one.1.lexicographicallyPrecedes(other.1)
}
