import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

@Suite struct SafetensorsReadingTests {
  @Test func `the worked example is read as it is described`() throws {
    let file = try SafetensorsFile(path: SafetensorsVectors.path("good/worked-example"))
    #expect(file.header.dataOffset == 8 + 0x148)
    #expect(file.header.dataByteCount == 23)
    #expect(file.header.metadata == ["format": "pt"])
    #expect(
      file.tensors == [
        TensorInfo(name: "s.i64", dtype: .int64, shape: []), TensorInfo(name: "a.f32", dtype: .float32, shape: [1, 2]),
        TensorInfo(name: "b.bf16", dtype: .bfloat16, shape: [2]),
        TensorInfo(name: "q.f8", dtype: .float8E4M3, shape: [2]), TensorInfo(name: "z.u8", dtype: .uint8, shape: [1]),
      ])
    #expect(file.header["b.bf16"]?.range == 16..<20)
    #expect(try file.tensor("s.i64").bytes == [UInt8](repeating: 0xFF, count: 8))
    #expect(try file.tensor("a.f32").floats() == [1, 2])
    #expect(try file.tensor("b.bf16").floats() == [1, -2.5])
    #expect(try file.tensor("q.f8").floats() == [448, -0.0])
    #expect(try file.tensor("z.u8").bytes == [7])
    #expect(throws: CheckpointError.missingTensor("x", file: file.path)) { try file.tensor("x") }
    #expect(file.info("x") == nil)
  }

  @Test func `the hexadecimal example of the specification is the vector`() throws {
    let page = try String(contentsOfFile: SharedFolder.repository + "/formats/safetensors.md", encoding: .utf8)
    let dump = try #require(page.split(separator: "```hex\n").dropFirst().first?.split(separator: "```").first)
    let bytes = dump.split(separator: "\n").flatMap { line in
      line.split(separator: "|")[0].split(separator: " ").dropFirst().compactMap { UInt8($0, radix: 16) }
    }
    #expect(bytes == (try SafetensorsVectors.bytes("good/worked-example")))
  }

  /// Tensors in the order of the data, and the bytes of each, for files where more than success matters.
  static let contents: [String: [(name: String, bytes: [UInt8])]] = [
    "python-no-tensors": [], "smallest": [], "metadata-only": [], "space-around": [("a", [1])],
    "fields-in-any-order": [("a", [1])], "header-not-in-data-order": [("a", [1]), ("b", [2])],
    "unknown-fields": [("a", [1])], "name-empty": [("", [1])], "name-with-nul": [("a\0b", [1])],
    "name-like-a-path": [("../x", [1])], "name-with-escapes": [("é😀\"\\\n", [1])], "metadata-null": [("a", [1])],
    "metadata-empty": [("a", [1])], "unaligned": [("a", [7]), ("b", [0, 0, 0xC0, 0x3F])],
    "empty-tensors": [("e0", []), ("a", [1]), ("e1", []), ("b", [2]), ("e2", [])],
    "zero-before-large-extents": [("a", [])], "nested-127": [("a", [1])],
  ]

  @Test func `what the reference takes is taken, with its content`() throws {
    let names = try SafetensorsVectors.names(in: "good")
    #expect(names.count >= 20)
    #expect(Set(Self.contents.keys).isSubset(of: names))
    for name in names {
      let file = try SafetensorsFile(path: SafetensorsVectors.path("good/" + name))
      guard let expected = Self.contents[name] else { continue }
      #expect(file.tensors.map(\.name) == expected.map(\.name), "\(name)")
      for (tensor, bytes) in expected { #expect(try file.tensor(tensor).bytes == bytes, "\(name)") }
    }
    let metadata = try SafetensorsFile(path: SafetensorsVectors.path("good/metadata-only")).header.metadata
    #expect(metadata == ["a": "", "b": "2"])
    #expect(try SafetensorsFile(path: SafetensorsVectors.path("good/unaligned")).tensor("b").floats() == [1.5])
  }

  @Test func `every element type of the reference is read`() throws {
    let file = try SafetensorsFile(path: SafetensorsVectors.path("good/all-dtypes"))
    #expect(Set(file.tensors.map(\.dtype)) == Set(DType.allCases))
    for info in file.tensors {
      #expect(info.name == "t." + info.dtype.rawValue && info.shape == [2, 2])
      #expect(try file.tensor(info.name).byteCount == info.dtype.bitWidth / 2)
    }
  }

  @Test func `torch's file is read`() throws {
    let file = try SafetensorsFile(path: SafetensorsVectors.path("good/python-torch"))
    #expect(file.info("model.embed_tokens.weight")?.shape == [8, 4])
    #expect(try file.tensor("model.embed_tokens.weight").floats().allSatisfy { abs($0) < 5 })
    #expect(try file.tensor("model.empty").elementCount == 0)
    #expect(try file.tensor("é").bytes == [1, 0])
  }

  @Test func `every refused file has an expected refusal, and none is expected in vain`() throws {
    #expect(Set(try SafetensorsVectors.names(in: "refused")) == Set(refusals.keys))
  }

  @Test(arguments: refusals.keys.sorted())
  func `a broken file is refused with place, tensor and problem`(_ name: String) throws {
    let expected = try #require(refusals[name])
    let path = SafetensorsVectors.path("refused/" + name)
    let error = try #require(throws: CheckpointError.self) { try SafetensorsFile(path: path) }
    guard case .malformed(let file, let offset, let tensor, let problem) = error else {
      Issue.record("\(error)")
      return
    }
    #expect(file == path)
    #expect(offset == expected.offset)
    #expect(tensor == expected.tensor)
    #expect(problem.hasPrefix(expected.problem), "\(problem)")
  }

  @Test func `the sentence of a refusal names file, tensor, place and both numbers`() throws {
    let bytes = try SafetensorsVectors.bytes("refused/size-too-small")
    let error = try #require(throws: CheckpointError.self) { try SafetensorsFile(bytes: bytes) }
    #expect(error.description == "x: tensor \"a\" at byte 9: I32 [2, 2] needs 16 bytes, data_offsets give 4")
  }

  @Test func `a header of exactly the largest length is read, one byte more is not`() throws {
    let count = SafetensorsHeader.largestByteCount
    var bytes = [UInt8](repeating: 0x20, count: 8 + count)
    bytes.replaceSubrange(0..<8, with: withUnsafeBytes(of: UInt64(count).littleEndian) { Array($0) })
    bytes.replaceSubrange(8..<10, with: "{}".utf8)
    #expect(try SafetensorsFile(bytes: bytes).tensors.isEmpty)
    bytes.replaceSubrange(0..<8, with: withUnsafeBytes(of: UInt64(count + 1).littleEndian) { Array($0) })
    #expect(throws: CheckpointError.self) { try SafetensorsFile(bytes: bytes + [0x20]) }
  }

  @Test func `a missing file and a folder are the system's errors`() throws {
    let missing = try #require(throws: CheckpointError.self) { try SafetensorsFile(path: "/nowhere/x.safetensors") }
    #expect(missing.description == "cannot open /nowhere/x.safetensors: No such file or directory")
    let folder = try #require(throws: CheckpointError.self) { try SafetensorsFile(path: "/") }
    #expect(folder.description == "cannot map /: Is a directory")
  }

  @Test(.enabled(if: SharedFolder.exists, "the shared folder is not beside the checkout"))
  func `all files of the shared folder are read`() throws {
    let root = try #require(SharedFolder.path)
    var count = 0
    for folder in ["golden", "models", "adapters", "facts/fixtures"] {
      let names = FileManager.default.enumerator(atPath: "\(root)/\(folder)")?.compactMap { $0 as? String } ?? []
      for name in names where name.hasSuffix(".safetensors") {
        let file = try SafetensorsFile(path: "\(root)/\(folder)/\(name)")
        for info in file.tensors { #expect(try file.tensor(info.name).byteCount == info.byteCount) }
        count += 1
      }
    }
    #expect(count >= 30)
  }
}
