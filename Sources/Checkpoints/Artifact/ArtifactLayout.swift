internal import Tensors

/// Where every byte of an artifact's archive lies; follows from the plan alone.
struct ArtifactLayout: Sendable {
  let plan: ArtifactPlan
  /// The archive up to the first tensor.
  let head: [UInt8]
  /// Where each tensor lies in the archive.
  let tensors: [Range<Int>]
  /// Where each member's content lies in the archive, `model.safetensors` last; without `digests.json`.
  let members: [Range<Int>]
  /// All frames.
  let frames: [FrameSpan]
  /// How many of the frames hold only what stands before the first tensor.
  let headFrameCount: Int
  /// The content of `model.safetensors` up to the first tensor.
  let weightsHeader: [UInt8]

  /// Lays out a plan for a file, whose path is only for messages.
  init(_ plan: ArtifactPlan, path: String) throws(CheckpointError) {
    func refuse(_ problem: String) -> CheckpointError {
      .malformed(file: path, offset: nil, tensor: nil, problem: problem)
    }
    let names = Self.digestedNames(plan) + [MemberName.digests]
    if let problem = MemberName.problem(names) { throw refuse(problem) }
    self.plan = plan
    let header = try SafetensorsHeader(
      tensors: plan.tensors.map(\.info), metadata: plan.metadata, file: path + "/" + MemberName.weights)
    weightsHeader = header.encoded
    let byteCount = header.dataByteCount
    guard byteCount < 1 << 56 else { throw refuse("\(byteCount) bytes of weights are too many") }

    var head: [UInt8] = []
    var members: [Range<Int>] = []
    for member in plan.members {
      head += TarWriter.header(name: member.name, byteCount: member.bytes.count)
      members.append(head.count..<head.count + member.bytes.count)
      head += member.bytes
      head += [UInt8](repeating: 0, count: TarWriter.padding(after: member.bytes.count))
    }
    head += TarWriter.header(name: MemberName.weights, byteCount: weightsHeader.count + byteCount)
    members.append(head.count..<head.count + weightsHeader.count + byteCount)
    head += weightsHeader
    self.head = head
    self.members = members

    let data = head.count
    tensors = header.entries.map { data + $0.range.lowerBound..<data + $0.range.upperBound }
    let unknown = [UInt8](repeating: 0, count: 32)
    let digests = Self.digests(
      plan, members: Array(repeating: unknown, count: names.count - 1),
      tensors: Array(repeating: unknown, count: tensors.count))
    let late = [UInt8](repeating: 0, count: plan.lateMember?.byteCount ?? 0)
    let tailCount = Self.tail(plan, late: late, digests, weights: weightsHeader.count + byteCount).count
    let headPiece = FrameRule.Piece(byteCount: head.count, compression: .text, endsFrame: true)
    let tailPiece = FrameRule.Piece(byteCount: tailCount, compression: .text, endsFrame: true)
    let pieces = zip(plan.tensors.indices, plan.tensors).map { index, tensor in
      FrameRule.Piece(
        byteCount: tensor.info.byteCount, compression: tensor.compression,
        endsFrame: tensor.endsGroup || index == plan.tensors.count - 1)
    }
    headFrameCount = FrameRule.frames(of: [headPiece]).count
    frames = FrameRule.frames(of: [headPiece] + pieces + [tailPiece])
    guard frames.count < SeekTable.mostFrames else { throw refuse("\(frames.count) frames are too many") }
  }

  /// The archive after the last tensor.
  ///
  /// - Parameters:
  ///   - late: the content of ``ArtifactPlan/lateMember``; empty where the plan has none.
  ///   - memberDigests: of the members before it.
  func tail(late: [UInt8] = [], memberDigests: [[UInt8]], tensorDigests: [[UInt8]]) -> [UInt8] {
    let digests = digests(late: late, memberDigests: memberDigests, tensorDigests: tensorDigests)
    return Self.tail(plan, late: late, digests, weights: members.last?.count ?? 0)
  }

  /// The content of `digests.json`; see ``tail(late:memberDigests:tensorDigests:)``.
  func digests(late: [UInt8], memberDigests: [[UInt8]], tensorDigests: [[UInt8]]) -> [UInt8] {
    plan.require(late: late)
    let own = plan.lateMember == nil ? [] : [SpanHasher.digest(late)]
    return Self.digests(plan, members: memberDigests + own, tensors: tensorDigests)
  }

  /// All members that `digests.json` has digests of, in their order.
  private static func digestedNames(_ plan: ArtifactPlan) -> [String] {
    plan.members.map(\.name) + [MemberName.weights] + (plan.lateMember.map { [$0.name] } ?? [])
  }

  private static func digests(_ plan: ArtifactPlan, members: [[UInt8]], tensors: [[UInt8]]) -> [UInt8] {
    let names = digestedNames(plan)
    precondition(names.count == members.count && plan.tensors.count == tensors.count, "a digest is missing")
    return Digests(
      members: zip(names, members).map { Digests.Entry(name: $0, sha256: Hex.text($1)) },
      tensors: zip(plan.tensors, tensors).map { Digests.Entry(name: $0.info.name, sha256: Hex.text($1)) }
    ).bytes
  }

  private static func tail(_ plan: ArtifactPlan, late: [UInt8], _ digests: [UInt8], weights: Int) -> [UInt8] {
    func member(_ name: String, _ content: [UInt8]) -> [UInt8] {
      TarWriter.header(name: name, byteCount: content.count) + content
        + [UInt8](repeating: 0, count: TarWriter.padding(after: content.count))
    }
    return [UInt8](repeating: 0, count: TarWriter.padding(after: weights))
      + (plan.lateMember.map { member($0.name, late) } ?? []) + member(MemberName.digests, digests) + TarWriter.end
  }

  /// What two runs must have in common for one to continue the other: every byte that follows from the plan.
  var fingerprint: String {
    let cuts = frames.map { "\($0.byteCount) \($0.compression)" }.joined(separator: "\n")
    return Hex.text(SpanHasher.digest(head + cuts.utf8))
  }
}
