import Checkpoints
import Foundation
import Quantization
import Tensors
import TestSupport
import Testing

@Suite struct LayoutEncodingTests {
  static let shapes = [[1, 1], [17, 172], [16, 64], [33, 352], [64, 43]]

  @Test(arguments: WeightQuantization.manyLayouts, shapes)
  func `what is encoded decodes to the same`(quantization: WeightQuantization, shape: [Int]) throws {
    for type in [DType.bfloat16, .float16, .float32] {
      var generator = SeededGenerator(seed: UInt64(shape[0] + shape[1]))
      let weight = Matrix(rows: shape[0], columns: shape[1], values: generator.normals(shape[0] * shape[1]))
      let tensor = RoundToNearest.quantized(weight, as: quantization, scaleType: type)
      let encoded = CompressedTensorsLayout.encode(tensor, linear: "a.b")
      let decoded = try CompressedTensorsLayout.decode(
        linear: "a.b", quantization, outFeatures: shape[0], inFeatures: shape[1], from: MemorySource(encoded), file: "f"
      )
      #expect(decoded.codes == tensor.codes)
      #expect(decoded.scales == tensor.scales && decoded.scaleType == type)
      #expect(decoded.zeroPoints == tensor.zeroPoints)
      #expect(decoded.quantization == quantization)
      let plan = CompressedTensorsLayout.plan(
        linear: "a.b", quantization, outFeatures: shape[0], inFeatures: shape[1], scaleType: type)
      #expect(plan == MemorySource(encoded).tensors, "the plan is what comes out")
    }
  }

  @Test(arguments: 2...8, [[1, 1, 1], [9, 16, 2], [17, 43, 3]])
  func `codes and zero points are packed into the library's words (trap 11)`(bits: Int, extents: [Int]) throws {
    let file = try LayoutVectors.file("packing")
    let (rows, columns, groups) = (extents[0], extents[1], extents[2])
    let prefix = "w\(bits).\(rows)x\(columns)."
    let tensor = QuantizedTensor(
      WeightQuantization(.int(bits: bits), .perGroup(size: (columns + groups - 1) / groups), isSymmetric: false),
      outFeatures: rows, inFeatures: columns, codes: try file.tensor(prefix + "codes").bytes,
      scales: [Float](repeating: 1, count: rows * groups), scaleType: .float32,
      zeroPoints: try file.tensor(prefix + "zeros").bytes.map { Int8(bitPattern: $0) })
    let encoded = MemorySource(CompressedTensorsLayout.encode(tensor, linear: "m"))
    for part in ["weight_packed", "weight_zero_point"] {
      let expected = try file.tensor(prefix + part)
      let found = try encoded.tensor("m." + part)
      #expect(found.shape == expected.shape && found.dtype == expected.dtype, "\(part)")
      #expect(found.bytes == expected.bytes, "\(part)")
    }
    let decoded = try CompressedTensorsLayout.decode(
      linear: "m", tensor.quantization, outFeatures: rows, inFeatures: columns, from: encoded, file: "f")
    #expect(decoded.codes == tensor.codes && decoded.zeroPoints == tensor.zeroPoints)
  }

  @Test func `the worked words of the format's description`() throws {
    let tensor = QuantizedTensor(
      WeightQuantization(.int(bits: 4), .perChannel), outFeatures: 1, inFeatures: 16,
      codes: (Int8(-8)...7).map { UInt8(bitPattern: $0) }, scales: [1], scaleType: .float32, zeroPoints: nil)
    let packed = try MemorySource(CompressedTensorsLayout.encode(tensor, linear: "m")).tensor("m.weight_packed")
    #expect(packed.bytes == [0x10, 0x32, 0x54, 0x76, 0x98, 0xBA, 0xDC, 0xFE])
  }

  @Test(arguments: [2, 3, 4, 5, 8], [true, false])
  func `scales, zero points and codes follow the library's formulas`(bits: Int, isSymmetric: Bool) throws {
    let file = try LayoutVectors.file("parameters")
    let prefix = "w\(bits).\(isSymmetric ? "sym" : "asym")."
    let weight = Matrix(try file.tensor("weight"))
    let quantization = WeightQuantization(.int(bits: bits), .perChannel, isSymmetric: isSymmetric)
    let found = RoundToNearest.quantized(weight, as: quantization, scaleType: .float32)
    let (scales, zeros) = (try file.tensor(prefix + "scale"), try file.tensor(prefix + "zero"))
    let codes = try file.tensor(prefix + "codes")
    #expect(found.scales == scales.floats())
    if let zeroPoints = found.zeroPoints {
      #expect(zeroPoints == zeros.bytes.map { Int8(bitPattern: $0) })
    }
    // The library adds the zero point before it rounds, so that halves may go the other way: none is here.
    #expect(found.codes == codes.bytes)
  }
}
