import Kernels
import Quantization
import Tensors
import TestSupport
import Testing

@testable import Calibration

/// A linear whose inputs have a falling spectrum, means, and a few loud channels.
struct LoudLinear {
  let weight: Matrix
  let x: Matrix
  let statistics: InputStatistics

  init(
    rows: Int = 64, channels: Int = 128, tokens: Int = 4096, groupSize: Int = 32, loud: [Int] = [5, 37, 70, 101],
    seed: UInt64 = 1
  ) {
    var generator = SeededGenerator(seed: seed)
    weight = Matrix(rows: rows, columns: channels, values: generator.normals(rows * channels))
    var x = Matrix(rows: tokens, columns: channels, values: generator.normals(tokens * channels))
    for channel in 0..<channels {
      let spread = 1 / Float(channel + 1).squareRoot() * (loud.contains(channel) ? 40 : 1)
      let mean = channel % 3 == 0 ? spread : 0
      for token in 0..<tokens { x[token, channel] = x[token, channel] * spread + mean }
    }
    self.x = x
    var statistics = InputStatistics(channels: channels, groupSize: groupSize)
    statistics.add(x)
    self.statistics = statistics
  }

  func search(_ quantization: WeightQuantization, scaleType: DType = .bfloat16) -> ScaleSearch {
    ScaleSearch(
      quantizations: [quantization], scaleType: scaleType, weights: [WeightRows(weight)], statistics: statistics,
      sourceChannel: Array(0..<weight.columns))
  }

  /// ΔW of rounding with the final quantizer under channel factors.
  func change(_ scales: [Float], _ quantization: WeightQuantization, scaleType: DType = .bfloat16) -> Matrix {
    var scaled = weight
    for index in scaled.values.indices { scaled.values[index] *= scales[index % weight.columns] }
    var change = RoundToNearest.quantized(scaled, as: quantization, scaleType: scaleType).dequantized()
    for index in change.values.indices {
      change.values[index] = change.values[index] / scales[index % weight.columns] - weight.values[index]
    }
    return change
  }

  /// Mean over tokens of the squared change of the output.
  func exactError(_ scales: [Float], _ quantization: WeightQuantization, scaleType: DType = .bfloat16) -> Double {
    let output = MatrixProduct.product(x, transposed: change(scales, quantization, scaleType: scaleType))
    return output.values.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(x.rows)
  }
}

@Suite(.serialized) struct ScaleSearchTests {
  static let quantizations = [
    WeightQuantization(.int(bits: 4), .perGroup(size: 32)),
    WeightQuantization(.int(bits: 4), .perGroup(size: 32), isSymmetric: false),
    WeightQuantization(.int(bits: 4), .perGroup(size: 86), isSymmetric: false),
    WeightQuantization(.int(bits: 3), .perChannel, isSymmetric: false),
  ]

  /// Covariances of 4096 independent tokens that means and variances leave out.
  static let surrogateTolerance = 0.05
  /// Float32 sums of a few thousand terms.
  static let sumRounding = 1e-4

  private static func scales(_ linear: LoudLinear, alpha: Double) -> [Float] {
    ScaleSearch.candidate(
      ScaleSearch.floored(linear.statistics.magnitudes), [Float](repeating: 1, count: linear.weight.columns),
      alpha: alpha, usesWeights: false)
  }

  @Test(arguments: quantizations)
  func `the expected error is the error on the activations, and is lowest at the same place`(
    quantization: WeightQuantization
  ) {
    let linear = LoudLinear()
    let search = linear.search(quantization)
    var (expected, exact): ([Double], [Double]) = ([], [])
    for alpha in stride(from: 0, through: 1, by: 0.05) {
      let scales = Self.scales(linear, alpha: alpha)
      expected.append(search.error(scales))
      exact.append(linear.exactError(scales, quantization))
    }
    for (expected, exact) in zip(expected, exact) {
      #expect(abs(expected / exact - 1) < Self.surrogateTolerance, "\(expected), \(exact)")
    }
    let chosen = expected.indices.min { expected[$0] < expected[$1] } ?? 0
    #expect(exact[chosen] <= (exact.min() ?? 0) * 1.02, "at most 2 % above the lowest exact error")
    #expect((exact.min() ?? 0) < 0.7 * exact[0], "the curve is not flat, or this shows nothing")
  }

  @Test(arguments: quantizations, [DType.bfloat16, .float16, .float32])
  func `the search rounds as the final quantizer does, stored scales included (trap 7)`(
    quantization: WeightQuantization, type: DType
  ) {
    let linear = LoudLinear(tokens: 200)
    for alpha in [0, 0.4, 1] {
      let scales = Self.scales(linear, alpha: alpha)
      let change = linear.change(scales, quantization, scaleType: type)
      var expected = 0.0
      for row in 0..<change.rows {
        var shift = 0.0
        for (column, delta) in change.row(row).enumerated() {
          expected += Double(linear.statistics.variances[column]) * Double(delta) * Double(delta)
          shift += Double(linear.statistics.means[column]) * Double(delta)
        }
        expected += shift * shift
      }
      let found = linear.search(quantization, scaleType: type).error(scales)
      #expect(abs(found / expected - 1) < Self.sumRounding, "alpha \(alpha)")
    }
  }

