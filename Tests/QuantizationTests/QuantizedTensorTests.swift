import CKernels
import Kernels
import Quantization
import Tensors
import TestSupport
import Testing

@Suite struct QuantizedTensorTests {
  /// The presets, other group sizes, widths of codes, and small blocks.
  static let quantizations: [WeightQuantization] =
    QuantizationScheme.all.map(\.weights) + [
      WeightQuantization(.int(bits: 4), .perGroup(size: 32), isSymmetric: false),
      WeightQuantization(.int(bits: 4), .perChannel),
      WeightQuantization(.int(bits: 2), .perGroup(size: 43), isSymmetric: false),
      WeightQuantization(.int(bits: 3), .perGroup(size: 64)),
      WeightQuantization(.int(bits: 5), .perGroup(size: 128), isSymmetric: false),
      WeightQuantization(.int(bits: 8), .perGroup(size: 32)),
      WeightQuantization(.int(bits: 8), .perChannel, isSymmetric: false),
      WeightQuantization(.float8E4M3, .perBlock(rows: 5, columns: 48)),
      WeightQuantization(.float4E2M1, .perGroup(size: 16)),
    ]
  static let shapes = [[17, 172], [64, 352], [352, 64], [17, 1], [1, 129]]

  private static func example(_ quantization: WeightQuantization, _ shape: [Int]) -> QuantizedTensor {
    var generator = SeededGenerator(seed: UInt64(shape[0] * 1000 + shape[1]))
    let values = generator.normals(shape[0] * shape[1]).map { $0 + 0.5 }
    return RoundToNearest.quantized(
      Matrix(rows: shape[0], columns: shape[1], values: values), as: quantization, scaleType: .bfloat16)
  }

  @Test(arguments: quantizations, shapes)
  func `the kernels' layout stands for the same weights`(quantization: WeightQuantization, shape: [Int]) {
    let tensor = Self.example(quantization, shape)
    #expect(tensor.packed().dequantizedRows(0..<shape[0]) == tensor.dequantized())
  }

  @Test(arguments: quantizations, shapes)
  func `a product multiplies with these weights`(quantization: WeightQuantization, shape: [Int]) {
    let tensor = Self.example(quantization, shape)
    let packed = tensor.packed()
    let weight = tensor.dequantized()
    var generator = SeededGenerator(seed: 9)
    for tokens in [1, 5] {
      let x = Matrix(rows: tokens, columns: shape[1], values: generator.normals(tokens * shape[1]))
      let y = packed.product(x)
      for token in 0..<tokens {
        for row in 0..<shape[0] {
          let scale = tensor.scales[row / tensor.grid.rowsPerScale * tensor.grid.columnGroups]
          var (expected, magnitude) = (0.0, 0.0)
          for column in 0..<shape[1] {
            let term = Double(x[token, column]) * Double(weight[row, column])
            expected += term
            // Kernels may take zero points and offsets of codes out of the sum: at most 256 steps of any group.
            magnitude += abs(term) + 256 * Double(abs(scale * x[token, column]))
          }
          // Sums of as many products in float, in any order, and a few roundings of a weight.
          let bound = Double(shape[1] + 8) * 0x1p-24 * magnitude
          #expect(abs(Double(y[token, row]) - expected) <= bound, "token \(token), row \(row)")
        }
      }
    }
  }

  @Test func `a weight is (code − zero point) · scale of its rectangle`() {
    let tensor = QuantizedTensor(
      WeightQuantization(.int(bits: 4), .perGroup(size: 2), isSymmetric: false), outFeatures: 2, inFeatures: 3,
      codes: [UInt8(bitPattern: -8), 7, 0, 1, 2, 3], scales: [1, 2, 0.5, 4], scaleType: .float32,
      zeroPoints: [-8, 7, 1, 0])
    #expect(tensor.dequantized().values == [0, 15, -14, 0, 0.5, 12])
    let blocks = QuantizedTensor(
      WeightQuantization(.float8E4M3, .perBlock(rows: 2, columns: 2)), outFeatures: 3, inFeatures: 3,
      codes: [UInt8](repeating: 0x38, count: 9), scales: [1, 2, 3, 4], scaleType: .float32, zeroPoints: nil)
    #expect(blocks.dequantized().values == [1, 1, 2, 1, 1, 2, 3, 3, 4])
  }
}
