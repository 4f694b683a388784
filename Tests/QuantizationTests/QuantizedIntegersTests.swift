import Kernels
import Quantization
import Tensors
import TestSupport
import Testing

/// Integers with a gain a row and a gain a column.
@Suite struct QuantizedIntegersTests {
  /// Integers of which every seventh column is up to `wide` large.
  private static func example(_ rows: Int, _ columns: Int, bits: Int, wide: Int32) -> (QuantizedTensor, [Int32]) {
    var generator = SeededGenerator(seed: UInt64(rows * 1000 + columns + bits))
    let integers = (0..<rows * columns).map { index -> Int32 in
      index % columns % 7 == 3
        ? Int32.random(in: -wide...wide, using: &generator) : Int32(generator.normal() * (bits == 8 ? 10 : 1.5))
    }
    let tensor = QuantizedTensor(
      integers: integers, outFeatures: rows, inFeatures: columns,
      rowGains: (0..<rows).map { _ in UInt8.random(in: 80...120, using: &generator) },
      columnGains: (0..<columns).map { _ in UInt8.random(in: 90...150, using: &generator) }, bits: bits)
    return (tensor, integers)
  }

  @Test(arguments: [8, 4], [7, 100, 30_000, 5_000_000])
  func `integers of any size come back`(bits: Int, wide: Int32) {
    let (tensor, integers) = Self.example(19, 45, bits: bits, wide: wide)
    #expect(tensor.integers() == integers)
    let splits = CodeDigits(bits: bits).splitsNeeded(integers, columns: 45)
    #expect(tensor.codeColumns == 45 + splits)
    #expect(tensor.splitColumns == splits)
    if bits == 4 { #expect(tensor.codes.allSatisfy { (-8...7).contains(Int8(bitPattern: $0)) }) }
    let limit = bits == 8 ? 128 : 8
    #expect((splits > 0) == integers.contains { !(-limit..<limit).contains(Int($0)) })
  }

  @Test(arguments: [8, 4], [7, 30_000])
  func `a weight is gains times integer, in memory and in the kernels' layout`(bits: Int, wide: Int32) throws {
    let (tensor, integers) = Self.example(19, 45, bits: bits, wide: wide)
    let columns = try #require(tensor.columns)
    let weights = tensor.dequantized()
    for (index, integer) in integers.enumerated() {
      let exact = Double(integer) * Double(tensor.scales[index / 45]) * Double(columns.gains[index % 45])
      #expect(abs(Double(weights.values[index]) - exact) <= abs(exact) * 1e-5)
    }
    let packed = tensor.packed()
    #expect(packed.kind == (bits == 4 ? .uint4 : .int8))
    #expect(packed.dequantizedRows(0..<19) == weights)
    var generator = SeededGenerator(seed: 3)
    let x = Matrix(rows: 5, columns: 45, values: generator.normals(5 * 45))
    #expect(Deviation.relative(packed.product(x).values, MatrixProduct.product(x, transposed: weights).values) < 1e-5)
  }

  @Test func `digits reach as far as they should`() {
    let bytes = CodeDigits(bits: 8)
    #expect(bytes.count(for: -128...127) == 1)
    #expect(bytes.count(for: 0...128) == 2)
    #expect(bytes.count(for: -129...0) == 2)
    #expect(bytes.count(for: -32_896...32_639) == 2)
    #expect(bytes.count(for: 0...32_640) == 3)
    #expect(bytes.count(for: .min ... .max) == bytes.most)
    let halves = CodeDigits(bits: 4)
    #expect(halves.count(for: -8...7) == 1)
    #expect(halves.count(for: -136...119) == 2)
    #expect(halves.count(for: 0...120) == 3)
    #expect(halves.count(for: .min ... .max) == halves.most)
    let extremes: [Int32] = [.min, .max, 0, -1]
    for bits in [8, 4] {
      let tensor = QuantizedTensor(
        integers: extremes, outFeatures: 2, inFeatures: 2, rowGains: [192, 192], columnGains: [128, 128], bits: bits)
      #expect(tensor.integers() == extremes)
      #expect(tensor.dequantized().values.map(Double.init) == [-0x1p31, 0x1p31, 0, -1])
    }
  }

  @Test func `columns of alike codes are stored together`() {
    // Root mean squares 0, 1, 8, 1, 1.
    let integers: [Int32] = [0, 1, 8, -1, 1, 0, -1, -8, 1, -1, 0, 1, 8, 1, 1, 0, 1, 8, -1, 1]
    let tensor = QuantizedTensor(
      integers: integers, outFeatures: 4, inFeatures: 5, rowGains: [192, 192, 192, 192],
      columnGains: [128, 128, 128, 128, 128], bits: 8)
    #expect(tensor.columnClasses == [0, 128, 152, 128, 128])
    #expect(QuantizedTensor.storedPlaces(tensor.columnClasses) == [0, 1, 4, 2, 3])
    #expect(QuantizedTensor.storedPlaces([255, 0, 7, 255, 7]) == [3, 0, 1, 4, 2])
  }

  @Test func `entropies of known distributions`() {
    // Column 0 is ±1 with equal frequency, column 1 ±16: one bit each by class, two pooled.
    let integers: [Int32] = [1, 16, -1, -16, 1, -16, -1, 16]
    let tensor = QuantizedTensor(
      integers: integers, outFeatures: 4, inFeatures: 2, rowGains: [1, 2, 3, 4], columnGains: [5, 6], bits: 8)
    #expect(tensor.codeEntropy.pooled == 2)
    #expect(tensor.codeEntropy.byClass == 1)
    #expect(tensor.bitCount == 8 * (8 + 4 + 2))
  }
}