  @Test(arguments: quantizations)
  func `scales that beat none are found where channels are loud`(quantization: WeightQuantization) {
    let linear = LoudLinear()
    let search = linear.search(quantization)
    let found = search.run { $0 }
    #expect(found.relativeError < 0.7, "\(found.relativeError)")
    let identity = [Float](repeating: 1, count: 128)
    #expect(found.relativeError == search.error(found.scales) / search.error(identity))
    let exact = linear.exactError(found.scales, quantization) / linear.exactError(identity, quantization)
    #expect(exact < 0.7, "\(exact)")
    // Loud channels are scaled up, since their steps count most.
    let median = found.scales.sorted()[64]
    #expect([5, 37, 70, 101].allSatisfy { found.scales[$0] > median })
    // No point of a fine grid is much better.
    let best = (1...50).map { search.error(Self.scales(linear, alpha: Double($0) / 50)) }.min() ?? 0
    #expect(search.error(found.scales) <= best * 1.01)
  }

  // MARK: Trap 5

  @Test func `no scaling is among the candidates, so that nothing gets worse (trap 5)`() {
    let linear = LoudLinear(tokens: 200)
    let search = linear.search(Self.quantizations[0])
    // Whatever is proposed, harmful factors come out of it.
    let found = search.run { scales in scales.indices.map { $0 % 2 == 0 ? 1000 : 0.001 } }
    #expect(found.relativeError == 1 && found.alpha == 0 && !found.usesWeights)
    #expect(found.scales == [Float](repeating: 1, count: 128))
  }

  @Test func `weights without rounding error are left alone`() {
    // Each group holds −8 … 7, so that asymmetric rounding is exact.
    let steps: [Int] = (0..<8192).map { index in index * 5 % 16 - 8 }
    let values = steps.map { Float($0) * 0.125 }
    let linear = LoudLinear(tokens: 100)
    let search = ScaleSearch(
      quantizations: [Self.quantizations[1]], scaleType: .bfloat16,
      weights: [WeightRows(Matrix(rows: 64, columns: 128, values: values))], statistics: linear.statistics,
      sourceChannel: Array(0..<128))
    let found = search.run { $0 }
    #expect(found.relativeError == 1 && found.scales.allSatisfy { $0 == 1 })
  }

  @Test func `what can be stored is what is measured`() {
    let linear = LoudLinear(tokens: 200)
    let search = linear.search(Self.quantizations[0])
    let found = search.run { $0.map(ChannelFolding.nearestPowerOfTwo) }
    #expect(found.scales.allSatisfy { $0.significand == 1 })
    #expect(found.relativeError < 0.8)
    #expect(found.relativeError == search.error(found.scales) / search.error([Float](repeating: 1, count: 128)))
  }

  // MARK: Trap 6

  @Test(arguments: [1, 40, 100])
  func `dead channels do not move the other scales (trap 6)`(dead: Int) {
    var generator = SeededGenerator(seed: 3)
    let alive = (0..<128).map { _ in Float.random(in: 0.5..<20, using: &generator) }
    let spoilt = alive.enumerated().map { $0 < dead ? 0 : $1 }
    for alpha in [0.25, 0.5, 1] {
      for usesWeights in [false, true] {
        func scales(_ magnitudes: [Float]) -> [Float] {
          ScaleSearch.candidate(
            ScaleSearch.floored(magnitudes), [Float](repeating: 0.3, count: 128), alpha: alpha,
            usesWeights: usesWeights)
        }
        let (with, without) = (scales(spoilt), scales(alive))
        // One factor for all changes nothing; between the channels nothing may change.
        let ratio = with[127] / without[127]
        for channel in dead..<128 {
          #expect(abs(with[channel] / without[channel] / ratio - 1) < 1e-5, "channel \(channel), alpha \(alpha)")
        }
        // The common factor stays small: the floor is a hundredth of the median.
        #expect((0.1...10).contains(ratio), "\(ratio)")
        #expect(with.allSatisfy { $0 > 1e-3 && $0 < 1e3 })
      }
    }
    #expect(ScaleSearch.floored([0, 0, 0]) == [1, 1, 1])
  }

