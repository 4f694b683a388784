import Foundation
import Kernels
import Quantization
import Tensors
import TestSupport
import Testing

/// How scales of float formats are chosen: by the largest weight, and by error.
@Suite struct FloatScalesTests {
  static let quantizations: [WeightQuantization] = [
    WeightQuantization(.float8E4M3, .perTensor), WeightQuantization(.float8E4M3, .perChannel),
    WeightQuantization(.float8E4M3, .perBlock(rows: 128, columns: 128)),
    WeightQuantization(.float8E4M3, .perBlock(rows: 5, columns: 48)), QuantizationScheme.fp8BlockPowers.weights,
    QuantizationScheme.mxfp8.weights, QuantizationScheme.mxfp4.weights, QuantizationScheme.nvfp4.weights,
    WeightQuantization(.float4E2M1, .perChannel),
  ]

  private static func weight(rows: Int = 40, columns: Int = 160, seed: UInt64 = 21) -> Matrix {
    var generator = SeededGenerator(seed: seed)
    return Matrix(rows: rows, columns: columns, values: generator.normals(rows * columns))
  }

  private static func error(_ weight: Matrix, _ found: QuantizedTensor, _ importance: [Float]? = nil) -> Double {
    let back = found.dequantized().values
    return weight.values.indices.reduce(0) { sum, index in
      let difference = Double(back[index] - weight.values[index])
      return sum + Double(importance?[index % weight.columns] ?? 1) * difference * difference
    }
  }

  private static func leastError(_ importance: [Float]? = nil) -> FloatScaling {
    FloatScaling(.leastError(importance: importance))
  }

  // MARK: By hand

  @Test(arguments: [
    // Up to 1¾ · 2ⁿ a magnitude belongs to 2ⁿ, whose float4 reaches 1½ · 2ⁿ.
    (Float(6), Float(1)), (6.9, 1), (7, 2), (1, 0.25), (0.8, 0.125), (1000, 256), (800, 128),
  ])
  func `powers of two of float4 are the library's`(largest: Float, scale: Float) {
    let row = Matrix(rows: 1, columns: 32, values: [largest] + [Float](repeating: 0, count: 31))
    let found = RoundToNearest.quantized(row, as: QuantizationScheme.mxfp4.weights, scaleType: .bfloat16)
    #expect(found.scales == [scale] && found.scaleType == .float8E8M0 && found.scaleDivisor == nil)
    #expect(found.bitCount == 32 * 4 + 8)
  }

  @Test(arguments: [(Float(448), Float(1)), (449, 2), (224.5, 1), (224, 0.5), (1, 0x1p-8), (0, 1)])
  func `powers of two of float8 lose no weight`(largest: Float, scale: Float) {
    let row = Matrix(rows: 1, columns: 2, values: [0, -largest])
    for weights in [QuantizationScheme.fp8BlockPowers.weights, QuantizationScheme.mxfp8.weights] {
      #expect(RoundToNearest.quantized(row, as: weights, scaleType: .float32).scales == [scale])
    }
  }

  @Test func `one number above the scales of float8 makes the largest of them 448`() {
    var values = [Float](repeating: 0.06, count: 32)
    values[0] = 6
    let found = RoundToNearest.quantized(
      Matrix(rows: 1, columns: 32, values: values), as: QuantizationScheme.nvfp4.weights, scaleType: .bfloat16)
    // The worked example of the layout's description: amax 6 gives 448, groups of 6 and 0.06 give 448 and 4.5.
    #expect(found.scaleDivisor == 448 && found.scales == [1, 4.5 / 448])
    #expect(found.scaleType == .float8E4M3 && found.bitCount == 32 * 4 + 2 * 8 + 32)
    let shared = RoundToNearest.quantized(
      Matrix(rows: 1, columns: 32, values: values), as: QuantizationScheme.nvfp4.weights, scaleType: .bfloat16,
      scaling: FloatScaling(.largest, sharedMaximum: 12))
    #expect(shared.scaleDivisor == 224)
  }

  @Test func `float4 codes of the kernel are those of the table`() {
    let special: [Float] = [-0.0, Float(0.25).nextUp, Float(5).nextUp, 1e9, -1e-9]
    let values = (-56...56).map { Float($0) / 8 } + special
    let row = Matrix(rows: 1, columns: values.count, values: values.map { $0 })
    let scaled = RoundToNearest.quantized(
      Matrix(rows: 1, columns: values.count + 1, values: row.values.map { max(-6, min(6, $0)) } + [6]),
      as: WeightQuantization(.float4E2M1, .perTensor), scaleType: .float32)
    #expect(scaled.scales == [1])
    for (value, code) in zip(values, scaled.codes) {
      #expect(code == Float4E2M1.code(max(-6, min(6, value))), "\(value)")
    }
  }

  // MARK: By error

