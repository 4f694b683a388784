import Quantization
import Tensors
import Testing

@Suite struct Float4Tests {
  @Test func `codes are the numbers of E2M1`() {
    #expect(Float4E2M1.decoded == [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
    #expect(Float4E2M1.decoded[8].sign == .minus)
  }

  @Test func `every number is its own code's, and halves go to the even code`() {
    for (code, value) in Float4E2M1.decoded.enumerated() { #expect(Float4E2M1.code(value) == UInt8(code)) }
    for code in 0..<7 {
      let (low, high) = (Float4E2M1.decoded[code], Float4E2M1.decoded[code + 1])
      let middle = (low + high) / 2
      #expect(Float4E2M1.code(middle) == UInt8(code % 2 == 0 ? code : code + 1))
      #expect(Float4E2M1.code(middle.nextDown) == UInt8(code) && Float4E2M1.code(middle.nextUp) == UInt8(code + 1))
      #expect(Float4E2M1.code(-middle.nextUp) == UInt8(code + 1) | 8)
    }
    #expect(Float4E2M1.code(100) == 7 && Float4E2M1.code(-.infinity) == 15)
  }

  @Test func `rounding takes the scale that makes the largest weight the largest number`() {
    let weight = Matrix(rows: 1, columns: 4, values: [12, 1, -3, 0.4])
    let tensor = RoundToNearest.quantized(
      weight, as: WeightQuantization(.float4E2M1, .perChannel), scaleType: .float32)
    #expect(tensor.scales == [2])
    #expect(tensor.dequantized().values == [12, 1, -3, 0])
    #expect(tensor.bitCount == 4 * 4 + 32)
  }
}
