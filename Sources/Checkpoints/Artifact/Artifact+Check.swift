internal import Crypto

extension Artifact {
  /// Reads and verifies every byte of the file.
  ///
  /// Frames must decode and agree with their checksums; the file up to the digest frame must have the digest it
  /// states; members and tensors must have those of `digests.json`; padding must be zeros. Opening has already held
  /// the seek table, the archive's headers and the weights' header against one another.
  ///
  /// - Parameter progress: is called now and then with the bytes of content done, and all of them.
  public func check(progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }) throws(CheckpointError) {
    var hasher = StreamHasher(members: memberRanges.dropLast(), tensors: tensorRanges)
    var fileHash = SHA256()
    var padding = memberRanges.map { $0.upperBound..<$0.upperBound + TarWriter.padding(after: $0.count) }[...]
    let total = store.byteCount
    try store.scan(hasher: &hasher, fileHash: &fileHash) { offset, content throws(CheckpointError) in
      let end = offset + content.count
      while let next = padding.first, next.lowerBound < end {
        let part = next.clamped(to: offset..<end)
        guard content[part.lowerBound - offset..<part.upperBound - offset].allSatisfy({ $0 == 0 }) else {
          throw .corrupt(file: path, part: "the padding at archive byte \(part.lowerBound)", problem: "it is not empty")
        }
        guard next.upperBound <= end else { break }
        padding.removeFirst()
      }
      progress(end, total)
    }
    let stated = try store.file.read(store.fileEnd..<store.fileEnd + DigestFrame.byteCount)
    guard stated == DigestFrame.bytes(Array(fileHash.finalize())) else {
      throw .corrupt(file: path, part: "the file", problem: "its SHA-256 is not the one in its digest frame")
    }
    let found = hasher.completed().digests
    let digests = try Digests(parsing: try member(MemberName.digests), path: path)
    try compare("member", members.dropLast().map(\.name), found[0], digests.members)
    try compare("tensor", tensors.map(\.name), found[1], digests.tensors)
  }

  private func compare(
    _ kind: String, _ names: [String], _ found: [[UInt8]], _ stated: [Digests.Entry]
  ) throws(CheckpointError) {
    for (index, name) in names.enumerated() {
      guard index < stated.count, stated[index].name.utf8.elementsEqual(name.utf8) else {
        let instead = index < stated.count ? "\"\(stated[index].name)\"" : "nothing"
        throw .malformed(
          file: path, offset: nil, tensor: nil,
          problem: "\(MemberName.digests) has \(instead) where \(kind) \"\(name)\" is expected")
      }
      guard stated[index].sha256 == Hex.text(found[index]) else {
        throw .corrupt(
          file: path, part: "\(kind) \"\(name)\"",
          problem: "its SHA-256 is \(Hex.text(found[index])), not \(stated[index].sha256)")
      }
    }
    guard stated.count == names.count else {
      throw .malformed(
        file: path, offset: nil, tensor: nil,
        problem: "\(MemberName.digests) names \(stated.count) \(kind)s, the file has \(names.count)")
    }
  }
}
