import TestSupport
import Testing

@testable import Checkpoints

@Suite struct ArtifactZstdTests {
  private func noise(_ count: Int, seed: UInt64 = 3) -> [UInt8] {
    var generator = SeededGenerator(seed: seed)
    return (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
  }

  private func decoded(_ frame: [UInt8], count: Int) throws -> [UInt8] {
    var out = [UInt8](repeating: 0, count: count)
    try frame.withUnsafeBytes { frame in try out.withUnsafeMutableBytes { try ZstdFrame.decompress(frame, into: $0) } }
    return out
  }

  @Test func `the XXH64 of known texts is that of the specification`() {
    func hash(_ text: String) -> UInt64 { Array(text.utf8).withUnsafeBytes(XXHash64.hash) }
    #expect(hash("") == 0xEF46_DB37_51D8_E999)
    #expect(hash("a") == 0xD24E_C4F1_A98C_6E5B)
    #expect(hash("abc") == 0x44BC_2CF5_AD77_0999)
    // The checksum of zstd's frame of "hello" in facts/zstd.md §1.
    #expect(UInt32(truncatingIfNeeded: hash("hello")) == 0x889F_6DA3)
  }

  @Test func `libzstd accepts the checksum of stored frames of every length`() throws {
    for count in Array(1...300) + [65_535, 65_791, 65_792, 131_071, 131_072, 131_073, 400_000] {
      let content = noise(count)
      let frame = content.withUnsafeBytes(ZstdFrameHeader.storedFrame)
      #expect(frame.count <= ZstdFrame.bound(count))
      #expect(try decoded(frame, count: count) == content, "\(count) bytes")
    }
  }

  @Test(arguments: Compression.allCases) func `content comes back as it was`(_ kind: Compression) throws {
    for count in [1, 2, 13, 255, 256, 257, 4096, 200_001, 3 << 20 - 1] {
      var content = noise(count / 2)
      content += [UInt8](repeating: 7, count: count - content.count)
      let frame = try content.withUnsafeBytes { try ZstdFrame.compress($0, kind) }
      #expect(try decoded(frame, count: count) == content)
    }
  }

  @Test func `what saves less than three percent is stored`() throws {
    let content = noise(100_000)
    let frame = try content.withUnsafeBytes { try ZstdFrame.compress($0, .floats) }
    #expect(frame == content.withUnsafeBytes(ZstdFrameHeader.storedFrame))
    let skewed = content.map { $0 & 0x7F }
    let compressed = try skewed.withUnsafeBytes { try ZstdFrame.compress($0, .codes) }
    #expect(compressed.count < 90_000)
  }

  @Test func `flags that libzstd lets pass are refused`() throws {
    let content = noise(1000)
    let frame = content.withUnsafeBytes(ZstdFrameHeader.storedFrame)
    #expect(frame[4] == 0x64)
    // Bit 4 has no meaning, bit 3 is reserved, bits 1 and 0 name a dictionary, bit 2 is the checksum.
    for bit in 0..<5 {
      var changed = frame
      changed[4] ^= 1 << bit
      #expect(throws: ZstdError.descriptor(changed[4])) { try decoded(changed, count: 1000) }
    }
    let streamed: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x58, 0x29, 0, 0, 0x68, 0x65, 0x6C, 0x6C, 0x6F]
    #expect(throws: ZstdError.descriptor(0)) { try decoded(streamed, count: 5) }
  }

  @Test func `other magics, sizes, windows and trailing bytes are refused`() throws {
    let content = noise(1000)
    let frame = content.withUnsafeBytes(ZstdFrameHeader.storedFrame)
    var legacy = frame
    legacy[0] = 0x27
    #expect(throws: ZstdError.magic(0xFD2F_B527)) { try decoded(legacy, count: 1000) }
    let skippable: [UInt8] = [0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 1, 2, 3]
    #expect(throws: ZstdError.magic(0x184D_2A50)) { try decoded(skippable, count: 0) }
    #expect(throws: ZstdError.contentSize(expected: 999, found: 1000)) { try decoded(frame, count: 999) }
    #expect(throws: ZstdError.contentSize(expected: 1001, found: 1000)) { try decoded(frame, count: 1001) }
    #expect(throws: ZstdError.frameSize(expected: frame.count + 1, found: frame.count)) {
      try decoded(frame + [0], count: 1000)
    }
    #expect(throws: ZstdError.frameSize(expected: 2 * frame.count, found: frame.count)) {
      try decoded(frame + frame, count: 1000)
    }
    #expect(throws: ZstdError.header) { try decoded([], count: 0) }
    #expect(throws: ZstdError.header) { try decoded(Array(frame[..<6]), count: 1000) }
    // Window of 9 MiB.
    let wide: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0x84, 0x69, 5, 0, 0, 0, 0x29, 0, 0, 1, 2, 3, 4, 5, 0, 0, 0, 0]
    #expect(throws: ZstdError.header) { try decoded(wide, count: 5) }
  }

  @Test func `a checksum or block that is wrong is libzstd's to find`() throws {
    let frame = noise(1000).withUnsafeBytes(ZstdFrameHeader.storedFrame)
    for position in [20, frame.count - 1] {
      var changed = frame
      changed[position] ^= 0x40
      #expect(throws: ZstdError.library("Restored data doesn't match checksum")) { try decoded(changed, count: 1000) }
    }
    #expect(throws: ZstdError.library("Src size is incorrect")) {
      try decoded(Array(frame.dropLast()), count: 1000)
    }
  }
}
