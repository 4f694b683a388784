import CKernels
import Kernels
import Quantization
import Tensors
import TestSupport
import Testing

@Suite(.serialized) struct FeedbackRoundingTests {
  static let formats: [WeightQuantization] = [
    WeightQuantization(.int(bits: 4), .perGroup(size: 32)),
    WeightQuantization(.int(bits: 4), .perGroup(size: 32), isSymmetric: false),
    // The last group has 100 − 2 · 43 columns.
    WeightQuantization(.int(bits: 3), .perGroup(size: 43), isSymmetric: false),
    WeightQuantization(.int(bits: 8), .perChannel),
    WeightQuantization(.int(bits: 2), .perGroup(size: 16)),
    WeightQuantization(.float8E4M3, .perChannel),
    WeightQuantization(.float8E4M3, .perBlock(rows: 5, columns: 48)),
    WeightQuantization(.float8E4M3, .perTensor),
    WeightQuantization(.float4E2M1, .perGroup(size: 16)),
  ]

  private static func rounded(
    _ item: FeedbackCase, _ quantization: WeightQuantization, factors: [Float]? = nil
  ) -> (plain: QuantizedTensor, fedBack: QuantizedTensor) {
    let plain = RoundToNearest.quantized(item.weight, as: quantization, scaleType: .bfloat16)
    return (
      plain,
      FeedbackRounding.rounded(plain, WeightRows(item.weight), factor: item.factor, channelFactors: factors)
    )
  }

  /// Every weight is the number nearest to what GPTQ asks for, given what was rounded before it.
  private static func check(_ item: FeedbackCase, _ tensor: QuantizedTensor) {
    let values = tensor.dequantized()
    let targets = item.targets(values)
    let numbers = tensor.numbers
    var largest = 0.0
    for row in 0..<values.rows {
      for column in 0..<values.columns {
        let cell = tensor.cell(row, column)
        let (scale, zero) = (Double(tensor.scales[cell]), Double(tensor.zeroPoints?[cell] ?? 0))
        let wanted = targets[row][column] / scale + zero
        let nearest = numbers.map { abs(Double($0) - wanted) }.min() ?? 0
        let found = abs(Double(values[row, column]) / scale + zero - wanted)
        largest = max(largest, (found - nearest) / max(1, abs(wanted)))
      }
    }
    // Of two numbers as near as floats can tell, either will do.
    #expect(largest < 1e-3, "\(largest) steps farther than the nearest number")
  }

  // Blocks have 64 places, tiles 32 rows.
  @Test(arguments: formats)
  func `columns are rounded as the textbook's GPTQ in the same order`(quantization: WeightQuantization) {
    let item = FeedbackCase(rows: 37, channels: 100, seed: 2)
    let (plain, fedBack) = Self.rounded(item, quantization)
    Self.check(item, fedBack)
    #expect(fedBack.codes != plain.codes && fedBack.scales == plain.scales && fedBack.zeroPoints == plain.zeroPoints)
    #expect(fedBack.quantization == quantization && fedBack.scaleType == .bfloat16)
  }

  @Test(arguments: [1, 2, 63, 64, 65, 200])
  func `any number of columns`(channels: Int) {
    let item = FeedbackCase(rows: 3, channels: channels, seed: 3)
    Self.check(item, Self.rounded(item, Self.formats[1]).fedBack)
  }

  @Test(arguments: formats)
  func `inputs that have nothing to do with each other round to nearest, bit for bit`(quantization: WeightQuantization)
  {
    var generator = SeededGenerator(seed: 4)
    var weight = Matrix(rows: 23, columns: 100, values: generator.normals(2300))
    for column in 0..<100 {
      weight[1, column] = abs(weight[1, column]) + 1
      weight[2, column] = -abs(weight[2, column])
      weight[3, column] = column % 2 == 0 ? 0 : -0.0
      // Halves of a step, which round to even.
      weight[4, column] = Float(column % 16 - 8) + 0.5
    }
    var moments = [Float](repeating: 0, count: 100 * 100)
    for channel in 0..<100 { moments[channel * 101] = abs(generator.normal()) }
    let (plain, fedBack) = Self.rounded(FeedbackCase(weight: weight, moments: moments, shrinkage: 0.1), quantization)
    #expect(fedBack.codes == plain.codes)
    #expect(fedBack.dequantized().values.map(\.bitPattern) == plain.dequantized().values.map(\.bitPattern))
    // Drawn to the diagonal altogether, any inputs are like that.
    let drawn = Self.rounded(FeedbackCase(rows: 9, channels: 100, shrinkage: 1), quantization)
    #expect(drawn.fedBack.codes == drawn.plain.codes)
  }