  @Test func `a search over many dead channels still helps`() {
    // Two thirds of the channels never speak, as after a sparse activation.
    var linear = LoudLinear(tokens: 400)
    var x = linear.x
    for token in 0..<x.rows { for channel in 0..<128 where channel % 3 != 2 { x[token, channel] = 0 } }
    var statistics = InputStatistics(channels: 128, groupSize: 32)
    statistics.add(x)
    linear = LoudLinear(tokens: 400)
    let search = ScaleSearch(
      quantizations: [Self.quantizations[0]], scaleType: .bfloat16, weights: [WeightRows(linear.weight)],
      statistics: statistics,
      sourceChannel: Array(0..<128))
    let found = search.run { $0 }
    #expect(found.relativeError < 0.6, "\(found.relativeError)")
  }

  // MARK: Trap 12

  @Test func `one sink token does not decide the scales (trap 12)`() {
    let linear = LoudLinear(tokens: 512)
    var x = linear.x
    // One channel of one token a thousand times as loud as any, as attention sinks are.
    for channel in 0..<128 { x[0, channel] = channel == 90 ? 4000 : 0 }
    var statistics = InputStatistics(channels: 128, groupSize: 32)
    statistics.add(x)
    let search = ScaleSearch(
      quantizations: [Self.quantizations[1]], scaleType: .bfloat16, weights: [WeightRows(linear.weight)],
      statistics: statistics,
      sourceChannel: Array(0..<128))
    let (with, without) = (search.run { $0 }, linear.search(Self.quantizations[1]).run { $0 })
    #expect(abs(with.alpha - without.alpha) <= 0.15, "\(with.alpha), \(without.alpha)")
    let errors = [with, without].map { linear.exactError($0.scales, Self.quantizations[1]) }
    #expect(errors[0] <= errors[1] * 1.05, "the error of ordinary tokens is that of scales without the sink")
    #expect(with.scales[90] < 3 * without.scales[90], "\(with.scales[90]), \(without.scales[90])")
  }

  // MARK: Shapes

  @Test(arguments: [[172, 128], [43, 32], [96, 128], [600, 1000]])
  func `widths that the group does not divide are searched (trap 10)`(extents: [Int]) {
    let linear = LoudLinear(rows: 24, channels: extents[0], tokens: 300, loud: [1, 40], seed: 9)
    for isSymmetric in [true, false] {
      let quantization = WeightQuantization(.int(bits: 4), .perGroup(size: extents[1]), isSymmetric: isSymmetric)
      let found = linear.search(quantization).run { $0 }
      #expect(found.relativeError < 0.9 && found.scales.count == extents[0])
      let identity = [Float](repeating: 1, count: extents[0])
      let exact = linear.exactError(found.scales, quantization) / linear.exactError(identity, quantization)
      #expect(exact < 0.95, "\(exact)")
    }
  }

  @Test func `channels that share a source share a factor`() {
    let linear = LoudLinear()
    // Four query heads of 32 channels over two key-value heads.
    let source = (0..<128).map { $0 / 64 * 32 + $0 % 32 }
    let search = ScaleSearch(
      quantizations: [Self.quantizations[0]], scaleType: .bfloat16, weights: [WeightRows(linear.weight)],
      statistics: linear.statistics, sourceChannel: source)
    let found = search.run { $0 }
    #expect(found.scales.count == 64 && found.relativeError < 1)
    let expanded = source.map { found.scales[$0] }
    let identity = [Float](repeating: 1, count: 128)
    let exact =
      linear.exactError(expanded, Self.quantizations[0]) / linear.exactError(identity, Self.quantizations[0])
    #expect(abs(exact - found.relativeError) < Self.surrogateTolerance)
  }

  @Test func `several linears are searched together, floats do not count`() {
    let linear = LoudLinear()
    let other = LoudLinear(rows: 16, seed: 5)
    let quantizations = [Self.quantizations[0], WeightQuantization(.float8E4M3, .perChannel), Self.quantizations[1]]
    let search = ScaleSearch(
      quantizations: quantizations, scaleType: .bfloat16,
      weights: [linear.weight, linear.weight, other.weight].map { WeightRows($0) },
      statistics: linear.statistics, sourceChannel: Array(0..<128))
    let scales = Self.scales(linear, alpha: 0.5)
    let second = ScaleSearch(
      quantizations: [quantizations[2]], scaleType: .bfloat16, weights: [WeightRows(other.weight)],
      statistics: linear.statistics, sourceChannel: Array(0..<128))
    #expect(search.error(scales) == linear.search(quantizations[0]).error(scales) + second.error(scales))
  }

  @Test func `the result does not depend on threads, nor on the run`() {
    let linear = LoudLinear(tokens: 300)
    let search = linear.search(Self.quantizations[1])
    let threads = Parallel.threads
    defer { Parallel.threads = threads }
    let results = [1, 2, 3, 7, 2].map { count in
      Parallel.threads = count
      let found = search.run { $0 }
      return found.scales.map(\.bitPattern) + [Float(found.relativeError).bitPattern]
    }
    #expect(Set(results).count == 1)
  }
}
