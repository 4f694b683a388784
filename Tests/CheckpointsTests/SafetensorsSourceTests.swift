import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

extension ScratchFolder {
  /// Writes a safetensors file of one-byte tensors that hold their positions.
  func writeShard(_ name: String, _ tensors: [String]) throws {
    try write(name, "")
    let infos = tensors.map { TensorInfo(name: $0, dtype: .uint8, shape: [1]) }
    var writer = try SafetensorsWriter(path: path + "/" + name, tensors: infos, metadata: ["format": "pt"])
    for (index, info) in infos.enumerated() {
      try writer.write(Tensor(.uint8, [1], bytes: [UInt8(index)]), named: info.name)
    }
    try writer.finish()
  }

  /// Writes an index from `tensor: shard` pairs.
  func writeIndex(
    _ places: KeyValuePairs<String, String>, totalSize: String = "3",
    named name: String = "model.safetensors.index.json"
  ) throws {
    let map = places.map { "\"\($0.key)\": \"\($0.value)\"" }.joined(separator: ",\n    ")
    try write(name, "{\n  \"metadata\": {\"total_size\": \(totalSize)},\n  \"weight_map\": {\n    \(map)\n  }\n}\n")
  }
}

@Suite struct SafetensorsSourceTests {
  private let one = "model-00001-of-00002.safetensors"
  private let two = "model-00002-of-00002.safetensors"

  /// Two shards with `a`, `b` and `c`, and their index.
  private func sharded() throws -> ScratchFolder {
    let folder = try ScratchFolder()
    try folder.writeShard(two, ["c"])
    try folder.writeShard(one, ["b", "a"])
    try folder.writeIndex(["a": one, "b": one, "c": two])
    return folder
  }

  private func refusal(_ folder: borrowing ScratchFolder) throws -> CheckpointError {
    let path = folder.path
    return try #require(throws: CheckpointError.self) { try SafetensorsSource(folder: path) }
  }

  private func indexError(_ folder: borrowing ScratchFolder, _ tensor: String?, _ problem: String) -> CheckpointError {
    .malformed(file: folder.path + "/model.safetensors.index.json", offset: nil, tensor: tensor, problem: problem)
  }