  @Test(arguments: formats)
  func `the expected error is lower than rounding to nearest leaves`(quantization: WeightQuantization) {
    let item = FeedbackCase(rows: 40, channels: 100, seed: 5)
    let (plain, fedBack) = Self.rounded(item, quantization)
    let (before, after) = (
      item.losses(plain.dequantized()).reduce(0, +), item.losses(fedBack.dequantized()).reduce(0, +)
    )
    #expect(after < 0.8 * before, "\(after), \(before)")
  }

  @Test(arguments: [formats[1], formats[5], formats[8]])
  func `channel factors are as if weights and moments were scaled`(quantization: WeightQuantization) {
    let item = FeedbackCase(rows: 8, channels: 100, seed: 6)
    // Powers of two, which round nothing, and leave the order as it is.
    var factors = [Float](repeating: 1, count: 100)
    for (place, channel) in item.factor.order.enumerated() { factors[channel] = place < 30 ? 4 : place < 70 ? 1 : 0.5 }
    var (weight, moments) = (item.weight, item.moments)
    for row in 0..<8 { for column in 0..<100 { weight[row, column] *= factors[column] } }
    for row in 0..<100 { for column in 0..<100 { moments[row * 100 + column] /= factors[row] * factors[column] } }
    let scaled = FeedbackCase(weight: weight, moments: moments, shrinkage: item.shrinkage)
    #expect(scaled.factor.order == item.factor.order)
    let plain = RoundToNearest.quantized(weight, as: quantization, scaleType: .bfloat16)
    let found = FeedbackRounding.rounded(plain, WeightRows(weight), factor: item.factor, channelFactors: factors)
    let expected = FeedbackRounding.rounded(plain, WeightRows(weight), factor: scaled.factor, channelFactors: nil)
    #expect(found.codes == expected.codes && found.codes != plain.codes)
    let refit = FeedbackRounding.refitted(plain, WeightRows(weight), factor: item.factor, channelFactors: factors)
    let same = FeedbackRounding.refitted(plain, WeightRows(weight), factor: scaled.factor, channelFactors: nil)
    #expect(refit.codes == same.codes && refit.scales == same.scales && refit.zeroPoints == same.zeroPoints)
  }