  @Test(arguments: quantizations)
  func `scales by error are never worse, weighted or not`(quantization: WeightQuantization) {
    let weight = Self.weight()
    var generator = SeededGenerator(seed: 5)
    let importance = (0..<weight.columns).map { _ in Float.random(in: 0.01..<4, using: &generator) }
    let plain = RoundToNearest.quantized(weight, as: quantization, scaleType: .float32)
    for weights in [nil, importance] {
      let found = RoundToNearest.quantized(
        weight, as: quantization, scaleType: .float32, scaling: Self.leastError(weights))
      let (before, after) = (Self.error(weight, plain, weights), Self.error(weight, found, weights))
      // NVFP4's plain scales stand under another divisor: their rounding differs.
      #expect(after <= before * (quantization.scales == .float8 ? 0.97 : 1 + 1e-6), "\(before) became \(after)")
    }
  }

  @Test func `importance moves the scale to where it counts`() {
    // Two columns whose best scales differ: the important one is kept exactly.
    for important in 0..<2 {
      let weight = Matrix(rows: 1, columns: 32, values: [1.25, 0.9] + [Float](repeating: 0, count: 30))
      var importance = [Float](repeating: 1e-6, count: 32)
      importance[important] = 1
      let found = RoundToNearest.quantized(
        weight, as: WeightQuantization(.float8E4M3, .perChannel), scaleType: .float32,
        scaling: Self.leastError(importance))
      let differences = zip(found.dequantized().values, weight.values).map { abs($0 - $1) }
      #expect(differences[important] <= 0.005, "\(differences)")
    }
  }

  @Test(arguments: quantizations)
  func `threads and tiles change nothing, and rounded rows are those of the codes`(quantization: WeightQuantization) {
    let weight = Self.weight(rows: 150, columns: 288, seed: 8)
    let importance = (0..<288).map { Float($0 % 7 + 1) }
    let scaling = Self.leastError(importance)
    let threads = Parallel.threads
    defer { Parallel.threads = threads }
    Parallel.threads = 1
    let one = RoundToNearest.quantized(weight, as: quantization, scaleType: .bfloat16, scaling: scaling)
    Parallel.threads = 5
    let five = RoundToNearest.quantized(weight, as: quantization, scaleType: .bfloat16, scaling: scaling)
    #expect(one.codes == five.codes && one.scales == five.scales && one.scaleDivisor == five.scaleDivisor)
    let rows = RoundToNearest.rounded(WeightRows(weight), as: quantization, scaleType: .bfloat16, scaling: scaling)
    #expect(rows.matrix().values.map(\.bitPattern) == one.dequantized().values.map(\.bitPattern))
    if one.scaleType == .bfloat16 {
      #expect(Tensor([one.scales.count], floats: one.scales, as: .bfloat16).floats() == one.scales)
    }
  }

  @Test(arguments: quantizations)
  func `zeros stay zeros, and weights that are not finite are not hidden`(quantization: WeightQuantization) {
    var weight = Self.weight(rows: 8, columns: 96)
    for column in 0..<96 { weight[2, column] = 0 }
    for scaling in [FloatScaling.largest, Self.leastError()] {
      let found = RoundToNearest.quantized(weight, as: quantization, scaleType: .float32, scaling: scaling)
      #expect(found.dequantized().row(2).allSatisfy { $0 == 0 } && found.scales.allSatisfy { $0 > 0 && $0.isFinite })
      for bad in [Float.nan, .infinity] {
        var damaged = weight
        damaged[5, 17] = bad
        let spoilt = RoundToNearest.quantized(damaged, as: quantization, scaleType: .float32, scaling: scaling)
        #expect(spoilt.scales.contains { !$0.isFinite })
      }
    }
  }

  @Test func `what the search gains on Gaussian weights`() {
    // Signal to noise, dB: what the description of the formats says of plain scales, and more by the search.
    let weight = Self.weight(rows: 256, columns: 512, seed: 3)
    let energy = weight.values.reduce(0.0) { $0 + Double($1) * Double($1) }
    func decibels(_ weights: WeightQuantization, _ scaling: FloatScaling) -> Double {
      let found = RoundToNearest.quantized(weight, as: weights, scaleType: .float32, scaling: scaling)
      return 10 * log10(energy / Self.error(weight, found))
    }
    for (scheme, plain, least) in [
      (QuantizationScheme.mxfp4, 18.8...19.3, 19), (.nvfp4, 20.2...20.6, 21.6), (.fp8Dynamic, 31.3...31.7, 32),
      (.fp8Block, 31.3...31.7, 31.6), (.fp8BlockPowers, 31.2...31.8, 31.2), (.mxfp8, 31.2...31.8, 31.2),
    ] {
      let before = decibels(scheme.weights, .largest)
      let after = decibels(scheme.weights, Self.leastError())
      #expect(plain.contains(before) && after >= least && after >= before, "\(scheme.name): \(before), \(after)")
    }
  }
}
