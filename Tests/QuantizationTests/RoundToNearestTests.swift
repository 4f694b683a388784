import Foundation
import Quantization
import Tensors
import TestSupport
import Testing

/// What rounding to nearest can be off by, in steps.
private enum StepBound {
  /// Half a step, and float32's own rounding of the quotient on top (at most 255 steps of 2⁻²⁴ each).
  static let half: Float = 0.5 + 256 * 0x1p-24
  /// Where the scale was rounded to fewer bits, the ends of the range move by the rounding of one step for each of the
  /// steps: bfloat16 keeps 8 bits, half 11, so that rounding moves a scale by up to 2⁻⁸ and 2⁻¹¹ of itself.
  static func ends(_ type: DType, bits: Int) -> Float {
    let precision: Float = type == .bfloat16 ? 0x1p-8 : type == .float16 ? 0x1p-11 : 0x1p-24
    return half + Float((1 << bits) - 1) * precision
  }
}

@Suite struct RoundToNearestTests {
  private static func row(_ values: [Float]) -> Matrix { Matrix(rows: 1, columns: values.count, values: values) }

  private static func signed(_ tensor: QuantizedTensor) -> [Int] { tensor.codes.map { Int(Int8(bitPattern: $0)) } }

  private static let symmetric4 = WeightQuantization(.int(bits: 4), .perChannel)
  private static let asymmetric4 = WeightQuantization(.int(bits: 4), .perChannel, isSymmetric: false)

  // MARK: By hand

  @Test func `symmetric: the largest magnitude is 7 and a half steps`() {
    let found = RoundToNearest.quantized(Self.row([7.5, -7.5, 1, -3.4, 0]), as: Self.symmetric4, scaleType: .float32)
    #expect(found.scales == [1])
    #expect(Self.signed(found) == [7, -8, 1, -3, 0])
    #expect(found.dequantized().values == [7, -8, 1, -3, 0])
    #expect(found.zeroPoints == nil)
  }

  @Test func `asymmetric: fifteen steps from the smallest to the largest`() {
    let found = RoundToNearest.quantized(Self.row([-3, 12, 0, 5]), as: Self.asymmetric4, scaleType: .float32)
    #expect(found.scales == [1] && found.zeroPoints == [-5])
    #expect(Self.signed(found) == [-8, 7, -5, 0])
    #expect(found.dequantized().values == [-3, 12, 0, 5])
  }

  @Test(arguments: [Float(1), -1])
  func `zero stays in range when all weights have one sign (trap 4)`(sign: Float) {
    let values = [Float](stride(from: 3.0, through: 15, by: 0.75)).map { $0 * sign }
    let found = RoundToNearest.quantized(Self.row(values), as: Self.asymmetric4, scaleType: .float32)
    #expect(found.scales == [1])
    #expect(found.zeroPoints == [sign > 0 ? -8 : 7])
    for (weight, restored) in zip(values, found.dequantized().values) {
      #expect(abs(weight - restored) <= StepBound.half, "\(weight)")
    }
  }

  @Test(arguments: [
    WeightQuantization(.int(bits: 4), .perGroup(size: 3)),
    WeightQuantization(.int(bits: 4), .perGroup(size: 3), isSymmetric: false),
    WeightQuantization(.float8E4M3, .perGroup(size: 3)),
  ])
  func `a group of zeros has scale 1 and gives zeros`(quantization: WeightQuantization) {
    let found = RoundToNearest.quantized(Self.row([0, -0, 0, 1, 0]), as: quantization, scaleType: .bfloat16)
    #expect(found.scales[0] == 1)
    #expect(found.dequantized().values[..<3].allSatisfy { $0 == 0 })
    #expect(found.dequantized().values[3] > 0.9)
  }