  @Test(arguments: [formats[0], formats[1], formats[5], formats[8]])
  func `channels that are always 0 round to nearest and harm no other`(quantization: WeightQuantization) {
    let dead: Set = [0, 17, 64, 99]
    let item = FeedbackCase(rows: 9, channels: 100, dead: dead, seed: 7)
    let (plain, fedBack) = Self.rounded(item, quantization)
    for row in 0..<9 {
      for column in dead { #expect(fedBack.codes[row * 100 + column] == plain.codes[row * 100 + column]) }
    }
    Self.check(item, fedBack)
    let refit = FeedbackRounding.refitted(plain, WeightRows(item.weight), factor: item.factor, channelFactors: nil)
    #expect(refit.dequantized().firstNonFinite == nil && refit.scales.allSatisfy { $0 > 0 })
    // Nothing but dead channels: there is nothing to make good, and nothing to fit.
    let silent = FeedbackCase(
      weight: item.weight, moments: [Float](repeating: 0, count: 100 * 100), shrinkage: 0.1)
    let (nearest, found) = Self.rounded(silent, quantization)
    #expect(found.codes == nearest.codes)
    let fitted = FeedbackRounding.refitted(nearest, WeightRows(item.weight), factor: silent.factor, channelFactors: nil)
    #expect(fitted.codes == nearest.codes && fitted.scales == nearest.scales)
  }

  @Test func `the losses are those of the codes`() throws {
    let item = FeedbackCase(rows: 6, channels: 100, seed: 8)
    let (plain, fedBack) = Self.rounded(item, Self.formats[0])
    var grid = MomentFactor.Grid(
      kind: ck_feedback_int, cells: (0..<100).map { Int32($0 / 32) }, cellCount: 4, deviations: item.factor.deviations)
    (grid.lowest, grid.highest) = (-8, 7)
    var codes = [Int32](repeating: 0, count: 600)
    var found = [Double](repeating: 0, count: 6)
    item.factor.round(
      item.weight.values, rows: 6, grid, scales: plain.scales, zeros: nil, codes: &codes, losses: &found)
    #expect(codes.map { UInt8(truncatingIfNeeded: $0) } == fedBack.codes)
    for (found, expected) in zip(found, item.losses(fedBack.dequantized())) {
      #expect(abs(found / expected - 1) < 1e-4, "\(found), \(expected)")
    }
  }

  @Test(arguments: formats)
  func `a factor of uncorrelated channels does as one of diagonal moments`(quantization: WeightQuantization) throws {
    var generator = SeededGenerator(seed: 10)
    let weight = Matrix(rows: 7, columns: 100, values: generator.normals(700))
    // Ascending, so that both have the same order; the first channel was always 0.
    let squares = (0..<100).map { Float($0 * $0) / 16 }
    var moments = [Float](repeating: 0, count: 100 * 100)
    for (channel, square) in squares.enumerated() { moments[channel * 101] = square }
    let diagonal = try #require(MomentFactor(moments, channels: 100, shrinkage: 0.1))
    let uncorrelated = MomentFactor(uncorrelated: squares.map { $0.squareRoot() })
    #expect(diagonal.order == uncorrelated.order && diagonal.deviations == uncorrelated.deviations)
    let plain = RoundToNearest.quantized(weight, as: quantization, scaleType: .bfloat16)
    let rounded = FeedbackRounding.rounded(plain, WeightRows(weight), factor: uncorrelated, channelFactors: nil)
    #expect(rounded.codes == plain.codes)
    let (one, two) = (
      FeedbackRounding.refitted(plain, WeightRows(weight), factor: diagonal, channelFactors: nil),
      FeedbackRounding.refitted(plain, WeightRows(weight), factor: uncorrelated, channelFactors: nil)
    )
    #expect(one.codes == two.codes && one.scales == two.scales && one.zeroPoints == two.zeroPoints)
    let step = Float(0.1)
    let (first, second) = (
      EntropyRounding.estimate(weight, outFeatures: 7, factor: diagonal, step: step, rowWeights: nil),
      EntropyRounding.estimate(weight, outFeatures: 7, factor: uncorrelated, step: step, rowWeights: nil)
    )
    #expect(first.loss == second.loss && first.loss > 0 && first.bitsPerWeight == second.bitsPerWeight)
  }

  @Test func `codes and scales are the same for any number of threads`() {
    let item = FeedbackCase(rows: 150, channels: 70, seed: 9)
    let before = Parallel.threads
    defer { Parallel.threads = before }
    func run() -> [[UInt32]] {
      [Self.formats[1], Self.formats[6]].map { quantization in
        let plain = RoundToNearest.quantized(item.weight, as: quantization, scaleType: .bfloat16)
        let tensor = FeedbackRounding.refitted(
          plain, WeightRows(item.weight), factor: item.factor, channelFactors: nil)
        return tensor.codes.map { UInt32($0) } + tensor.scales.map(\.bitPattern)
          + (tensor.zeroPoints ?? []).map { UInt32(UInt8(bitPattern: $0)) }
      }
    }
    let expected = run()
    for threads in [1, 2, 3, 7] {
      Parallel.threads = threads
      #expect(run() == expected, "\(threads) threads")
    }
  }
}
