import CKernels
import Tensors
import Testing

@Suite struct ConversionTests {
  @Test func `every half pattern becomes the same float as in Swift`() {
    let patterns = (0...UInt16.max).map { $0 }
    var floats = [Float](repeating: 0, count: patterns.count)
    ck_f16_to_f32(patterns, &floats, patterns.count)
    for (pattern, float) in zip(patterns, floats) {
      let expected = Float(Float16(bitPattern: pattern))
      #expect(float == expected || float.isNaN && expected.isNaN, "pattern \(pattern)")
    }
  }

  @Test func `floats round to halves as in Swift`() {
    var bits: [UInt32] = []
    for high in stride(from: UInt32(0), through: 0xFFFF, by: 1) {
      bits += [high << 16, high << 16 | 0x0FFF, high << 16 | 0x1000, high << 16 | 0x1001, high << 16 | 0x3000]
    }
    let floats = bits.map { Float(bitPattern: $0) }
    var halves = [UInt16](repeating: 0, count: floats.count)
    ck_f32_to_f16(floats, &halves, floats.count)
    for (float, half) in zip(floats, halves) {
      let expected = Float16(float)
      #expect(half == expected.bitPattern || float.isNaN && Float16(bitPattern: half).isNaN, "\(float)")
    }
  }

  @Test func `bfloat16 rounds to nearest even and keeps NaN`() {
    let floats: [Float] = [1, 1.00390625, 1.01171875, -2.5, .infinity, .nan, 3.4e38]
    var halves = [UInt16](repeating: 0, count: floats.count)
    ck_f32_to_bf16(floats, &halves, floats.count)
    #expect(halves[0...4] == [0x3F80, 0x3F80, 0x3F82, 0xC020, 0x7F80])
    #expect(Float(bitPattern: UInt32(halves[5]) << 16).isNaN)
    #expect(halves[6] == 0x7F80)
  }

  @Test func `every E4M3 code survives decoding and encoding`() {
    let codes = (0...UInt8.max).map { $0 }
    var floats = [Float](repeating: 0, count: 256)
    ck_e4m3_to_f32(codes, &floats, 256)
    #expect(floats[0x01] == 0.001953125 && floats[0x07] == 0.013671875 && floats[0x08] == 0.015625)
    #expect(floats[0x38] == 1 && floats[0x77] == 240 && floats[0x7E] == 448 && floats[0x7F].isNaN && floats[0xFF].isNaN)
    var encoded = [UInt8](repeating: 0, count: 256)
    ck_f32_to_e4m3(floats, &encoded, 256)
    #expect(encoded == codes)
  }

  @Test func `E4M3 rounds to nearest even and saturates`() {
    // Cases from facts/safetensors.md §2, computed there with ml_dtypes and torch.
    let floats: [Float] = [17, 19, 0x1p-10, 0x1p-10 * 1.0002, 0.0029296875, 1000, -.infinity, 464]
    var codes = [UInt8](repeating: 0, count: floats.count)
    ck_f32_to_e4m3(floats, &codes, floats.count)
    #expect(codes == [0x58, 0x5A, 0x00, 0x01, 0x02, 0x7E, 0xFE, 0x7E])
  }

  @Test func `the first value that is not finite is found`() {
    var values = [Float](repeating: 1, count: 1000)
    #expect(ck_first_non_finite(values, 1000) == 1000)
    values[700] = .nan
    values[800] = .infinity
    #expect(ck_first_non_finite(values, 1000) == 700)
  }

  @Test func `a tensor of bfloat16 is read back`() {
    let tensor = Tensor([2, 2], floats: [1, -2.5, 0.15625, 100], as: .bfloat16)
    #expect(tensor.byteCount == 8)
    #expect(tensor.floats() == [1, -2.5, 0.15625, 100])
    #expect(tensor.rows(1..<2).floats() == [0.15625, 100])
  }

  @Test func `shapes that overflow have no count`() {
    #expect(Shape([1 << 32, 1 << 32, 0]).elementCount == nil)
    #expect(Shape([0, 1 << 32, 1 << 32]).elementCount == 0)
    #expect(Shape([3]).byteCount(of: .float4) == nil)
    #expect(Shape([-1]).elementCount == nil)
  }
}
