import Kernels
import Quantization
import Tensors
import Testing

@Suite struct PackedRoundingTests {
  private static let cases: [WeightQuantization] = [2, 3, 4, 6, 8].flatMap { bits in
    [true, false].flatMap { isSymmetric in
      [Granularity.perGroup(size: 32), .perChannel].map {
        WeightQuantization(.int(bits: bits), $0, isSymmetric: isSymmetric)
      }
    }
  }

  @Test(arguments: cases)
  func `packed at once is what codes are packed to`(quantization: WeightQuantization) {
    var random = SystemRandomNumberGenerator()
    let weight = Matrix(rows: 37, columns: 80, values: (0..<37 * 80).map { _ in .random(in: -1...1, using: &random) })
    let groups = quantization.granularity == .perChannel ? 1 : 3
    for shrink in [nil, (0..<37 * groups).map { _ in Float.random(in: 0.7...1, using: &random) }] {
      let expected = RoundToNearest.quantized(weight, as: quantization, scaleType: .bfloat16, shrink: shrink)
      let found = RoundToNearest.packed(
        WeightRows(weight), as: quantization, scaleType: .bfloat16, shrink: shrink)
      #expect(found.dequantizedRows(0..<37) == expected.packed().dequantizedRows(0..<37))
      #expect(found.dequantizedRows(0..<37) == expected.dequantized())
      #expect(found.byteCount == expected.packed().byteCount)
    }
  }
}
