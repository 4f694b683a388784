import Foundation
import Tensors
import TestSupport
import Testing

@testable import Kernels

@Suite struct StoredMatrixTests {
  private static func stored(_ matrix: PackedMatrix) -> [UInt8] {
    var bytes: [UInt8] = []
    matrix.withStoredParts { bytes += $0 }
    return bytes
  }

  private static func storage(_ bytes: [UInt8]) -> TensorStorage {
    TensorStorage(byteCount: bytes.count) { $0.copyBytes(from: bytes) }
  }

  @Test(arguments: PackedMatrix.Kind.allCases, [false, true])
  func `a matrix made of its bytes is the same in every bit`(_ kind: PackedMatrix.Kind, _ hasZeroPoints: Bool) throws {
    for (rows, columns, group) in [(33, 96, 32), (16, 40, 40), (7, 33, 1_000_000), (64, 128, 128)] {
      let weight = QuantizedCase(kind, rows, columns, groupSize: group, hasZeroPoints: hasZeroPoints)
      let bytes = Self.stored(weight.packed)
      let format = try #require(PackedMatrix.Format("\(weight.packed.format)"))
      #expect(format == weight.packed.format && format.byteCount == bytes.count)
      let read = try #require(PackedMatrix(format, stored: Self.storage(bytes)))
      for same in [read, read.inOwnMemory()] { #expect(Self.stored(same) == bytes && same.format == format) }
      for tokens in [1, 5] {
        let x = weight.activations(tokens)
        #expect(read.product(x).values == weight.packed.product(x).values)
      }
      for wrong in [Array(bytes.dropLast()), bytes + [0]] {
        #expect(PackedMatrix(format, stored: Self.storage(wrong)) == nil)
      }
    }
  }

  @Test func `gains and what further columns read come back`() throws {
    let gains = ColumnGains((0..<40).map { 0.5 + Float($0) / 64 }, sources: [3, 0, 31, 31, 7, 8, 9, 10])
    let codes = (0..<20 * 40).map { UInt8($0 % 16) }
    let matrix = PackedMatrix(
      .uint4, codes: codes, outFeatures: 20, inFeatures: 32, groupSize: 40, scales: (0..<20).map { Float($0) + 0.3 },
      columns: gains)
    let bytes = Self.stored(matrix)
    #expect(bytes.count == matrix.format.byteCount)
    let read = try #require(PackedMatrix(matrix.format, stored: Self.storage(bytes)))
    #expect(read.columns == gains && read.inFeatures == 32 && read.inOwnMemory().columns == gains)
    let x = Matrix(rows: 2, columns: 32, values: (0..<64).map { Float($0).squareRoot() })
    #expect(read.product(x).values == matrix.product(x).values)
    // A source that is no feature.
    var wrong = bytes
    wrong[bytes.count - 4] = 32
    #expect(PackedMatrix(matrix.format, stored: Self.storage(wrong)) == nil)
  }

  @Test(arguments: [
    "", "uint4", "uint4 16 32 32 2 1", "uint4 16 32 32 2 1 0 ", "uint5 16 32 32 2 1 0", "uint4 0 32 32 2 1 0",
    "uint4 16 -32 32 2 1 0", "uint4 16 32 0 2 1 0", "uint4 16 32 32 5 1 0", "uint4 16 32 32 0 1 0",
    "uint4 16 32 32 2 5 0", "uint4 16 32 32 2 1 31", "uint4 16 32 32 2 1 -1", "uint4 +16 32 32 2 1 0",
    "uint4 4611686018427387904 32 32 2 1 0", "uint4 16 32 32 2 1 4611686018427387904", "uint4 16 32 032 2 1 0",
  ])
  func `what is no format is refused`(_ text: String) { #expect(PackedMatrix.Format(text) == nil) }

  @Test func `the largest format has a count of bytes`() {
    let most = 1 << 28
    #expect(PackedMatrix.Format("int8 \(most) 1 1 4 4 \(most)")?.byteCount ?? 0 > 0)
    #expect(PackedMatrix.Format("int8 \(most) \(most) 1 4 4 0")?.byteCount ?? 0 > 0)
  }

  /// Files of other runs hold such bytes: where this fails on purpose, ``PackedMatrix/layoutVersion`` goes up by one.
  @Test(
    arguments: zip(
      PackedMatrix.Kind.allCases, [0x1458_3BB6_19FB_30E6, 0x46B3_64F1_29C7_8BDE, 0x7919_6016_1A1C_C8E0] as [UInt64]))
  func `panels are what this version of the layout says`(_ kind: PackedMatrix.Kind, _ hash: UInt64) {
    // Nothing random: bytes that a change of test support does not change.
    let (rows, columns, group) = (19, 72, 32)
    let codes = (0..<rows * columns).map { UInt8($0 * 37 % 251 % (kind == .uint4 ? 16 : 127)) }
    let scales = (0..<rows * 3).map { Float($0 + 1) / 64 }
    let matrix = PackedMatrix(
      kind, codes: codes, outFeatures: rows, inFeatures: columns, groupSize: group, scales: scales,
      zeroPoints: scales.indices.map { Float($0 % 16) })
    // FNV-1a.
    let found = Self.stored(matrix).reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    #expect(found == hash && PackedMatrix.layoutVersion == 1, "\(kind): 0x\(String(found, radix: 16))")
  }
}
