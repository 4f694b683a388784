import Kernels
import Quantization
import Tensors
import TestSupport
import Testing

/// Scales and zero points that are fitted to codes.
@Suite struct ScaleRefitTests {
  private static func fitted(
    _ item: FeedbackCase, _ quantization: WeightQuantization, scaleType: DType = .bfloat16,
    among reach: MomentFactor.Reach = .allChannels
  ) -> (before: QuantizedTensor, after: QuantizedTensor) {
    let rows = WeightRows(item.weight)
    let before = FeedbackRounding.rounded(
      RoundToNearest.quantized(item.weight, as: quantization, scaleType: scaleType), rows, factor: item.factor,
      channelFactors: nil)
    return (
      before, FeedbackRounding.fitted(before, rows, factor: item.factor, channelFactors: nil, among: reach)
    )
  }

  private static func refitted(_ item: FeedbackCase, _ quantization: WeightQuantization) -> QuantizedTensor {
    FeedbackRounding.refitted(
      RoundToNearest.quantized(item.weight, as: quantization, scaleType: .bfloat16), WeightRows(item.weight),
      factor: item.factor, channelFactors: nil)
  }

  // Factors above 256 channels are made of several blocks.
  @Test(arguments: [7, 100, 300], [DType.float32, .bfloat16])
  func `fitting never raises the expected error`(channels: Int, scaleType: DType) {
    let item = FeedbackCase(rows: 33, channels: channels, seed: 1)
    for isSymmetric in [true, false] {
      for (bits, size) in [(2, 32), (3, 43), (4, 128), (8, 32)] {
        let quantization = WeightQuantization(.int(bits: bits), .perGroup(size: size), isSymmetric: isSymmetric)
        let (before, after) = Self.fitted(item, quantization, scaleType: scaleType)
        #expect(after.codes == before.codes)
        let (old, new) = (item.losses(before.dequantized()), item.losses(after.dequantized()))
        for (old, new) in zip(old, new) { #expect(new <= old * 1.0001, "\(bits) bits: \(new), \(old)") }
        #expect(bits == 8 || new.reduce(0, +) < old.reduce(0, +), "\(bits) bits")
        let type = Tensor([after.scales.count], floats: after.scales, as: scaleType)
        #expect(type.floats() == after.scales, "scales are numbers of the stored type")
      }
    }
  }

  @Test(arguments: [1, 7, 100, 300])
  func `one group's scale is that of least squares`(channels: Int) {
    let item = FeedbackCase(rows: 9, channels: channels, seed: 2)
    let quantization = WeightQuantization(.int(bits: 3), .perChannel)
    let after = Self.fitted(item, quantization, scaleType: .float32).after
    let h = item.drawn
    for row in 0..<9 {
      let codes = (0..<channels).map { Double(Int8(bitPattern: after.codes[row * channels + $0])) }
      var (product, square) = (0.0, 0.0)
      for i in 0..<channels {
        for j in 0..<channels {
          let moment = codes[i] * h[i * channels + j]
          product += moment * Double(item.weight[row, j])
          square += moment * codes[j]
        }
      }
      let expected = product / square
      #expect(abs(Double(after.scales[row]) / expected - 1) < 1e-4, "\(after.scales[row]), \(expected)")
    }
  }

  @Test(arguments: [2, 3, 4, 8])
  func `zero points and codes stay in range`(bits: Int) throws {
    var item = FeedbackCase(rows: 24, channels: 100, seed: 3)
    // Rows of one sign have their zero point at an end of the range already.
    var weight = item.weight
    for row in 0..<24 {
      for column in 0..<100 {
        if row % 3 == 0 { weight[row, column] = abs(weight[row, column]) }
        if row % 3 == 1 { weight[row, column] = -abs(weight[row, column]) - 1 }
      }
    }
    item = FeedbackCase(weight: weight, moments: item.moments, shrinkage: item.shrinkage)
    let quantization = WeightQuantization(.int(bits: bits), .perGroup(size: 32), isSymmetric: false)
    let range = -(1 << (bits - 1))..<(1 << (bits - 1))
    var moved = 0
    let (before, once) = Self.fitted(item, quantization)
    for after in [
      once, Self.fitted(item, quantization, among: .channelsOfGroup).after, Self.refitted(item, quantization),
    ] {
      let (old, new) = (try #require(before.zeroPoints), try #require(after.zeroPoints))
      moved += zip(old, new).filter { $0 != $1 }.count
      #expect(new.allSatisfy { range.contains(Int($0)) })
      #expect(after.codes.allSatisfy { range.contains(Int(Int8(bitPattern: $0))) })
      #expect(after.scales.allSatisfy { $0 > 0 && $0.isFinite })
    }
    #expect(moved > 0, "or this shows nothing")
  }

  @Test func `what a group is fitted to by itself is what uncorrelated groups would be fitted to`() {
    // Moments between groups of 32 are 0, so that both mean the same.
    let item = FeedbackCase(rows: 12, channels: 96, seed: 4)
    var moments = item.moments
    for row in 0..<96 { for column in 0..<96 where row / 32 != column / 32 { moments[row * 96 + column] = 0 } }
    let apart = FeedbackCase(weight: item.weight, moments: moments, shrinkage: item.shrinkage)
    let quantization = WeightQuantization(.int(bits: 3), .perGroup(size: 32), isSymmetric: false)
    let (one, other) = (
      Self.fitted(apart, quantization).after, Self.fitted(apart, quantization, among: .channelsOfGroup).after
    )
    #expect(one.scales == other.scales && one.zeroPoints == other.zeroPoints)
    let together = Self.fitted(item, quantization, among: .channelsOfGroup).after
    #expect(together.scales != Self.fitted(item, quantization).after.scales, "or this shows nothing")
  }

  @Test func `fitting before and after rounding lowers the error`() {
    let item = FeedbackCase(rows: 64, channels: 128, seed: 4)
    let quantization = WeightQuantization(.int(bits: 3), .perGroup(size: 32), isSymmetric: false)
    let tensors = [Self.fitted(item, quantization).before, Self.refitted(item, quantization)]
    let losses = tensors.map { item.losses($0.dequantized()).reduce(0, +) }
    #expect(losses[1] < losses[0], "\(losses)")
  }

  @Test func `float formats are rounded once`() {
    let item = FeedbackCase(rows: 5, channels: 64, seed: 5)
    for format in [NumberFormat.float8E4M3, .float4E2M1] {
      let quantization = WeightQuantization(format, .perGroup(size: 16))
      let (before, after) = (Self.fitted(item, quantization).before, Self.refitted(item, quantization))
      #expect(after.codes == before.codes && after.scales == before.scales)
    }
  }
}
