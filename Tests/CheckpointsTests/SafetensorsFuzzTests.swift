import Checkpoints
import Tensors
import TestSupport
import Testing

@Suite struct SafetensorsFuzzTests {
  /// Bytes that mean something to JSON, or to the length.
  private static let meaningful = Array("{}[]\",:0123456789-.eE\\u \nFUBItruenl".utf8) + [0, 0x7F, 0x80, 0xC3, 0xFF]

  @Test(arguments: ["worked-example", "all-dtypes", "empty-tensors", "python-torch"])
  func `a mutated file is read or refused, and never traps`(_ name: String) throws {
    let original = try SafetensorsVectors.bytes("good/" + name)
    var (taken, refused) = (0, 0)
    for seed in 0..<10_000 as Range<UInt64> {
      var generator = SeededGenerator(seed: seed)
      let bytes = Self.mutated(original, &generator)
      do {
        let file = try SafetensorsFile(bytes: bytes)
        for info in file.tensors {
          let tensor = try file.tensor(info.name)
          #expect(tensor.byteCount == info.byteCount && tensor.bytes.count == info.byteCount, "seed \(seed)")
        }
        let end = file.header.dataOffset + file.header.dataByteCount
        #expect(end == bytes.count, "seed \(seed)")
        taken += 1
      } catch {
        guard case .malformed(_, let offset?, _, _) = error else {
          Issue.record("seed \(seed): \(error)")
          continue
        }
        #expect((0...bytes.count).contains(offset), "seed \(seed): \(error)")
        refused += 1
      }
    }
    #expect(taken > 50 && refused > 5_000, "\(taken) taken, \(refused) refused")
  }

  /// One to four edits; in half of the cases the length is then made to fit the header again.
  private static func mutated(_ original: [UInt8], _ generator: inout SeededGenerator) -> [UInt8] {
    var bytes = original
    var headerEnd = 8 + Int(original[0]) + Int(original[1]) << 8
    let repairsLength = Bool.random(using: &generator)
    for _ in 0..<Int.random(in: 1...4, using: &generator) where bytes.count > 9 {
      let low = repairsLength ? 8 : 0
      let place = Int.random(in: low..<bytes.count, using: &generator)
      let byte = meaningful.randomElement(using: &generator) ?? 0
      switch Int.random(in: 0..<6, using: &generator) {
      case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
      case 1: bytes[place] = byte
      case 2:
        bytes.insert(byte, at: place)
        if place < headerEnd { headerEnd += 1 }
      case 3:
        bytes.remove(at: place)
        if place < headerEnd { headerEnd -= 1 }
      case 4:
        let other = Int.random(in: low..<bytes.count, using: &generator)
        bytes.swapAt(place, other)
      default:
        let digits = bytes[..<min(headerEnd, bytes.count)].indices.filter { (0x30...0x39).contains(bytes[$0]) }
        if let digit = digits.randomElement(using: &generator) {
          bytes[digit] = 0x30 + UInt8.random(in: 0..<10, using: &generator)
        }
      }
    }
    if repairsLength, headerEnd >= 8, headerEnd <= bytes.count {
      bytes.replaceSubrange(0..<8, with: withUnsafeBytes(of: UInt64(headerEnd - 8).littleEndian) { Array($0) })
    }
    return bytes
  }
}