  @Test func `a single file is a source`() throws {
    let folder = try ScratchFolder()
    try folder.writeShard("model.safetensors", ["a", "b"])
    let source = try SafetensorsSource(folder: folder.path)
    #expect(source.tensors.map(\.name) == ["a", "b"] && source.byteCount == 2 && source.warnings.isEmpty)
    #expect(source.files.map(\.path) == [folder.path + "/model.safetensors"])
    #expect(throws: CheckpointError.missingTensor("z", file: source.files[0].path)) { try source.tensor("z") }
    try folder.writeIndex(["a": one])
    #expect(
      try SafetensorsSource(folder: folder.path).warnings
        == ["\(folder.path)/model.safetensors is read; model.safetensors.index.json beside it is not"])
  }

  @Test func `shards are read in the order of their names`() throws {
    let folder = try sharded()
    let source = try SafetensorsSource(folder: folder.path)
    #expect(source.tensors.map(\.name) == ["b", "a", "c"])
    #expect(try source.tensor("a").bytes == [1] && source.tensor("c").bytes == [0])
    #expect(source.info("c") == TensorInfo(name: "c", dtype: .uint8, shape: [1]) && source.info("d") == nil)
    #expect(source.warnings.isEmpty && source.byteCount == 3)
    #expect(throws: CheckpointError.missingTensor("d", file: folder.path)) { try source.tensor("d") }
    #expect(try SafetensorsSource(index: folder.path + "/model.safetensors.index.json").tensors == source.tensors)
  }

  @Test func `shards may lie in folders below`() throws {
    let folder = try ScratchFolder()
    try folder.writeShard("parts/x.safetensors", ["a"])
    try folder.writeIndex(["a": "parts/x.safetensors"], totalSize: "1")
    let source = try SafetensorsSource(folder: folder.path)
    #expect(source.tensors.count == 1 && source.warnings.isEmpty)
  }

  @Test func `a missing shard is named, with the index that wants it`() throws {
    let folder = try sharded()
    try FileManager.default.removeItem(atPath: folder.path + "/" + two)
    #expect(
      try refusal(folder)
        == .notFound(
          folder.path + "/" + two, reason: "\(folder.path)/model.safetensors.index.json names this shard"))
    try folder.link(two, to: "nowhere")
    #expect(try refusal(folder).description.hasSuffix("it is a symbolic link to a file that is not there"))
    try FileManager.default.removeItem(atPath: folder.path + "/" + two)
    try folder.write(two + "/x", "")
    #expect(try refusal(folder).description.hasSuffix("it is a folder, not a file"))
  }

  @Test func `a tensor that is listed but absent or elsewhere is refused`() throws {
    let folder = try sharded()
    try folder.writeIndex(["a": one, "c": two, "d": two])
    #expect(try refusal(folder) == indexError(folder, "d", "the index says it is in \(two), which does not hold it"))
    try folder.writeIndex(["a": two, "c": one])
    #expect(try refusal(folder) == indexError(folder, "a", "the index says it is in \(two), but \(one) holds it"))
  }

  @Test func `a tensor in two shards is refused`() throws {
    let folder = try sharded()
    try folder.writeShard(two, ["c", "a"])
    #expect(try refusal(folder) == indexError(folder, "a", "both \(one) and \(two) hold it"))
  }

  @Test func `a broken shard is refused by its own name`() throws {
    let folder = try sharded()
    try folder.write(two, try SafetensorsVectors.bytes("refused/cut-short"))
    #expect(try refusal(folder).description.hasPrefix("\(folder.path)/\(two) at byte 63: the file is cut short"))
  }

  @Test func `what the index does not name is a warning`() throws {
    let folder = try sharded()
    try folder.writeShard("consolidated.safetensors", ["z"])
    try folder.writeShard(two, ["c", "d", "e", "f", "g"])
    try folder.writeIndex(["a": one, "c": two], totalSize: "1000")
    let source = try SafetensorsSource(folder: folder.path)
    #expect(source.tensors.map(\.name) == ["a", "c"])
    #expect(source.info("d") == nil)
    let place = folder.path
    let unread = "the index does not name"
    #expect(
      source.warnings == [
        "\(place)/\(one): \(unread) 1 of its tensors, which are not read: \"b\"",
        "\(place)/\(two): \(unread) 4 of its tensors, which are not read: \"d\", \"e\", \"f\", …",
        "\(place)/model.safetensors.index.json: total_size is 1000, the tensors take 2 bytes",
        "\(place)/consolidated.safetensors is not named by the index and is not read",
      ])
  }

  @Test(arguments: [("3", false), ("3.0", false), ("4", true), ("\"3\"", true), ("null", true), ("-1e400", true)])
  func `a total size is compared, whatever it is`(_ spelling: String, _ warns: Bool) throws {
    let folder = try sharded()
    try folder.writeIndex(["a": one, "b": one, "c": two], totalSize: spelling)
    #expect(try SafetensorsSource(folder: folder.path).warnings.isEmpty != warns)
  }

  @Test(arguments: [
    ("../x.safetensors", "leaves the folder"), ("a/../../x.safetensors", "leaves the folder"),
    ("/etc/x.safetensors", "is absolute"), ("C:x.safetensors", "contains a backslash or a colon"),
    ("..\\\\x.safetensors", "contains a backslash or a colon"),
    ("\\\\\\\\host\\\\x.safetensors", "contains a backslash or a colon"),
    ("", "is empty"), ("a//x.safetensors", "has an empty part or a dot for a part"),
    ("./x.safetensors", "has an empty part or a dot for a part"), ("x\\u0000.safetensors", "contains a NUL byte"),
    ("pytorch_model.bin", "does not end in .safetensors"), ("x.SAFETENSORS", "does not end in .safetensors"),
  ])
  func `a shard name that could leave the folder is refused`(_ name: String, _ problem: String) throws {
    let folder = try sharded()
    try folder.writeIndex(["a": name])
    guard case .malformed(_, _, "a", let found) = try refusal(folder) else {
      Issue.record("another error")
      return
    }
    #expect(found.hasPrefix("the shard name \"") && found.hasSuffix(problem))
  }

  @Test(arguments: [
    ("", "the index is not valid JSON: the text ends where a value is expected"),
    ("[]", "the index is an array, an object is expected"),
    ("{\"weight_map\":{\"a\":\"x.safetensors\"}}", "metadata is missing"),
    ("{\"metadata\":1,\"weight_map\":{}}", "metadata is a number, an object is expected"),
    ("{\"metadata\":{}}", "weight_map is missing"),
    ("{\"metadata\":{},\"weight_map\":[]}", "weight_map is an array, an object is expected"),
    ("{\"metadata\":{},\"weight_map\":{}}", "weight_map is empty"),
    ("{\"metadata\":{},\"weight_map\":{\"a\":1}}", "the shard is a number, a file name is expected"),
    (
      "{\"metadata\":{},\"weight_map\":{\"a\":\"x.safetensors\",\"a\":\"y.safetensors\"}}",
      "the index is not valid JSON: the name \"a\" occurs twice in one object"
    ),
    (
      "{\"metadata\":{},\"weight_map\":{\"\\u00e9\":\"x.safetensors\",\"e\\u0301\":\"x.safetensors\"}}",
      "the name occurs twice, in different Unicode forms"
    ),
  ])
  func `a broken index is refused`(_ text: String, _ problem: String) throws {
    let folder = try sharded()
    try folder.write("model.safetensors.index.json", text)
    guard case .malformed(let file, _, _, let found) = try refusal(folder) else {
      Issue.record("another error")
      return
    }
    #expect(file == folder.path + "/model.safetensors.index.json" && found == problem)
  }

  @Test func `a folder without weights is not a source`() throws {
    let folder = try ScratchFolder()
    #expect(try refusal(folder).description.contains("neither model.safetensors nor model.safetensors.index.json"))
  }

  @Test func `a mutated index is read or refused, and never traps`() throws {
    let folder = try sharded()
    let path = folder.path + "/model.safetensors.index.json"
    let original = Array(try Data(contentsOf: URL(filePath: path)))
    var refused = 0
    for seed in 0..<1000 as Range<UInt64> {
      var generator = SeededGenerator(seed: seed)
      var bytes = original
      for _ in 0..<Int.random(in: 1...3, using: &generator) {
        let place = Int.random(in: 0..<bytes.count, using: &generator)
        if Bool.random(using: &generator) {
          bytes[place] = .random(in: 0...255, using: &generator)
        } else {
          bytes.remove(at: place)
        }
      }
      try folder.write("model.safetensors.index.json", bytes)
      do { _ = try SafetensorsSource(index: path) } catch { refused += 1 }
    }
    #expect(refused > 500)
  }

  @Test(.enabled(if: SharedFolder.exists, "the shared folder is not beside the checkout"))
  func `the sharded model of the shared folder is read`() throws {
    let path = try #require(SharedFolder.path) + "/golden/deepseek_v3-fp8"
    let source = try SafetensorsSource(folder: path)
    #expect(source.files.count == 2 && source.tensors.count == source.files.reduce(0) { $0 + $1.tensors.count })
    #expect(source.warnings == [path + "/logits.safetensors is not named by the index and is not read"])
  }
}
