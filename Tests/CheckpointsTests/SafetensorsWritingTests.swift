import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

@Suite struct SafetensorsWritingTests {
  /// Writes all tensors of a source, in the given order.
  private func copy(
    _ source: some WeightSource, _ order: [TensorInfo], metadata: [String: String], to path: String
  ) throws {
    var writer = try SafetensorsWriter(path: path, tensors: order, metadata: metadata)
    for info in order { try writer.write(try source.tensor(info.name), named: info.name) }
    try writer.finish()
  }

  @Test(arguments: ["worked-example", "all-dtypes", "python-torch", "python-no-tensors"])
  func `Python's bytes come out again`(_ name: String) throws {
    let folder = try ScratchFolder()
    let file = try SafetensorsFile(path: SafetensorsVectors.path("good/" + name))
    let order = SafetensorsHeader.inReferenceOrder(file.tensors.shuffled())
    let path = folder.path + "/out.safetensors"
    try copy(file, order, metadata: file.header.metadata, to: path)
    #expect(try Data(contentsOf: URL(filePath: path)) == Data(try SafetensorsVectors.bytes("good/" + name)))
    #expect(try folder.names == ["out.safetensors"])
  }

  @Test func `the header is deterministic, compact, sorted and padded`() throws {
    let tensors = [
      TensorInfo(name: "b", dtype: .uint8, shape: [3]), TensorInfo(name: "a\"\n", dtype: .float32, shape: [2, 1]),
    ]
    let header = try SafetensorsHeader(tensors: tensors, metadata: ["format": "pt", "Z": "é", "a": ""])
    let text =
      #"{"__metadata__":{"Z":"é","a":"","format":"pt"},"b":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"#
      + #""a\"\n":{"dtype":"F32","shape":[2,1],"data_offsets":[3,11]}}"#
    #expect(header.encoded.count % 8 == 0)
    #expect(Int(header.encoded[0]) + 8 == header.encoded.count)
    let padding = String(repeating: " ", count: (8 - text.utf8.count % 8) % 8)
    #expect(String(decoding: header.encoded.dropFirst(8), as: UTF8.self) == text + padding)
    #expect(header.dataOffset == header.encoded.count && header.dataByteCount == 11)
    #expect(header == (try SafetensorsFile(bytes: header.encoded + [UInt8](repeating: 0, count: 11)).header))
  }

  @Test func `a header that no reader would take is not made`() throws {
    func problem(_ tensors: [TensorInfo], _ metadata: [String: String] = [:]) throws -> String {
      try #require(throws: CheckpointError.self) {
        try SafetensorsHeader(tensors: tensors, metadata: metadata)
      }.description
    }
    let one = TensorInfo(name: "a", dtype: .uint8, shape: [1])
    #expect(try problem([one, one]) == "safetensors file: tensor \"a\": the name is given twice")
    #expect(try problem([TensorInfo(name: "__metadata__", dtype: .uint8, shape: [1])]).hasSuffix("may have this name"))
    let half = TensorInfo(name: "f", dtype: .float4, shape: [3])
    #expect(try problem([half]).contains("F4 [3] does not take a whole number"))
    #expect(try problem([TensorInfo(name: "n", dtype: .uint8, shape: [-1])]).contains("U8 [-1]"))
    let large = TensorInfo(name: "b", dtype: .uint8, shape: [1 << 59])
    let many = (0..<16).map { TensorInfo(name: "\($0)", dtype: .uint8, shape: large.shape) }
    #expect(try problem(many).contains("63 bits"))
    let text = String(repeating: "x", count: SafetensorsHeader.largestByteCount + 1)
    #expect(try problem([], ["x": text]).contains("at most 100000000 are allowed"))
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func `random tensors come back as they were written`(_ seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let folder = try ScratchFolder()
    var tensors: [(TensorInfo, Tensor)] = []
    for index in 0..<40 {
      let dtype = DType.allCases.randomElement(using: &generator) ?? .uint8
      let rank = Int.random(in: 0...3, using: &generator)
      // The last extent is a multiple of 4, so that types of 4 and 6 bits fit.
      var extents = (0..<rank).map { _ in Int.random(in: 0...5, using: &generator) }
      if rank > 0 { extents[rank - 1] *= 4 } else if dtype.bitWidth < 8 { extents = [4] }
      let info = TensorInfo(name: "t\(index).é/\"", dtype: dtype, shape: Shape(extents))
      let bytes = (0..<info.byteCount).map { _ in UInt8.random(in: 0...255, using: &generator) }
      tensors.append((info, Tensor(dtype, info.shape, bytes: bytes)))
    }
    let path = folder.path + "/random.safetensors"
    var writer = try SafetensorsWriter(path: path, tensors: tensors.map(\.0), metadata: ["seed": "\(seed)"])
    for (info, tensor) in tensors { try writer.write(tensor, named: info.name) }
    try writer.finish()
    let file = try SafetensorsFile(path: path)
    #expect(file.header.metadata == ["seed": "\(seed)"])
    for (info, tensor) in tensors {
      #expect(file.info(info.name) == info, "seed \(seed)")
      #expect(try file.tensor(info.name).bytes == tensor.bytes, "seed \(seed)")
    }
  }

