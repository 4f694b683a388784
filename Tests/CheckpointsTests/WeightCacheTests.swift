import Foundation
import Kernels
import Tensors
import TestSupport
import Testing

@testable import Checkpoints

@Suite struct WeightCacheTests {
  private static let artifact = String(repeating: "0123456789abcdef", count: 4)

  /// Tensors in memory; the last of them may not be readable.
  private struct Source: WeightSource {
    var broken: String?
    private static let held: [(name: String, tensor: Tensor)] = [
      ("norm.weight", Tensor([5], floats: [1, 2, 3, 4, 5], as: .bfloat16)),
      ("big.weight", Tensor([300, 5000], floats: (0..<1_500_000).map { Float($0 % 1000) })),
    ]

    var tensors: [TensorInfo] {
      Self.held.map { TensorInfo(name: $0.name, dtype: $0.tensor.dtype, shape: $0.tensor.shape) }
    }

    func info(_ name: String) -> TensorInfo? { tensors.first { $0.name == name } }

    func tensor(_ name: String) throws(CheckpointError) -> Tensor {
      guard name != broken, let found = Self.held.first(where: { $0.name == name }) else {
        throw .missingTensor(name, file: "source")
      }
      return found.tensor
    }
  }

  private static let matrices: [(name: String, matrix: PackedMatrix)] = [
    (
      "up",
      PackedMatrix(
        .uint4, codes: (0..<50 * 64).map { UInt8($0 % 16) }, outFeatures: 50, inFeatures: 64, groupSize: 32,
        scales: (0..<100).map { Float($0) / 8 }, zeroPoints: (0..<100).map { Float($0 % 16) })
    ),
    (
      "down",
      PackedMatrix(
        .int8, codes: (0..<9 * 33).map { UInt8($0 % 256) }, outFeatures: 9, inFeatures: 30, groupSize: 33,
        scales: (0..<9).map { Float($0) + 0.1 },
        columns: ColumnGains((0..<33).map { Float($0) }, sources: [1, 2, 29]))
    ),
  ]

  @discardableResult
  private static func write(_ folder: String, _ source: Source = Source()) throws(CheckpointError) -> String? {
    try WeightCache.write(
      in: folder, artifact: artifact, matrices: matrices, tensors: source.tensors.map(\.name), of: source)
  }

  private static func open(_ folder: String) throws(CheckpointError) -> WeightCache? {
    try WeightCache.open(in: folder, artifact: artifact)
  }

  private static func bytes(_ matrix: PackedMatrix) -> [UInt8] {
    var bytes: [UInt8] = []
    matrix.withStoredParts { bytes += $0 }
    return bytes
  }

