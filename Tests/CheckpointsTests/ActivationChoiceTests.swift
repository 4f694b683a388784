import Foundation
import StrictJSON
import Tensors
import TestSupport
import Testing

@testable import Checkpoints

/// The file that says whose inputs are worth rounding, and its place behind the weights.
@Suite struct ActivationChoiceTests {
  private static let names = ["a.q_proj", "a.k_proj", "b.down_proj"]

  private static func parsed(_ text: String) throws(CheckpointError) -> ActivationChoice {
    try ActivationChoice(parsing: Array(text.utf8), path: "f") { names.contains($0) }
  }

  @Test func `what is written is read, and takes the planned bytes whatever is chosen`() throws {
    let size = ActivationChoice.byteCount(measured: 3, floats: Self.names)
    for floats in [[], ["b.down_proj"], Self.names] {
      let choice = ActivationChoice(measured: 3, floats: floats)
      let bytes = choice.bytes(count: size)
      #expect(bytes.count == size && bytes.last == UInt8(ascii: "\n"))
      #expect(try Self.parsed(String(decoding: bytes, as: UTF8.self)) == choice)
    }
    let full = ActivationChoice(measured: 3, floats: Self.names).bytes(count: size)
    #expect(!full.suffix(4).contains(UInt8(ascii: " ")))
  }

  @Test(
    arguments: [
      (#"{"version": 2, "measured": 1, "float": []}"#, "version 2, where 1 is known"),
      (#"{"measured": 1, "float": []}"#, "version is missing"),
      (#"{"version": 1, "float": []}"#, "measured is missing"),
      (#"{"version": 1, "measured": -1, "float": []}"#, "measured is -1"),
      (#"{"version": 1, "measured": 1}"#, "float is missing"),
      (#"{"version": 1, "measured": 1, "float": {}}"#, "expected an array of names"),
      (#"{"version": 1, "measured": 1, "float": [1]}"#, "float holds 1, expected the name of a linear"),
      (#"{"version": 1, "measured": 1, "float": ["c"]}"#, #"float names "c", which is no quantized linear"#),
      (#"{"version": 1, "measured": 2, "float": ["a.q_proj", "a.q_proj"]}"#, #"names "a.q_proj" twice"#),
      (#"{"version": 1, "measured": 1, "float": ["a.q_proj", "a.k_proj"]}"#, "names 2 linears, where 1 were measured"),
      (#"{"version": 1"#, "f"), ("", "f"), ("[]", "version is missing"),
    ])
  func `what is malformed is refused in one sentence`(text: String, expected: String) throws {
    do {
      _ = try Self.parsed(text)
      Issue.record("\(text) was read")
    } catch {
      #expect(error.description.contains(expected) && !error.description.contains("\n"), "\(error)")
    }
  }

  private static func plan(_ model: SampleModel, late: Int) -> ArtifactPlan {
    ArtifactPlan(
      members: model.plan.members, tensors: model.plan.tensors,
      lateMember: .init(name: ActivationChoice.fileName, byteCount: late))
  }

  @Test(arguments: [0, 1, 511, 512, 3_500_000])
  func `an artifact and a folder hold what was known last, wherever the run was interrupted`(count: Int) throws {
    let scratch = try ScratchFolder()
    let model = SampleModel.small
    let plan = Self.plan(model, late: count)
    let late = (0..<count).map { UInt8(truncatingIfNeeded: $0 / 7) }
    var writer = try ArtifactWriter(path: scratch.file("whole"), plan: plan, fingerprint: "test")
    try model.write(into: &writer)
    let summary = try writer.finish(late: late)
    let artifact = try Artifact(path: scratch.file("whole"))
    try artifact.check()
    #expect(artifact.members.map(\.name).suffix(3) == ["model.safetensors", ActivationChoice.fileName, "digests.json"])
    #expect(try artifact.member(ActivationChoice.fileName) == late)
    for index in [0, 1, 5, model.tensors.count] {
      var first = try ArtifactWriter(path: scratch.file("cut"), plan: plan, fingerprint: "test")
      try model.write(into: &first, until: index)
      _ = consume first
      var second = try ArtifactWriter.resume(path: scratch.file("cut"), plan: plan, fingerprint: "test")
      try model.write(into: &second)
      #expect(try second.finish(late: late) == summary)
      #expect(try contents(scratch.file("cut")) == contents(scratch.file("whole")))
    }
    var folder = try FolderWriter(path: scratch.file("folder"), plan: plan, fingerprint: "test")
    try model.write(into: &folder)
    let written = try folder.finish(late: late)
    var byteCount = 0
    for member in artifact.members {
      let file = try contents(scratch.file("folder/" + member.name))
      #expect(try artifact.member(member.name) == file, "\(member.name)")
      byteCount += file.count
    }
    #expect(written.byteCount == byteCount)
  }

  @Test func `a plan without such a file gives the same bytes as before there were any`() throws {
    let scratch = try ScratchFolder()
    let model = SampleModel.small
    let summary = try model.write(to: scratch.file("plain"))
    #expect(try Artifact(path: scratch.file("plain")).members.count == model.plan.members.count + 2)
    var writer = try ArtifactWriter(
      path: scratch.file("late"), plan: Self.plan(model, late: 8), fingerprint: "test")
    try model.write(into: &writer)
    #expect(try writer.finish(late: [UInt8](repeating: 32, count: 8)).sha256 != summary.sha256)
  }

  @Test func `it is no file that travels to another model`() throws {
    let scratch = try ScratchFolder()
    let model = SampleModel.small
    var writer = try ArtifactWriter(
      path: scratch.file("a.tar.zst"), plan: Self.plan(model, late: 8), fingerprint: "test")
    try model.write(into: &writer)
    _ = try writer.finish(late: [UInt8](repeating: 32, count: 8))
    let files = try Checkpoint(scratch.file("a.tar.zst")).sideFiles()
    #expect(!files.contains(ActivationChoice.fileName) && files.contains("tokenizer.json"))
  }
}
