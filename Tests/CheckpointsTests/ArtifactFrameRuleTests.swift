import Tensors
import Testing

@testable import Checkpoints

@Suite struct ArtifactFrameRuleTests {
  private let mebibyte = 1 << 20

  private func sizes(_ pieces: [(Int, Compression, Bool)]) -> [Int] {
    FrameRule.frames(
      of: pieces.map { FrameRule.Piece(byteCount: $0.0, compression: $0.1, endsFrame: $0.2) }
    ).map(\.byteCount)
  }

  @Test func `pieces of three mebibytes and more are cut, smaller ones are not`() {
    #expect(sizes([(3 * mebibyte - 1, .codes, false)]) == [3 * mebibyte - 1])
    #expect(sizes([(3 * mebibyte, .codes, false)]) == [2 * mebibyte, mebibyte])
    #expect(sizes([(5 * mebibyte - 1, .codes, false)]) == [2 * mebibyte, 3 * mebibyte - 1])
    #expect(sizes([(5 * mebibyte, .codes, false)]) == [2 * mebibyte, 2 * mebibyte, mebibyte])
  }

  @Test func `small neighbours share a frame up to two mebibytes`() {
    #expect(sizes([(mebibyte, .codes, false), (mebibyte, .codes, false)]) == [2 * mebibyte])
    #expect(sizes([(mebibyte, .codes, false), (mebibyte + 1, .codes, false)]) == [mebibyte, mebibyte + 1])
    #expect(sizes([(mebibyte, .codes, false), (1, .floats, false)]) == [mebibyte, 1])
    #expect(sizes([(1, .codes, true), (1, .codes, false)]) == [1, 1])
  }

  @Test func `no frame holds the rest of a cut tensor and another`() {
    #expect(sizes([(3 * mebibyte, .codes, false), (1, .codes, false)]) == [2 * mebibyte, mebibyte, 1])
    #expect(sizes([(1, .codes, false), (3 * mebibyte, .codes, false)]) == [1, 2 * mebibyte, mebibyte])
  }

  @Test func `empty tensors make no frames but may end them`() {
    #expect(sizes([]) == [])
    #expect(sizes([(0, .codes, false), (0, .floats, true)]) == [])
    #expect(sizes([(1, .codes, false), (0, .floats, false), (1, .codes, false)]) == [2])
    #expect(sizes([(1, .codes, false), (0, .codes, true), (1, .codes, false)]) == [1, 1])
  }

  @Test func `members are put in their order`() {
    let plan = ArtifactPlan(
      members: ["tokenizer.json", "recipe.yaml", "a.txt", "config.json", "Z.txt"].map {
        ArtifactPlan.Member(name: $0, bytes: [])
      }, tensors: [])
    #expect(plan.members.map(\.name) == ["config.json", "Z.txt", "a.txt", "tokenizer.json", "recipe.yaml"])
  }

  @Test(arguments: [["model.safetensors"], ["digests.json"], ["../x"], ["a", "a"], ["a/b", "a"]])
  func `a plan whose names cannot be in one folder is refused`(_ names: [String]) {
    let plan = ArtifactPlan(members: names.map { ArtifactPlan.Member(name: $0, bytes: []) }, tensors: [])
    #expect(throws: CheckpointError.self) { try ArtifactLayout(plan, path: "test") }
  }

  @Test func `a plan with a tensor twice, or named as the metadata, is refused`() {
    for names in [["a", "a"], ["__metadata__"]] {
      let tensors = names.map {
        ArtifactPlan.PlannedTensor(TensorInfo(name: $0, dtype: .uint8, shape: [1]), compression: .codes)
      }
      #expect(throws: CheckpointError.self) {
        try ArtifactLayout(ArtifactPlan(members: [], tensors: tensors), path: "test")
      }
    }
  }
}
