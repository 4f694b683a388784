import Foundation
import StrictJSON
import Tensors
import TestSupport
import Testing

@testable import Checkpoints

/// `formats/artifact.md` and the files beside it say what they are said to say.
@Suite struct ArtifactExampleTests {
  private static let examples = SharedFolder.repository + "/formats/examples/"

  /// The model of the example: two tensors and the two files that every artifact has.
  static let model: SampleModel = {
    let packed: [UInt8] = [0x98, 0xA7, 0x86, 0x89, 0x78, 0x9A, 0x87, 0x68]
    return SampleModel(
      [("w.packed", .int32, [2, 1], .codes, false), ("w.scale", .bfloat16, [2, 1], .floats, true)],
      members: [
        ArtifactPlan.Member(name: "config.json", bytes: Array("{}\n".utf8)),
        ArtifactPlan.Member(name: "recipe.yaml", bytes: Array("scheme: W4A16\n".utf8)),
      ],
      tensors: [
        Tensor(.int32, [2, 1], bytes: packed), Tensor([2, 1], floats: [0.5, 0.25], as: .bfloat16),
      ])
  }()

  /// The bytes of a block of hexadecimal digits in the specification; what follows two spaces is commentary.
  private func dump(in page: String) -> [UInt8] {
    var bytes: [UInt8] = []
    var isInside = false
    for line in page.split(separator: "\n", omittingEmptySubsequences: false) {
      if line.hasPrefix("```") {
        isInside = line == "```hex"
        continue
      }
      guard isInside else { continue }
      let digits = line.prefix { $0 != "|" }.split(separator: " ")
      bytes += digits.compactMap { $0.count == 2 ? UInt8($0, radix: 16) : nil }
    }
    return bytes
  }

  @Test func `the bytes in the specification are the example, and the example is an artifact`() throws {
    let example = try contents(Self.examples + "tiny.tar.zst")
    let page = String(decoding: try contents(SharedFolder.repository + "/formats/artifact.md"), as: UTF8.self)
    #expect(dump(in: page) == example)
    let artifact = try Artifact(path: Self.examples + "tiny.tar.zst")
    try artifact.check()
    #expect(artifact.members.map(\.name) == ["config.json", "recipe.yaml", "model.safetensors", "digests.json"])
    #expect(try artifact.member("config.json") == Array("{}\n".utf8))
    #expect(try artifact.tensor("w.scale").floats() == [0.5, 0.25])
  }

  @Test func `this writer writes the example again`() throws {
    let scratch = try ScratchFolder()
    _ = try Self.model.write(to: scratch.file("tiny.tar.zst"))
    let (ours, example) = try (contents(scratch.file("tiny.tar.zst")), contents(Self.examples + "tiny.tar.zst"))
    if ZstdFrame.libraryVersion == 10504 {
      #expect(ours == example)
    } else {
      // Another version may compress otherwise; what it compresses is the same.
      let stores = try [scratch.file("tiny.tar.zst"), Self.examples + "tiny.tar.zst"].map {
        try Artifact(path: $0).store
      }
      #expect(try stores[0].read(0..<stores[0].byteCount) == stores[1].read(0..<stores[1].byteCount))
    }
  }

  /// `read_artifact.py` wrote down what Python's tarfile, zstandard and safetensors find in the example.
  @Test func `Python's libraries find in the example what we find`() throws {
    let golden = try JSONValue(parsing: contents(Self.examples + "tiny.python.json"))
    let artifact = try Artifact(path: Self.examples + "tiny.tar.zst")
    let members = try #require(golden["members"]?.objectValue)
    #expect(members.members.map(\.name) == artifact.members.map(\.name))
    for member in members.members {
      #expect(try member.value.stringValue == Hex.text(SpanHasher.digest(artifact.member(member.name))))
    }
    let tensors = try #require(golden["tensors"]?.objectValue)
    #expect(tensors.members.count == artifact.tensors.count)
    for member in tensors.members {
      let tensor = try artifact.tensor(member.name)
      #expect(member.value["dtype"]?.stringValue == tensor.dtype.rawValue)
      #expect(member.value["shape"]?.arrayValue?.compactMap(\.intValue) == tensor.shape.extents)
      #expect(tensor.withBytes { member.value["bytes"]?.stringValue == Hex.text(Array($0)) })
    }
  }

  /// `write_artifact.py` is a second writer, made from the specification alone.
  @Test func `an artifact that Python wrote is opened and passes all checks`() throws {
    let artifact = try Artifact(path: Self.examples + "python.tar.zst")
    try artifact.check()
    #expect(artifact.tensors.map(\.name) == ["a.weight", "b.weight"])
    #expect(try artifact.tensor("b.weight").floats() == (0..<1000).map { Float($0) })
    #expect(artifact.store.entries.count > 3)
  }
}