  @Test func `what is kept comes back, aligned, in a file that any reader of safetensors opens`() throws {
    let scratch = try ScratchFolder()
    #expect(try Self.open(scratch.path) == nil)
    let path = try #require(try Self.write(scratch.path))
    #expect(path == WeightCache.path(in: scratch.path, artifact: Self.artifact))
    #expect(try scratch.names == [path.split(separator: "/").last.map(String.init) ?? ""])
    let cache = try #require(try Self.open(scratch.path))
    #expect(Set(cache.matrices.keys) == ["up", "down"])
    let file = try SafetensorsFile(path: path)
    for (name, matrix) in Self.matrices {
      let read = try #require(cache.matrices[name])
      #expect(read.format == matrix.format && Self.bytes(read) == Self.bytes(matrix))
      #expect((file.header.dataOffset + (file.header[name]?.range.lowerBound ?? 1)) % 64 == 0)
    }
    #expect(cache.tensors == Source().tensors)
    for info in cache.tensors {
      let (read, expected) = (try #require(try cache.tensor(info.name)), try Source().tensor(info.name))
      #expect(read.withBytes { Array($0) } == expected.withBytes { Array($0) })
    }
    #expect(try cache.tensor("up") == nil && cache.tensor("other") == nil)
    let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
    #expect(mode == 0o600)
  }

  @Test func `the same artifact gives the same bytes, over whatever lay there`() throws {
    let one = try ScratchFolder()
    let two = try ScratchFolder()
    let path = try #require(try Self.write(one.path))
    let bytes = try Data(contentsOf: URL(filePath: path))
    #expect(bytes.count > WeightCache.blockBytes)
    let other = WeightCache.path(in: two.path, artifact: Self.artifact)
    try Data([1, 2, 3]).write(to: URL(filePath: other))
    try Data(repeating: 7, count: 9_000_000).write(to: URL(filePath: other + ".partial"))
    try Self.write(two.path)
    #expect(try Data(contentsOf: URL(filePath: other)) == bytes)
    #expect(try two.names.count == 1)
  }

  @Test func `a flipped bit anywhere, a cut file and a longer one are refused`() throws {
    let scratch = try ScratchFolder()
    let path = try #require(try Self.write(scratch.path))
    let bytes = try Data(contentsOf: URL(filePath: path))
    var generator = SeededGenerator(seed: 3)
    let ends = Array(0..<16) + (0..<24).map { bytes.count - 1 - $0 }
    let places =
      ends + (0..<100).map { _ in Int.random(in: 0..<2000, using: &generator) }
      + (0..<20).map { _ in Int.random(in: 0..<bytes.count, using: &generator) }
    for place in places {
      var damaged = bytes
      damaged[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
      try damaged.write(to: URL(filePath: path))
      #expect(throws: CheckpointError.self, "byte \(place)") { try Self.open(scratch.path) }
    }
    for count in [0, 1, 7, 8, 100, 5000, bytes.count / 2, bytes.count - 8, bytes.count - 1] {
      try bytes.prefix(count).write(to: URL(filePath: path))
      #expect(throws: CheckpointError.self, "\(count) bytes") { try Self.open(scratch.path) }
    }
    try (bytes + [0]).write(to: URL(filePath: path))
    #expect(throws: CheckpointError.self) { try Self.open(scratch.path) }
    try bytes.write(to: URL(filePath: path))
    #expect(try Self.open(scratch.path) != nil)
  }

  @Test func `a file of another artifact under this name is refused`() throws {
    let scratch = try ScratchFolder()
    let path = try #require(try Self.write(scratch.path))
    let other = String(Self.artifact.reversed())
    #expect(try WeightCache.open(in: scratch.path, artifact: other) == nil)
    try FileManager.default.moveItem(atPath: path, toPath: WeightCache.path(in: scratch.path, artifact: other))
    #expect {
      try WeightCache.open(in: scratch.path, artifact: other)
    } throws: { "\($0)".contains("it belongs to another artifact or version") }
  }

  @Test func `a file that others can have written is refused`() throws {
    let scratch = try ScratchFolder()
    let path = try #require(try Self.write(scratch.path))
    for mode in [0o602, 0o620] {
      try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
      #expect { try Self.open(scratch.path) } throws: { "\($0)".contains("others than the user") }
    }
  }

  @Test func `an error midway leaves nothing, and what was there stays`() throws {
    let scratch = try ScratchFolder()
    #expect(throws: CheckpointError.missingTensor("big.weight", file: "source")) {
      try Self.write(scratch.path, Source(broken: "big.weight"))
    }
    #expect(try scratch.names.isEmpty)
    try Self.write(scratch.path)
    #expect(throws: CheckpointError.self) { try Self.write(scratch.path, Source(broken: "norm.weight")) }
    #expect(try scratch.names.count == 1)
    #expect(try Self.open(scratch.path) != nil)
    #expect(throws: CheckpointError.self) { try Self.write(scratch.path + "/absent") }
  }

  @Test func `while one writes, others leave it alone, and a link is not followed`() throws {
    let scratch = try ScratchFolder()
    let partial = WeightCache.path(in: scratch.path, artifact: Self.artifact) + ".partial"
    do {
      let busy = try FileDescriptor(writing: partial, isNew: true)
      #expect(try Self.write(scratch.path) == nil)
      withExtendedLifetime(busy) {}
    }
    let victim = scratch.path + "/victim"
    try Data([1]).write(to: URL(filePath: victim))
    try FileManager.default.removeItem(atPath: partial)
    try FileManager.default.createSymbolicLink(atPath: partial, withDestinationPath: victim)
    #expect(throws: CheckpointError.self) { try Self.write(scratch.path) }
    #expect(try Data(contentsOf: URL(filePath: victim)) == Data([1]))
  }

  @Test func `many writers at once leave one whole file`() async throws {
    let scratch = try ScratchFolder()
    let path = scratch.path
    let expected = try ScratchFolder()
    let whole = try Data(contentsOf: URL(filePath: try #require(try Self.write(expected.path))))
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<8 {
        group.addTask {
          for _ in 0..<4 {
            do { try Self.write(path) } catch { Issue.record("\(error)") }
            do {
              // Whoever reads meanwhile sees nothing, or all.
              _ = try Self.open(path)
            } catch { Issue.record("\(error)") }
          }
        }
      }
    }
    #expect(try scratch.names.count == 1)
    #expect(try Data(contentsOf: URL(filePath: WeightCache.path(in: path, artifact: Self.artifact))) == whole)
  }
}