  @Test func `halves round to even`() {
    let values: [Float] = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 3.5, 7.5]
    let found = RoundToNearest.quantized(Self.row(values), as: Self.symmetric4, scaleType: .float32)
    #expect(Self.signed(found) == [0, 2, 2, 0, -2, -2, 4, 7])
  }

  @Test func `a shrunk range clips what lies outside of it`() {
    let found = RoundToNearest.quantized(
      Self.row([15, -15, 3, -3.75]), as: Self.symmetric4, scaleType: .float32, shrink: [0.5])
    #expect(found.scales == [1])
    #expect(Self.signed(found) == [7, -8, 3, -4])
    let asymmetric = RoundToNearest.quantized(
      Self.row([-6, 24, 3]), as: Self.asymmetric4, scaleType: .float32, shrink: [0.5])
    #expect(asymmetric.scales == [1] && asymmetric.zeroPoints == [-5])
    #expect(asymmetric.dequantized().values == [-3, 12, 3])
  }

  @Test func `each group is shrunk by its own factor`() {
    let quantization = WeightQuantization(.int(bits: 4), .perGroup(size: 2))
    let weight = Matrix(rows: 2, columns: 3, values: [7.5, 1, 7.5, 7.5, 1, 7.5])
    let found = RoundToNearest.quantized(weight, as: quantization, scaleType: .float32, shrink: [1, 0.5, 0.25, 1])
    #expect(found.scales == [1, 0.5, 0.25, 1])
  }

  @Test(arguments: [DType.bfloat16, .float16, .float32])
  func `codes are taken with the scale as it is stored (trap 7)`(type: DType) {
    var generator = SeededGenerator(seed: 7)
    for isSymmetric in [true, false] {
      let quantization = WeightQuantization(.int(bits: 8), .perChannel, isSymmetric: isSymmetric)
      let weight = Matrix(rows: 20, columns: 50, values: generator.normals(1000))
      let found = RoundToNearest.quantized(weight, as: quantization, scaleType: type)
      #expect(Tensor([20], floats: found.scales, as: type).floats() == found.scales, "each scale is storable")
      var (differs, clipped) = (0, 0)
      for (index, code) in Self.signed(found).enumerated() {
        let (scale, zero) = (found.scales[index / 50], Float(found.zeroPoints?[index / 50] ?? 0))
        let free = (weight.values[index] / scale).rounded(.toNearestOrEven) + zero
        if !(-128...127).contains(free) { clipped += 1 }
        #expect(Float(code) == min(max(free, -128), 127), "weight \(index)")
        let row = weight.row(index / 50)
        let (low, high) = (min(0, row.min() ?? 0), max(0, row.max() ?? 0))
        let exact = isSymmetric ? max(high, -low) / 127.5 : (high - low) / 255
        if (weight.values[index] / exact).rounded(.toNearestOrEven) + zero != Float(code) { differs += 1 }
      }
      // The scale that is not rounded would give other codes for eight bits, or this test protects from nothing.
      #expect(type == .float32 ? differs == clipped : differs > clipped, "\(differs) differ, \(clipped) are clipped")
    }
  }

  @Test func `a scale too small for its type does not make infinities`() {
    let found = RoundToNearest.quantized(Self.row([1e-9, -1e-9]), as: Self.symmetric4, scaleType: .float16)
    #expect(found.scales == [1])
    #expect(found.dequantized().values == [0, 0])
  }

  // MARK: Properties

  @Test(arguments: [2, 3, 4, 5, 8], [true, false])
  func `no weight is off by more than half a step`(bits: Int, isSymmetric: Bool) {
    for seed in UInt64(0)..<20 {
      var generator = SeededGenerator(seed: seed)
      let group = [1, 8, 32, 100][Int(seed) % 4]
      let type = [DType.float32, .bfloat16, .float16][Int(seed) % 3]
      let shift = Float(seed % 5) - 2
      let weight = Matrix(rows: 5, columns: 86, values: generator.normals(430).map { $0 + shift })
      let quantization = WeightQuantization(.int(bits: bits), .perGroup(size: group), isSymmetric: isSymmetric)
      let found = RoundToNearest.quantized(weight, as: quantization, scaleType: type)
      let restored = found.dequantized()
      let bound = StepBound.ends(type, bits: bits)
      for (index, weight) in weight.values.enumerated() {
        let scale = found.scales[index / 86 * found.grid.columnGroups + index % 86 / group]
        #expect(
          abs(weight - restored.values[index]) <= bound * scale, "seed \(seed), weight \(index): \(weight), \(scale)")
      }
    }
  }

  @Test(arguments: [true, false])
  func `more bits never increase the error`(isSymmetric: Bool) {
    for seed in UInt64(0)..<10 {
      var generator = SeededGenerator(seed: seed)
      let weight = Matrix(rows: 16, columns: 128, values: generator.normals(2048))
      let errors = (2...8).map { bits in
        let quantization = WeightQuantization(.int(bits: bits), .perGroup(size: 64), isSymmetric: isSymmetric)
        let restored = RoundToNearest.quantized(weight, as: quantization, scaleType: .float32).dequantized()
        return zip(weight.values, restored.values).reduce(0.0) { $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) }
      }
      #expect(errors == errors.sorted(by: >), "seed \(seed): \(errors)")
    }
  }

  @Test(arguments: QuantizationScheme.all)
  func `what was rounded rounds to itself`(scheme: QuantizationScheme) {
    // Symmetric integers lack a number for half a step above their largest, so the largest comes back smaller.
    guard !scheme.weights.isSymmetric || scheme.weights.format == .float8E4M3 else { return }
    var generator = SeededGenerator(seed: 3)
    let weight = Matrix(rows: 17, columns: 172, values: generator.normals(17 * 172))
    let once = RoundToNearest.quantized(weight, as: scheme.weights, scaleType: .float32).dequantized()
    let twice = RoundToNearest.quantized(once, as: scheme.weights, scaleType: .float32).dequantized()
    // One rounding of the scale, and one of the product with it.
    let scaleRounding: Float = 4 * 0x1p-24
    for (first, second) in zip(once.values, twice.values) {
      #expect(abs(first - second) <= scaleRounding * abs(first))
    }
  }

  @Test func `results do not depend on rows around`() {
    var generator = SeededGenerator(seed: 11)
    let weight = Matrix(rows: 40, columns: 60, values: generator.normals(2400))
    let quantization = WeightQuantization(.int(bits: 4), .perGroup(size: 32), isSymmetric: false)
    let all = RoundToNearest.quantized(weight, as: quantization, scaleType: .bfloat16)
    for row in [0, 15, 16, 39] {
      let one = RoundToNearest.quantized(weight.rows(row..<row + 1), as: quantization, scaleType: .bfloat16)
      #expect(one.codes == Array(all.codes[row * 60..<(row + 1) * 60]))
      #expect(one.scales == Array(all.scales[row * 2..<row * 2 + 2]))
    }
  }
}
