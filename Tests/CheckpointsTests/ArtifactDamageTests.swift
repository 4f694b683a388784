import Foundation
import Tensors
import TestSupport
import Testing

@testable import Checkpoints

@Suite struct ArtifactDamageTests {
  private func check(_ bytes: [UInt8], _ path: String) throws(CheckpointError) {
    do { try save(bytes, path) } catch { Issue.record(error) }
    try Artifact(path: path).check()
  }

  /// The whole archive of an artifact.
  private func archive(_ path: String) throws -> [UInt8] {
    let store = try Artifact(path: path).store
    return try store.read(0..<store.byteCount)
  }

  @Test func `every bit of the file matters`() throws {
    let scratch = try ScratchFolder()
    _ = try SampleModel.small.write(to: scratch.file("good"))
    let good = try contents(scratch.file("good"))
    #expect(good.count > 1000)
    try save(good, scratch.file("bad"))
    let file = try FileDescriptor(writing: scratch.file("bad"), isNew: false)
    for position in good.indices {
      for bit in 0..<8 {
        try file.write([good[position] ^ 1 << bit], at: position)
        #expect(throws: CheckpointError.self, "bit \(bit) of byte \(position)") {
          try Artifact(path: scratch.file("bad")).check()
        }
      }
      try file.write([good[position]], at: position)
    }
    try Artifact(path: scratch.file("bad")).check()
  }

  @Test func `every byte of a larger file matters, as do its end and beginning`() throws {
    let scratch = try ScratchFolder()
    let model = SampleModel([("w", .uint8, [40_000], .codes, true), ("v", .uint8, [40_000], .stored, true)])
    _ = try model.write(to: scratch.file("good"))
    let good = try contents(scratch.file("good"))
    var generator = SeededGenerator(seed: 5)
    for position in stride(from: 0, to: good.count, by: 61) {
      var bytes = good
      bytes[position] ^= UInt8.random(in: 1...255, using: &generator)
      #expect(throws: CheckpointError.self, "byte \(position)") { try check(bytes, scratch.file("bad")) }
    }
    for count in [0, 1, 8, 9, 16, 17, 30, good.count / 2, good.count - 9, good.count - 1] {
      #expect(throws: CheckpointError.self) { try check(Array(good.prefix(count)), scratch.file("bad")) }
      #expect(throws: CheckpointError.self) { try check(Array(good.suffix(count)), scratch.file("bad")) }
    }
    #expect(throws: CheckpointError.self) { try check(good + [0], scratch.file("bad")) }
    #expect(throws: CheckpointError.self) { try check([0] + good, scratch.file("bad")) }
    #expect(throws: CheckpointError.self) { try check(good + good, scratch.file("bad")) }
  }

  @Test func `bytes of the archive matter although every frame and digest frame is right`() throws {
    let scratch = try ScratchFolder()
    _ = try SampleModel.small.write(to: scratch.file("good"))
    let good = try archive(scratch.file("good"))
    try check(Parts(archive: good).bytes, scratch.file("same"))
    let members = try Artifact(path: scratch.file("good"))
    let digests = try #require(members.memberRanges.last)
    for position in good.indices {
      // Header fields that say nothing of the content may differ: mode, owner, time, device. Their sum is then wrong.
      var bytes = good
      bytes[position] ^= 0x04
      // In digests.json, spaces between values are free by JSON's own rules.
      if digests.contains(position) && [0x20, 0x0A].contains(good[position]) { continue }
      #expect(throws: CheckpointError.self, "archive byte \(position)") {
        try check(Parts(archive: bytes).bytes, scratch.file("bad"))
      }
    }
  }

  @Test func `a tensor is not handed out when its frame is damaged`() throws {
    let scratch = try ScratchFolder()
    _ = try SampleModel.large.write(to: scratch.file("a"))
    var bytes = try contents(scratch.file("a"))
    let artifact = try Artifact(path: scratch.file("a"))
    let before = artifact.store.entries.prefix { $0.contentSize < 2 << 20 }.reduce(0) { $0 + Int($1.compressedSize) }
    bytes[before + 1_000_000] ^= 1
    try save(bytes, scratch.file("b"))
    let damaged = try Artifact(path: scratch.file("b"))
    #expect(throws: CheckpointError.self) { try damaged.tensor("a.odd") }
    _ = try damaged.tensor("a.scale")
  }

  @Test func `a bit of the seek table never passes for another`() throws {
    let scratch = try ScratchFolder()
    _ = try SampleModel.small.write(to: scratch.file("a"))
    let file = try FileDescriptor(reading: scratch.file("a"))
    let table = try SeekTable(of: file)
    #expect(table.bytes == Array(try contents(scratch.file("a")).suffix(table.bytes.count)))
    #expect(table.entries.last == .digestFrame)
  }

  /// What facts/zstd.md §9 lists, and what the reference reader lets pass.
  @Test func `seek tables that are not well-formed are refused`() throws {
    let scratch = try ScratchFolder()
    _ = try SampleModel.small.write(to: scratch.file("good"))
    let good = try contents(scratch.file("good"))
    let frames = try SeekTable(of: FileDescriptor(reading: scratch.file("good"))).entries
    let body = Array(good.dropLast(SeekTable.byteCount(frames: frames.count)))
    func refused(_ table: [UInt8], _ what: String) {
      #expect(throws: CheckpointError.self, "\(what)") { try check(body + table, scratch.file("bad")) }
    }
    func edited(_ what: String, _ edit: (inout [SeekTable.Entry]) -> Void) {
      var entries = frames
      edit(&entries)
      refused(SeekTable(entries).bytes, what)
    }
    try check(body + SeekTable(frames).bytes, scratch.file("same"))
    edited("a sum that is not the table's offset") { $0[0].compressedSize += 1 }
    edited("two sizes that are wrong but whose sum is right") {
      $0[0].compressedSize += 1
      $0[1].compressedSize -= 1
    }
    edited("a content size that is wrong") { $0[1].contentSize += 1 }
    edited("two content sizes that are wrong but whose sum is right") {
      $0[1].contentSize += 1
      $0[2].contentSize -= 1
    }
    edited("a checksum that is wrong") { $0[1].checksum ^= 1 }
    edited("no digest frame") { $0.removeLast() }
    edited("a digest frame in the middle") { $0.insert(.digestFrame, at: 0) }
    edited("a content frame that is empty") { $0[0].contentSize = 0 }
    edited("more than 4 MiB") { $0[0].contentSize = 4 << 20 | 1 }
    edited("more than zstd can hold") { $0[0].compressedSize = 4 }
    edited("frames that are missing") { $0.removeFirst() }
    edited("no frames") { $0 = [] }
    for count: UInt32 in [0, 1, 0x2000_0000, 0x1555_5555, 0x800_0001, .max] {
      var table = SeekTable(frames).bytes
      withUnsafeBytes(of: count.littleEndian) { table.replaceSubrange(table.count - 9..<table.count - 5, with: $0) }
      refused(table, "\(count) frames")
    }
    for descriptor: UInt8 in [0, 0x81, 0x82, 0x84, 0xC0, 0xFF] {
      var table = SeekTable(frames).bytes
      table[table.count - 5] = descriptor
      refused(table, "descriptor \(descriptor)")
    }
    var short = SeekTable(frames).bytes
    short[4] -= 12
    refused(short, "a size that is not that of its entries")
    refused([], "none")
  }

  @Test func `a digest frame with another magic, size or digest is refused`() throws {
    let scratch = try ScratchFolder()
    _ = try SampleModel.small.write(to: scratch.file("good"))
    let good = try contents(scratch.file("good"))
    let store = try Artifact(path: scratch.file("good")).store
    for offset in [0, 4, 8, 39] {
      var bytes = good
      bytes[store.fileEnd + offset] ^= 1
      #expect(throws: CheckpointError.self) { try check(bytes, scratch.file("bad")) }
    }
  }

  @Test func `digests that name other members or tensors are refused`() throws {
    let scratch = try ScratchFolder()
    _ = try SampleModel.small.write(to: scratch.file("good"))
    let artifact = try Artifact(path: scratch.file("good"))
    let good = try archive(scratch.file("good"))
    let digests = try Digests(parsing: artifact.member("digests.json"), path: "test")
    let start = try #require(artifact.memberRanges.last).lowerBound - 512
    func repacked(_ digests: [UInt8]) -> [UInt8] {
      good[..<start] + TarWriter.header(name: "digests.json", byteCount: digests.count) + digests
        + [UInt8](repeating: 0, count: TarWriter.padding(after: digests.count)) + TarWriter.end
    }
    try check(Parts(archive: repacked(digests.bytes)).bytes, scratch.file("same"))
    let edits: [(inout Digests) -> Void] = [
      { $0.members.removeLast() }, { $0.members.removeFirst() }, { $0.tensors.removeLast() },
      { $0.members.append(.init(name: "x", sha256: $0.members[0].sha256)) }, { $0.tensors.swapAt(0, 1) },
      { $0.tensors[0] = .init(name: "x", sha256: $0.tensors[0].sha256) },
      { $0.tensors[0] = .init(name: $0.tensors[0].name, sha256: $0.tensors[1].sha256) }, { $0.members.swapAt(0, 1) },
    ]
    for (index, edit) in edits.enumerated() {
      var spoiled = digests
      edit(&spoiled)
      #expect(throws: CheckpointError.self, "edit \(index)") {
        try check(Parts(archive: repacked(spoiled.bytes)).bytes, scratch.file("bad"))
      }
    }
    for text in ["", "{}", "[]", #"{"version": 2}"#, #"{"version": 1, "algorithm": "md5"}"#] {
      #expect(throws: CheckpointError.self) {
        try check(Parts(archive: repacked(Array(text.utf8))).bytes, scratch.file("bad"))
      }
    }
  }
}
