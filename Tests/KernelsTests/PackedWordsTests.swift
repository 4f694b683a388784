import Tensors
import TestSupport
import Testing

@testable import Kernels

@Suite struct PackedWordsTests {
  /// Little-endian words of codes, the first of each in the lowest bits.
  private static func words(_ codes: [UInt8], _ kind: PackedMatrix.Kind) -> [UInt8] {
    guard kind == .uint4 else { return codes }
    return stride(from: 0, to: codes.count, by: 2).map { codes[$0] | codes[$0 + 1] << 4 }
  }

  @Test(arguments: [
    (PackedMatrix.Kind.uint4, 16, 128, UInt32(0)), (.uint4, 33, 264, 0), (.uint4, 5, 8, 0x8888_8888),
    (.int8, 48, 64, 0),
    (.int8, 31, 100, 0x8080_8080), (.float8E4M3, 32, 128, 0), (.float8E4M3, 17, 36, 0),
  ])
  func `words give the panels that single codes give, in whatever parts they come`(
    kind: PackedMatrix.Kind, rows: Int, columns: Int, flip: UInt32
  ) throws {
    let wanted = QuantizedCase(kind, rows, columns, groupSize: 32, hasZeroPoints: kind == .uint4)
    let (scales, zeroPoints) = (wanted.scales, wanted.zeroPoints)
    let groups = (columns + 31) / 32
    let bytes = Self.words(wanted.codes, kind).enumerated().map {
      $1 ^ UInt8(truncatingIfNeeded: flip >> (8 * ($0 % 4)))
    }
    var generator = SeededGenerator(seed: 1)
    for _ in 0..<8 {
      var cuts = [0, bytes.count / 4]
      for _ in 0..<Int.random(in: 0...5, using: &generator) {
        cuts.append(Int.random(in: 0...bytes.count / 4, using: &generator))
      }
      cuts.sort()
      let parts = zip(cuts, cuts.dropFirst()).shuffled(using: &generator)
      let found = PackedMatrix(
        kind, outFeatures: rows, inFeatures: columns, groupSize: 32, hasZeroPoints: kind == .uint4, flip: flip
      ) { range, places, zeros in
        for index in 0..<range.count * groups {
          places[index] = scales[range.lowerBound * groups + index]
          zeros?[index] = zeroPoints?[range.lowerBound * groups + index] ?? 0
        }
      } words: { writer in
        Parallel.forEach(parts.count) { part in
          // Of any alignment, as frames leave them.
          let shifted = [0] + bytes[4 * parts[part].0..<4 * parts[part].1]
          shifted.withUnsafeBytes { writer.write(UnsafeRawBufferPointer(rebasing: $0[1...]), at: parts[part].0) }
        }
      }
      #expect(found.storage.bytes.elementsEqual(wanted.packed.storage.bytes))
      #expect(found.dequantizedRows(0..<rows) == wanted.packed.dequantizedRows(0..<rows))
    }
  }

  @Test func `rows that end within a word are packed code by code`() {
    #expect(!PackedMatrix.hasWholeWords(.uint4, inFeatures: 36))
    #expect(PackedMatrix.hasWholeWords(.uint4, inFeatures: 40))
    #expect(!PackedMatrix.hasWholeWords(.int8, inFeatures: 42))
    #expect(!PackedMatrix.hasWholeWords(.float8E4M3, inFeatures: 0))
  }

  @Test func `a NaN among float8 codes is found wherever it is`() {
    for (count, place, code) in [(1, 0, 0x7F), (16, 15, 0xFF), (40, 38, 0x7F), (64, 20, 0xFF)] as [(Int, Int, UInt8)] {
      var codes = [UInt8](repeating: 0x7E, count: count)
      #expect(!codes.withUnsafeBytes(PackedMatrix.hasNaN))
      codes[place] = code
      #expect(codes.withUnsafeBytes(PackedMatrix.hasNaN))
    }
  }
}
