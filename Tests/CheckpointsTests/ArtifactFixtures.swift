import Foundation
import StrictJSON
import Tensors
import TestSupport

@testable import Checkpoints

extension ScratchFolder {
  /// The path of a file in it.
  func file(_ name: String) -> String { path + "/" + name }
}

/// A plan with the tensors that belong to it.
struct SampleModel: Sendable {
  let plan: ArtifactPlan
  let tensors: [Tensor]

  /// A name, a type, a shape, a kind, and whether a group ends.
  typealias Row = (name: String, dtype: DType, shape: Shape, kind: Compression, endsGroup: Bool)

  static let members = [
    ArtifactPlan.Member(name: "tokenizer.json", bytes: Array(#"{"model": {"vocab": {"a": 0, "é": 1}}}"#.utf8)),
    ArtifactPlan.Member(name: "recipe.yaml", bytes: Array("scheme: W4A16\n".utf8)),
    ArtifactPlan.Member(name: "config.json", bytes: Array(#"{"model_type": "qwen2"}"#.utf8)),
    ArtifactPlan.Member(name: "empty.txt", bytes: []),
  ]

  init(
    _ rows: [Row], members: [ArtifactPlan.Member] = Self.members, seed: UInt64 = 1, tensors: [Tensor]? = nil
  ) {
    var generator = SeededGenerator(seed: seed)
    self.tensors =
      tensors
      ?? rows.map { row in
        Tensor(row.dtype, row.shape) { bytes in
          for index in bytes.indices {
            // Skewed like packed codes of a bell curve, so that entropy coding has something to do.
            let low = generator.next() & generator.next() & 0x77
            bytes[index] = UInt8(truncatingIfNeeded: low | generator.next() & 0x12)
          }
        }
      }
    plan = ArtifactPlan(
      members: members,
      tensors: rows.map { row in
        ArtifactPlan.PlannedTensor(
          TensorInfo(name: row.name, dtype: row.dtype, shape: row.shape), compression: row.kind,
          endsGroup: row.endsGroup)
      })
  }

  /// Less than a kilobyte of weights, every kind, an empty tensor in the middle and at the end.
  static let small = SampleModel([
    ("embed.weight", .bfloat16, [7, 3], .floats, true),
    ("layers.0.weight_packed", .int32, [5, 4], .codes, false),
    ("layers.0.nothing", .float32, [0, 8], .floats, false),
    ("layers.0.weight_scale", .bfloat16, [5, 1], .floats, false),
    ("layers.0.weight_shape", .int64, [2], .text, true),
    ("norm.weight", .uint8, [13], .stored, true),
    ("last", .float16, [0], .floats, true),
  ])

  /// About 20 MiB: tensors of many frames, tensors that share one, odd sizes, cuts on both sides of the rule.
  static let large = SampleModel([
    ("a.odd", .uint8, [5 << 20 | 12345], .codes, false),
    ("a.scale", .bfloat16, [4099], .floats, true),
    ("b.threeMiB", .uint8, [3 << 20], .codes, false),
    ("b.justBelow", .uint8, [3 << 20 - 1], .codes, false),
    ("b.one", .uint8, [1], .codes, false),
    ("b.twoMiB", .uint8, [2 << 20], .codes, true),
    ("c.first", .uint8, [1 << 20], .floats, false),
    ("c.second", .uint8, [1 << 20], .floats, false),
    ("c.third", .uint8, [7], .floats, false),
    ("c.text", .uint8, [1_234_567], .text, true),
    ("d.stored", .uint8, [4_000_001], .stored, true),
  ])

  /// Writes everything, with a checkpoint after each group.
  func write(to path: String, fingerprint: String = "test") throws -> ArtifactSummary {
    var writer = try ArtifactWriter(path: path, plan: plan, fingerprint: fingerprint)
    try write(into: &writer)
    return try writer.finish()
  }

  /// Writes what a writer does not have yet, up to the tensor of an index.
  func write<Writer: CheckpointWriter & ~Copyable>(into writer: inout Writer, until end: Int? = nil) throws {
    while writer.nextTensor < end ?? tensors.count {
      let index = writer.nextTensor
      try writer.write(tensors[index], named: plan.tensors[index].info.name)
      if plan.tensors[index].endsGroup { try writer.checkpoint(note: ["unit": .integer(index)]) }
    }
  }
}

/// The bytes of a file.
func contents(_ path: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(filePath: path))) }

/// Writes a file.
func save(_ bytes: [UInt8], _ path: String) throws { try Data(bytes).write(to: URL(filePath: path)) }

/// Runs a program that may be missing: its status and output, or `nil` when it is not installed.
func run(_ name: String, _ arguments: [String]) throws -> (status: Int32, output: [UInt8])? {
  guard let program = Tool.path(name) else { return nil }
  let process = Process()
  process.executableURL = URL(filePath: program)
  process.arguments = arguments
  let pipe = Pipe()
  process.standardOutput = pipe
  process.standardError = pipe
  try process.run()
  let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
  process.waitUntilExit()
  return (process.terminationStatus, Array(output))
}

/// Programs of the system that tests of interchange use where they are installed.
enum Tool {
  static func path(_ name: String) -> String? {
    ["/usr/bin/", "/bin/", "/usr/local/bin/"].map { $0 + name }.first {
      FileManager.default.isExecutableFile(atPath: $0)
    }
  }
}

/// An artifact from its parts, each of which a test may spoil.
struct Parts {
  var frames: [[UInt8]] = []
  var entries: [SeekTable.Entry] = []

  /// An artifact of a given archive, cut into frames of `cut` bytes.
  init(archive: [UInt8], cut: Int = 1 << 20) throws {
    for start in stride(from: 0, to: archive.count, by: cut) {
      try append(Array(archive[start..<min(start + cut, archive.count)]))
    }
  }

  /// Adds a frame of some content.
  mutating func append(_ content: [UInt8], _ compression: Compression = .text) throws {
    let frame = try content.withUnsafeBytes { try ZstdFrame.compress($0, compression) }
    append(frame: frame, contentSize: content.count)
  }

  /// Adds a frame as it stands.
  mutating func append(frame: [UInt8], contentSize: Int) {
    frames.append(frame)
    entries.append(
      SeekTable.Entry(
        compressedSize: UInt32(frame.count), contentSize: UInt32(contentSize),
        checksum: frame.littleEndianWord(at: frame.count - 4)))
  }

  /// The file, with a digest frame that is right.
  var bytes: [UInt8] {
    let frames = frames.flatMap { $0 }
    return frames + DigestFrame.bytes(SpanHasher.digest(frames)) + SeekTable(entries + [.digestFrame]).bytes
  }
}
