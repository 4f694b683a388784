import Quantization
import Tensors
import TestSupport
import Testing

/// Rounding while rows are read, against codes that are made and expanded.
@Suite struct RoundedRowsTests {
  static let quantizations: [WeightQuantization] =
    [Granularity.perChannel, .perGroup(size: 1), .perGroup(size: 32), .perGroup(size: 43), .perGroup(size: 1000)]
    .flatMap { granularity in
      (2...8).flatMap { bits in
        [true, false].map { WeightQuantization(.int(bits: bits), granularity, isSymmetric: $0) }
      }
    }
    + [NumberFormat.float8E4M3, .float4E2M1].flatMap { format in
      [
        Granularity.perTensor, .perChannel, .perGroup(size: 16), .perGroup(size: 43), .perBlock(rows: 5, columns: 48),
        .perBlock(rows: 128, columns: 128),
      ].map { WeightQuantization(format, $0) }
    }

  /// Numbers of many sizes, rows of one sign, zeros of both signs, and a row of nothing else.
  private static let weight: Matrix = {
    var generator = SeededGenerator(seed: 12)
    var weight = Matrix(rows: 23, columns: 100, values: generator.normals(2300))
    for column in 0..<100 {
      weight[1, column] = abs(weight[1, column]) + 1
      weight[2, column] = -abs(weight[2, column])
      weight[3, column] = column % 2 == 0 ? 0 : -0.0
      weight[4, column] *= 1e-30
      weight[5, column] *= 1e30
      if column % 7 == 0 { weight[6, column] = -0.0 }
      // Halves of a step, which round to even.
      weight[7, column] = Float(column % 16 - 8) + 0.5
    }
    weight[8, 40] = 1e4
    return weight
  }()

  @Test(arguments: quantizations)
  func `rows that are rounded when they are read are those of the codes, bit for bit`(
    quantization: WeightQuantization
  ) {
    let grid = ScaleGrid(quantization.granularity, outFeatures: 23, inFeatures: 100)
    var generator = SeededGenerator(seed: 13)
    let shrink = (0..<grid.count).map { _ in Float.random(in: 0.5..<1.05, using: &generator) }
    for type in [DType.float32, .bfloat16, .float16] {
      for shrink in quantization.format.isFloat ? [nil] : [nil, shrink] {
        var weight = Self.weight
        // Half cannot hold the scale of such numbers.
        if type == .float16 { for column in 0..<100 { weight[5, column] = 0.5 } }
        let rows = WeightRows(weight)
        let codes = RoundToNearest.quantized(weight, as: quantization, scaleType: type, shrink: shrink)
        let expected = codes.dequantized().values.map(\.bitPattern)
        let found = RoundToNearest.rounded(rows, as: quantization, scaleType: type, shrink: shrink)
        #expect(found.outFeatures == 23 && found.inFeatures == 100)
        #expect(found.matrix().values.map(\.bitPattern) == expected, "\(type)")
        for range in [0..<1, 22..<23, 3..<9, 5..<6] {
          let part = Array(expected[range.lowerBound * 100..<range.upperBound * 100])
          #expect(found.rows(range).values.map(\.bitPattern) == part, "\(type), rows \(range)")
        }
      }
    }
  }

  @Test(arguments: quantizations)
  func `rows that are read tile by tile give the codes of the whole matrix`(quantization: WeightQuantization) {
    let whole = RoundToNearest.quantized(Self.weight, as: quantization, scaleType: .float32)
    let computed = WeightRows(outFeatures: 23, inFeatures: 100, storedType: .float32) { range, floats in
      for (index, row) in range.enumerated() {
        for column in 0..<100 { floats[index * 100 + column] = Self.weight[row, column] }
      }
    }
    let found = RoundToNearest.quantized(computed, as: quantization, scaleType: .float32)
    #expect(found.codes == whole.codes && found.scales == whole.scales && found.zeroPoints == whole.zeroPoints)
  }
}
