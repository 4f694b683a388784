import Foundation
import StrictJSON
import Tensors
import TestSupport
import Testing

@testable import Checkpoints

@Suite struct ArtifactHostileTests {
  private func open(_ bytes: [UInt8], _ path: String) throws(CheckpointError) {
    do { try save(bytes, path) } catch { Issue.record(error) }
    try Artifact(path: path).check()
  }

  private func member(_ name: String, _ content: [UInt8]) -> [UInt8] {
    TarWriter.header(name: name, byteCount: content.count) + content
      + [UInt8](repeating: 0, count: TarWriter.padding(after: content.count))
  }

  /// A frame of zeros in blocks of 128 KiB that take four bytes each.
  private func bomb(blocks: Int) -> [UInt8] {
    var frame: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0xA4]
    frame.append(littleEndian: UInt32(blocks << 17))
    for block in 1...blocks {
      let header = UInt32(1 << 17) << 3 | 2 | (block == blocks ? 1 : 0)
      frame += [UInt8(header & 0xFF), UInt8(header >> 8 & 0xFF), UInt8(header >> 16), 0]
    }
    let content = [UInt8](repeating: 0, count: blocks << 17)
    frame.append(littleEndian: UInt32(truncatingIfNeeded: content.withUnsafeBytes(XXHash64.hash)))
    return frame
  }

  @Test func `a frame that holds more than 4 MiB is refused before it is decoded`() throws {
    let scratch = try ScratchFolder()
    var parts = try Parts(archive: [])
    parts.append(frame: bomb(blocks: 32), contentSize: 32 << 17)
    // As large as is allowed: decoded, and found to be an empty archive.
    #expect(throws: CheckpointError.self) { try open(parts.bytes, scratch.file("a")) }
    parts = try Parts(archive: [])
    parts.append(frame: bomb(blocks: 33), contentSize: 33 << 17)
    do {
      try open(parts.bytes, scratch.file("a"))
      Issue.record("opened")
    } catch {
      #expect(error.description.contains("holds 4325376 bytes, not 1 to 4194304"))
    }
    // Declared as small, it does not fit.
    parts = try Parts(archive: [])
    parts.append(frame: bomb(blocks: 33), contentSize: 1024)
    #expect(throws: CheckpointError.self) { try open(parts.bytes, scratch.file("a")) }
  }

  @Test func `a file that claims more than it holds costs what its headers cost`() throws {
    let scratch = try ScratchFolder()
    // 64 MiB of zeros for weights in 2 KiB of file: their header's length is the first thing that is read of them.
    let size = 64 << 20
    var parts = try Parts(archive: TarWriter.header(name: "model.safetensors", byteCount: size))
    for _ in 0..<size >> 22 { parts.append(frame: bomb(blocks: 32), contentSize: 4 << 20) }
    try parts.append(member("digests.json", Array("{}".utf8)) + TarWriter.end)
    do {
      try open(parts.bytes, scratch.file("a"))
      Issue.record("opened")
    } catch {
      #expect(error.description.contains("model.safetensors"))
    }
  }

  @Test(arguments: [
    "[]", "{", "null", #"{"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 2]}}"#,
    #"{"w": {"dtype": "U9", "shape": [2], "data_offsets": [0, 2]}}"#,
    #"{"w": {"dtype": "U8", "shape": [-2], "data_offsets": [0, 2]}}"#,
    #"{"w": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]}}"#,
    #"{"w": {"dtype": "U8", "shape": [2], "data_offsets": [2, 0]}}"#,
    #"{"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}"#,
    #"{"w": {"dtype": "F64", "shape": [4294967296, 4294967296, 4294967296], "data_offsets": [0, 2]}}"#,
    #"{"w": {"dtype": "U8", "shape": [2], "data_offsets": [0, 99999999999999999999]}}"#,
    #"{"w": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}, "v": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}"#,
    #"{"w": {"dtype": "U8", "shape": 2, "data_offsets": [0, 2]}}"#, #"{"w": 1}"#,
  ])
  func `a weights header that lies is refused`(_ text: String) throws {
    let scratch = try ScratchFolder()
    var weights: [UInt8] = []
    weights.append(littleEndian: UInt64(text.utf8.count))
    weights += text.utf8 + [1, 2]
    let archive = member("model.safetensors", weights) + member("digests.json", Array("{}".utf8)) + TarWriter.end
    #expect(throws: CheckpointError.self) { try open(Parts(archive: archive).bytes, scratch.file("a")) }
  }

  @Test func `lengths of the weights header that do not fit are refused`() throws {
    let scratch = try ScratchFolder()
    for size: UInt64 in [3, 100_000_001, UInt64(Int.max), .max] {
      var weights: [UInt8] = []
      weights.append(littleEndian: size)
      let archive =
        member("model.safetensors", weights + Array("{}".utf8)) + member("digests.json", []) + TarWriter.end
      #expect(throws: CheckpointError.self) { try open(Parts(archive: archive).bytes, scratch.file("a")) }
    }
    let none = member("config.json", []) + member("digests.json", []) + TarWriter.end
    #expect(throws: CheckpointError.self) { try open(Parts(archive: none).bytes, scratch.file("a")) }
    let last = member("digests.json", []) + member("model.safetensors", []) + TarWriter.end
    #expect(throws: CheckpointError.self) { try open(Parts(archive: last).bytes, scratch.file("a")) }
  }

  @Test func `members may lie in any frames`() throws {
    let scratch = try ScratchFolder()
    _ = try SampleModel.small.write(to: scratch.file("good"))
    let store = try Artifact(path: scratch.file("good")).store
    let archive = try store.read(0..<store.byteCount)
    for cut in [1000, 511, 97] { try open(Parts(archive: archive, cut: cut).bytes, scratch.file("cut")) }
  }

  @Test(arguments: [UInt64(11), 12]) func `no mutation of a file makes the reader trap`(_ seed: UInt64) throws {
    let scratch = try ScratchFolder()
    _ = try SampleModel.small.write(to: scratch.file("good"))
    let good = try contents(scratch.file("good"))
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<3000 {
      let bytes = mutated(good, &generator)
      do { try open(bytes, scratch.file("bad")) } catch {
        #expect(!error.description.isEmpty)
        continue
      }
      #expect(bytes == good, "seed \(seed)")
    }
  }

  @Test(arguments: [UInt64(21), 22]) func `no mutation of the archive makes the reader trap`(_ seed: UInt64) throws {
    let scratch = try ScratchFolder()
    _ = try SampleModel.small.write(to: scratch.file("good"))
    let store = try Artifact(path: scratch.file("good")).store
    let good = try store.read(0..<store.byteCount)
    var generator = SeededGenerator(seed: seed)
    var refused = 0
    for _ in 0..<2000 {
      let bytes = mutated(good, &generator)
      guard !bytes.isEmpty else { continue }
      do {
        try open(Parts(archive: bytes, cut: 1 << Int.random(in: 8...14, using: &generator)).bytes, scratch.file("bad"))
      } catch { refused += 1 }
    }
    #expect(refused > 1500, "seed \(seed)")
  }

  private func mutated(_ good: [UInt8], _ generator: inout SeededGenerator) -> [UInt8] {
    var bytes = good
    for _ in 0..<Int.random(in: 1...4, using: &generator) where !bytes.isEmpty {
      let position = Int.random(in: bytes.indices, using: &generator)
      switch Int.random(in: 0..<6, using: &generator) {
      case 0: bytes[position] = UInt8.random(in: 0...255, using: &generator)
      case 1: bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
      case 2: bytes.removeSubrange(position..<min(position + Int.random(in: 1...64, using: &generator), bytes.count))
      case 3: bytes.insert(contentsOf: bytes[position..<min(position + 16, bytes.count)], at: position)
      case 4:
        for index in position..<min(position + 4, bytes.count) {
          bytes[index] = [0, 0xFF].randomElement(using: &generator) ?? 0
        }
      default: bytes.removeLast(Int.random(in: 1...min(32, bytes.count), using: &generator))
      }
    }
    return bytes
  }
}