  @Test func `tensors out of order, of other shapes, too many or too few are refused`() throws {
    let folder = try ScratchFolder()
    let path = folder.path + "/m.safetensors"
    let infos = [TensorInfo(name: "a", dtype: .uint8, shape: [2]), TensorInfo(name: "b", dtype: .uint8, shape: [1])]
    let two = Tensor(.uint8, [2], bytes: [1, 2])
    func refused(_ body: (inout SafetensorsWriter) throws(CheckpointError) -> Void) throws -> CheckpointError {
      var writer = try SafetensorsWriter(path: path, tensors: infos)
      do { try body(&writer) } catch { return error }
      do { try writer.finish() } catch { return error }
      throw CheckpointError.notFound("error", reason: "nothing was refused")
    }
    #expect(
      try refused { writer throws(CheckpointError) in try writer.write(two, named: "b") }
        == .malformed(file: path, offset: nil, tensor: "b", problem: "\"a\" is next in the list"))
    #expect(
      try refused { writer throws(CheckpointError) in try writer.write(Tensor(.int8, [2], bytes: [1, 2]), named: "a") }
        == .malformed(file: path, offset: nil, tensor: "a", problem: "I8 [2] is given, U8 [2] was announced"))
    #expect(
      try refused { writer throws(CheckpointError) in try writer.write(two, named: "a") }
        == .missingTensor("b", file: path))
    #expect(
      try refused { writer throws(CheckpointError) in
        try writer.write(two, named: "a")
        try writer.write(two.rows(0..<1), named: "b")
        try writer.write(two, named: "c")
      } == .malformed(file: path, offset: nil, tensor: "c", problem: "U8 [2] comes after the last tensor of the list"))
    #expect(try folder.names.isEmpty)
  }

  @Test func `a writer that is given up leaves the old file and no partial one`() throws {
    let folder = try ScratchFolder()
    let path = try folder.write("m.safetensors", "old")
    try folder.write("m.safetensors.partial", "left by a killed run")
    do {
      var writer = try SafetensorsWriter(path: path, tensors: [TensorInfo(name: "a", dtype: .uint8, shape: [1])])
      try writer.write(Tensor(.uint8, [1], bytes: [1]), named: "a")
      #expect(try folder.names == ["m.safetensors", "m.safetensors.partial"])
    }
    #expect(try folder.names == ["m.safetensors"])
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "old")
  }

  @Test func `a mapped file keeps its content while another takes its name`() throws {
    let folder = try ScratchFolder()
    let path = try folder.write("m.safetensors", try SafetensorsVectors.bytes("good/worked-example"))
    let old = try SafetensorsFile(path: path)
    try copy(old, Array(old.tensors.prefix(1)), metadata: [:], to: path)
    #expect(try old.tensor("z.u8").bytes == [7])
    #expect(try SafetensorsFile(path: path).tensors.count == 1)
  }

  @Test func `a link in place of the partial file is replaced, not followed`() throws {
    let folder = try ScratchFolder()
    let target = try folder.write("precious", "text")
    try folder.link("m.safetensors.partial", to: target)
    try SafetensorsWriter(path: folder.path + "/m.safetensors", tensors: []).finish()
    #expect(try String(contentsOfFile: target, encoding: .utf8) == "text")
    #expect(try folder.names == ["m.safetensors", "precious"])
  }

  @Test func `a place that cannot be written is the system's error`() throws {
    let folder = try ScratchFolder()
    func code(_ name: String) throws -> (Int32, String)? {
      do {
        try SafetensorsWriter(path: folder.path + "/" + name, tensors: []).finish()
        return nil
      } catch CheckpointError.file(let error) {
        return (error.code, error.operation)
      }
    }
    #expect(try #require(try code("missing/m.safetensors")) == (ENOENT, "create"))
    try folder.write("folder.safetensors/x", "")
    #expect(try #require(try code("folder.safetensors")) == (EISDIR, "rename to"))
    try folder.write("busy.safetensors.partial/x", "")
    #expect(try #require(try code("busy.safetensors")) == (EEXIST, "create"))
    #expect(try folder.names == ["busy.safetensors.partial", "folder.safetensors"])
  }

  @Test func `a full disk is reported as such, and the partial file goes`() async {
    await #expect(processExitsWith: .success) {
      // The limit on file sizes stands in for the full disk; it holds for this child process only.
      signal(SIGXFSZ, SIG_IGN)
      var limit = rlimit()
      try #require(getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0)
      limit.rlim_cur = 65_536
      try #require(setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0)
      let folder = try ScratchFolder()
      let info = TensorInfo(name: "a", dtype: .uint8, shape: [100_000])
      let tensor = Tensor(.uint8, info.shape, bytes: [UInt8](repeating: 1, count: 100_000))
      var error: CheckpointError?
      do {
        var writer = try SafetensorsWriter(path: folder.path + "/m.safetensors", tensors: [info])
        do throws(CheckpointError) { try writer.write(tensor, named: "a") } catch let caught { error = caught }
      }
      guard case .file(let cause) = error else { exit(2) }
      guard cause.isOutOfSpace, cause.operation == "write" else { exit(3) }
      guard cause.path.hasSuffix("/m.safetensors.partial") else { exit(5) }
      guard try folder.names.isEmpty else { exit(4) }
    }
  }
}
