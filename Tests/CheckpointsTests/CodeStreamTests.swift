import Foundation
import Kernels
import Quantization
import Synchronization
import Tensors
import TestSupport
import Testing

@testable import Checkpoints

/// Codes that go from frames into panels without being anywhere as a whole.
@Suite struct CodeStreamTests {
  private static let integers4 = WeightQuantization(.int(bits: 4), .perGroup(size: 128), isSymmetric: false)
  private static let integers8 = WeightQuantization(.int(bits: 8), .perChannel, isSymmetric: true)
  private static let floats8 = WeightQuantization(.float8E4M3, .perBlock(rows: 128, columns: 128), isSymmetric: true)

  /// An artifact of one linear `m`, whose codes take more than one frame.
  private static func artifact(
    _ quantization: WeightQuantization, _ rows: Int, _ columns: Int, in scratch: borrowing ScratchFolder,
    spoil: (inout [UInt8]) -> Void = { _ in }
  ) throws -> Artifact {
    var generator = SeededGenerator(seed: 3)
    let weights = Matrix(rows: rows, columns: columns, values: generator.normals(rows * columns))
    let tensor = RoundToNearest.quantized(weights, as: quantization, scaleType: .bfloat16)
    var codes = tensor.codes
    spoil(&codes)
    let spoilt = QuantizedTensor(
      quantization, outFeatures: rows, inFeatures: columns, codes: codes, scales: tensor.scales, scaleType: .bfloat16,
      zeroPoints: tensor.zeroPoints)
    let parts = CompressedTensorsLayout.encode(spoilt, linear: "m")
    let plan = ArtifactPlan(
      members: [.init(name: "config.json", bytes: Array("{}".utf8))],
      tensors: parts.map {
        .init(TensorInfo(name: $0.name, dtype: $0.tensor.dtype, shape: $0.tensor.shape), compression: .codes)
      })
    var writer = try ArtifactWriter(path: scratch.file("a"), plan: plan, fingerprint: "test")
    for part in parts { try writer.write(part.tensor, named: part.name) }
    _ = try writer.finish()
    return try Artifact(path: scratch.file("a"))
  }

  private static func stored(
    _ layout: StoredLayout, _ quantization: WeightQuantization, _ rows: Int, _ columns: Int, _ artifact: Artifact,
    streams: Bool
  ) throws -> StoredCodes {
    try LinearTensors(linear: "m", source: artifact, file: "a", streamsCodes: streams)
      .open(layout, quantization, outFeatures: rows, inFeatures: columns)
  }

  @Test(arguments: [
    (StoredLayout.packedIntegers, integers4, 1043, 8192), (.packedIntegers, integers8, 600, 8200),
    (.float8(scale: ".weight_scale"), floats8, 530, 8192), (.packedIntegers, integers4, 20, 136),
  ])
  func `frames give the panels that whole tensors give`(
    layout: StoredLayout, quantization: WeightQuantization, rows: Int, columns: Int
  ) throws {
    let scratch = try ScratchFolder()
    let artifact = try Self.artifact(quantization, rows, columns, in: scratch)
    let streamed = try Self.stored(layout, quantization, rows, columns, artifact, streams: true)
    guard case .streamed = streamed.source else {
      Issue.record("the codes were read at once")
      return
    }
    let whole = try Self.stored(layout, quantization, rows, columns, artifact, streams: false)
    let (found, wanted) = (try streamed.packed(), try whole.packed())
    #expect(found.kind == wanted.kind && found.byteCount == wanted.byteCount)
    #expect(found.dequantizedRows(0..<rows) == wanted.dequantizedRows(0..<rows))
    #expect(found.dequantizedRows(0..<rows) == whole.quantizedTensor().dequantized())
  }

  @Test func `a float8 code that is NaN is refused while it comes by`() throws {
    let scratch = try ScratchFolder()
    let artifact = try Self.artifact(Self.floats8, 530, 8192, in: scratch) { $0[3_333_333] = 0xFF }
    let codes = try Self.stored(.float8(scale: ".weight_scale"), Self.floats8, 530, 8192, artifact, streams: true)
    #expect(
      throws: CheckpointError.malformed(file: "a", offset: nil, tensor: "m.weight", problem: "a float8 code is NaN")
    ) { _ = try codes.packed() }
  }

  @Test func `a damaged frame is refused while it comes by`() throws {
    let scratch = try ScratchFolder()
    _ = try Self.artifact(Self.integers4, 1043, 8192, in: scratch)
    var bytes = try contents(scratch.file("a"))
    bytes[bytes.count / 2] ^= 4
    try save(bytes, scratch.file("b"))
    let codes = try Self.stored(
      .packedIntegers, Self.integers4, 1043, 8192, try Artifact(path: scratch.file("b")), streams: true)
    do {
      _ = try codes.packed()
      Issue.record("packed")
    } catch CheckpointError.corrupt(let file, let part, _) {
      #expect(file == scratch.file("b") && part.hasPrefix("frame "))
    }
  }

  @Test func `parts of a tensor make up the tensor`() throws {
    let scratch = try ScratchFolder()
    let artifact = try Self.artifact(Self.integers4, 1043, 8192, in: scratch)
    for info in artifact.tensors {
      let whole = try artifact.tensor(info.name).withBytes { Array($0) }
      let found = Mutex([Int: [UInt8]]())
      try artifact.forEachPart(of: info.name) { offset, bytes in found.withLock { $0[offset] = Array(bytes) } }
      let parts = found.withLock { $0 }.sorted { $0.key < $1.key }
      #expect(parts.flatMap(\.value) == whole)
      #expect(parts.allSatisfy { $0.key % 4 == 0 })
    }
  }
}
