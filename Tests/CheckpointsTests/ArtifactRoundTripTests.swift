import Foundation
import Kernels
import Tensors
import TestSupport
import Testing

@testable import Checkpoints

@Suite struct ArtifactRoundTripTests {
  private func bytes(_ tensor: Tensor) -> [UInt8] { tensor.withBytes { Array($0) } }

  @Test(arguments: [SampleModel.small, SampleModel.large])
  func `tensors and members come back as they were`(_ model: SampleModel) throws {
    let scratch = try ScratchFolder()
    let summary = try model.write(to: scratch.file("model.tar.zst"))
    #expect(try scratch.names == ["model.tar.zst"])
    let artifact = try Artifact(path: scratch.file("model.tar.zst"))
    #expect(artifact.tensors == model.plan.tensors.map(\.info))
    for (planned, tensor) in zip(model.plan.tensors, model.tensors) {
      #expect(artifact.info(planned.info.name) == planned.info)
      #expect(bytes(try artifact.tensor(planned.info.name)) == bytes(tensor), "\(planned.info.name)")
    }
    let names = ["config.json", "empty.txt", "tokenizer.json", "recipe.yaml", "model.safetensors", "digests.json"]
    #expect(artifact.members.map(\.name) == names)
    for member in model.plan.members { #expect(try artifact.member(member.name) == member.bytes) }
    try artifact.check()
    let file = try contents(scratch.file("model.tar.zst"))
    #expect(summary.byteCount == file.count)
    #expect(summary.sha256 == Hex.text(SpanHasher.digest(file)))
    #expect(try artifact.fileSHA256() == summary.sha256)
    for stored in summary.tensors {
      #expect(try artifact.compressedByteCount(of: stored.name) == stored.compressedByteCount)
      #expect(stored.compressedByteCount <= stored.byteCount + stored.byteCount / 100 + 64)
    }
    #expect(summary.tensors.reduce(0) { $0 + $1.compressedByteCount } < file.count)
  }

  @Test func `what is not there is refused by name`() throws {
    let scratch = try ScratchFolder()
    _ = try SampleModel.small.write(to: scratch.file("a"))
    let artifact = try Artifact(path: scratch.file("a"))
    #expect(artifact.info("absent") == nil)
    #expect(throws: CheckpointError.missingTensor("absent", file: scratch.file("a"))) { try artifact.tensor("absent") }
    #expect(throws: CheckpointError.self) { try artifact.member("absent") }
  }

  @Test func `names that differ only in their Unicode form are refused, as in safetensors files`() throws {
    let model = SampleModel([("caf\u{E9}", .uint8, [3], .codes, false), ("cafe\u{301}", .uint8, [5], .codes, true)])
    let scratch = try ScratchFolder()
    let path = scratch.file("a")
    #expect(throws: CheckpointError.self) { _ = try model.write(to: path) }
  }

  @Test func `a model without tensors or members is an artifact`() throws {
    let scratch = try ScratchFolder()
    _ = try SampleModel([], members: []).write(to: scratch.file("a"))
    let artifact = try Artifact(path: scratch.file("a"))
    #expect(artifact.tensors.isEmpty && artifact.members.map(\.name) == ["model.safetensors", "digests.json"])
    try artifact.check()
  }

  @Test func `the file is its frames compressed one after another, whatever the number of threads`() throws {
    let model = SampleModel.large
    let scratch = try ScratchFolder()
    _ = try model.write(to: scratch.file("a"))
    let layout = try ArtifactLayout(model.plan, path: "a")
    var archive = layout.head
    for tensor in model.tensors { archive += bytes(tensor) }
    let members = model.plan.members.map { SpanHasher.digest($0.bytes) }
    let weights = SpanHasher.digest(layout.weightsHeader + model.tensors.flatMap(bytes))
    archive += layout.tail(
      memberDigests: members + [weights], tensorDigests: model.tensors.map { SpanHasher.digest(bytes($0)) })
    var parts = try Parts(archive: [])
    var offset = 0
    for frame in layout.frames {
      try parts.append(Array(archive[offset..<offset + frame.byteCount]), frame.compression)
      offset += frame.byteCount
    }
    #expect(offset == archive.count)
    #expect(try contents(scratch.file("a")) == parts.bytes)
    let threads = Parallel.threads
    defer { Parallel.threads = threads }
    for count in [1, 2, 7] {
      Parallel.threads = count
      _ = try model.write(to: scratch.file("b"), fingerprint: "another")
      #expect(try contents(scratch.file("b")) == parts.bytes, "\(count) threads")
    }
  }

  @Test func `checking reports progress up to the whole archive`() throws {
    let scratch = try ScratchFolder()
    _ = try SampleModel.large.write(to: scratch.file("a"))
    var last = (done: 0, total: 1)
    try Artifact(path: scratch.file("a")).check { done, total in
      #expect(done > last.done)
      last = (done, total)
    }
    #expect(last.done == last.total)
  }

  @Test func `a folder holds what tar takes out of the artifact`() throws {
    let scratch = try ScratchFolder()
    let model = SampleModel.large
    _ = try model.write(to: scratch.file("model.tar.zst"))
    var writer = try FolderWriter(path: scratch.file("folder"), plan: model.plan, fingerprint: "test")
    try model.write(into: &writer)
    let summary = try writer.finish()
    #expect(try scratch.names == ["folder", "model.tar.zst"])
    let artifact = try Artifact(path: scratch.file("model.tar.zst"))
    var byteCount = 0
    for member in artifact.members {
      let file = try contents(scratch.file("folder/" + member.name))
      #expect(try artifact.member(member.name) == file, "\(member.name)")
      byteCount += file.count
    }
    #expect(summary.byteCount == byteCount)
    #expect(summary.sha256 == Hex.text(SpanHasher.digest(try contents(scratch.file("folder/digests.json")))))
  }

  @Test(.enabled(if: Tool.path("tar") != nil && Tool.path("zstd") != nil, "needs tar and zstd"))
  func `tar and zstd open an artifact without any tool of ours`() throws {
    let scratch = try ScratchFolder()
    let members =
      SampleModel.members + [
        ArtifactPlan.Member(name: "größe/" + String(repeating: "n", count: 120), bytes: [1, 2, 3])
      ]
    let model = SampleModel([("w", .uint8, [7 << 20 | 5], .codes, true)], members: members)
    _ = try model.write(to: scratch.file("model.tar.zst"))
    let test = try #require(try run("zstd", ["-t", scratch.file("model.tar.zst")]))
    #expect(test.status == 0, "\(String(decoding: test.output, as: UTF8.self))")
    try FileManager.default.createDirectory(atPath: scratch.file("out"), withIntermediateDirectories: false)
    let tar = try #require(try run("tar", ["-xf", scratch.file("model.tar.zst"), "-C", scratch.file("out")]))
    #expect(tar.status == 0 && tar.output.isEmpty, "\(String(decoding: tar.output, as: UTF8.self))")
    let artifact = try Artifact(path: scratch.file("model.tar.zst"))
    for member in artifact.members {
      #expect(try contents(scratch.file("out/" + member.name)) == artifact.member(member.name), "\(member.name)")
    }
  }
}
