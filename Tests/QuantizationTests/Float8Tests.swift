import Quantization
import Tensors
import TestSupport
import Testing

@Suite struct Float8Tests {
  static let granularities: [Granularity] = [
    .perTensor, .perChannel, .perGroup(size: 128), .perBlock(rows: 128, columns: 128), .perBlock(rows: 5, columns: 48),
  ]
  static let shapes = [[17, 172], [130, 352], [3, 64], [17, 1], [1, 1]]

  /// Three bits after the point: half of 2⁻³ of the number, and below 2⁻⁶ half of the step of 2⁻⁹.
  private static func bound(_ value: Float) -> Float { max(abs(value) * 0x1p-4, 0x1p-10) * (1 + 0x1p-20) }

  @Test(arguments: granularities, shapes)
  func `nothing exceeds 448 and every number is the nearest`(granularity: Granularity, shape: [Int]) {
    let quantization = WeightQuantization(.float8E4M3, granularity)
    for type in [DType.float32, .bfloat16] {
      var generator = SeededGenerator(seed: UInt64(shape[0] * 1000 + shape[1]))
      let weight = Matrix(rows: shape[0], columns: shape[1], values: generator.normals(shape[0] * shape[1]))
      let found = RoundToNearest.quantized(weight, as: quantization, scaleType: type)
      let grid = found.grid
      #expect(Tensor([found.scales.count], floats: found.scales, as: type).floats() == found.scales)
      for row in 0..<shape[0] {
        for column in 0..<shape[1] {
          let index = row * shape[1] + column
          let scale = found.scales[row / grid.rowsPerScale * grid.columnGroups + column / grid.columnsPerScale]
          let quotient = weight.values[index] / scale
          #expect(found.codes[index] & 0x7F != 0x7F, "NaN")
          // The quotient itself may be rounded up by half a unit in the last place.
          #expect(abs(quotient) <= 448 * (1 + 0x1p-23), "\(quotient) at \(row), \(column)")
          let value = Float8E4M3.decoded[Int(found.codes[index])]
          #expect(abs(value - quotient) <= Self.bound(quotient), "\(quotient) became \(value)")
        }
      }
    }
  }

  @Test(arguments: granularities)
  func `the largest of each rectangle uses the whole range`(granularity: Granularity) {
    var generator = SeededGenerator(seed: 2)
    let weight = Matrix(rows: 40, columns: 100, values: generator.normals(4000))
    let found = RoundToNearest.quantized(weight, as: WeightQuantization(.float8E4M3, granularity), scaleType: .float32)
    let grid = found.grid
    var largest = [Float](repeating: 0, count: grid.count)
    for index in weight.values.indices {
      let cell = index / 100 / grid.rowsPerScale * grid.columnGroups + index % 100 / grid.columnsPerScale
      largest[cell] = max(largest[cell], abs(Float8E4M3.decoded[Int(found.codes[index])]))
    }
    #expect(largest.allSatisfy { $0 == 448 })
  }

  @Test func `a bfloat16 scale is rounded up, so that the largest weight is not cut off`() {
    // 449 / 448 lies between the bfloat16 numbers 1 and 1 + 2⁻⁷, nearer to 1.
    let weight = Matrix(rows: 1, columns: 2, values: [449, 1])
    let quantization = WeightQuantization(.float8E4M3, .perChannel)
    let found = RoundToNearest.quantized(weight, as: quantization, scaleType: .bfloat16)
    #expect(found.scales == [1 + 0x1p-7])
    #expect(RoundToNearest.quantized(weight, as: quantization, scaleType: .float32).scales == [449 / 448])
    #expect(RoundToNearest.quantized(weight, as: quantization, scaleType: .float16).scales == [1 + 3 * 0x1p-10])
  }

  @Test func `the 256 codes decode to the numbers of the specification`() {
    for (code, value) in Float8E4M3.decoded.enumerated() {
      let sign: Float = code & 0x80 == 0 ? 1 : -1
      let (exponent, fraction) = (code >> 3 & 15, Float(code & 7))
      if code & 0x7F == 0x7F {
        #expect(value.isNaN)
      } else if exponent == 0 {
        #expect(value == sign * fraction * 0x1p-9)
      } else {
        #expect(value == sign * Float(sign: .plus, exponent: exponent - 7, significand: 1 + fraction / 8))
      }
    }
  }

  @Test func `a float8 number comes back as itself`() {
    let values = Float8E4M3.decoded.filter(\.isFinite)
    let weight = Matrix(rows: 1, columns: values.count, values: values)
    let found = RoundToNearest.quantized(weight, as: WeightQuantization(.float8E4M3, .perTensor), scaleType: .float32)
    #expect(found.scales == [1])
    #expect(found.dequantized().values == values)
  }
}
