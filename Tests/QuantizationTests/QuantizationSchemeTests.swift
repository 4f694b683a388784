import Foundation
import Quantization
import Tensors
import Testing

@Suite struct QuantizationSchemeTests {
  @Test(arguments: QuantizationScheme.all)
  func `a preset is found by its name in any case and with hyphens`(scheme: QuantizationScheme) {
    let name = scheme.name
    let hyphens = String(name.map { $0 == "_" ? "-" : $0 })
    for spelling in [name, name.lowercased(), hyphens, hyphens.lowercased(), name.capitalized] {
      #expect(QuantizationScheme.named(spelling) == scheme, "\(spelling)")
    }
  }

  @Test(arguments: ["", "W4", "W4A16 ", "W4A16ASYM", "FP8__BLOCK", "w4a16_asym_128", "Ｗ4A16"])
  func `other names are no presets`(name: String) {
    #expect(QuantizationScheme.named(name) == nil)
  }

  @Test func `there are integers of many sizes, with zero points and without`() {
    for bits in QuantizationScheme.integerBits {
      let (symmetric, asymmetric) = (
        QuantizationScheme.integers(bits: bits), QuantizationScheme.integers(bits: bits, isSymmetric: false)
      )
      #expect(symmetric.name == "W\(bits)A16" && asymmetric.name == "W\(bits)A16_ASYM")
      #expect(QuantizationScheme.all.contains(symmetric) && QuantizationScheme.all.contains(asymmetric))
      #expect(symmetric.weights.format == .int(bits: bits) && asymmetric.weights.format == .int(bits: bits))
      #expect(symmetric.weights.isSymmetric && !asymmetric.weights.isSymmetric)
      #expect(asymmetric.weights.granularity == .perGroup(size: 128))
      #expect(symmetric.weights.granularity == (bits == 8 ? .perChannel : .perGroup(size: 128)))
    }
    #expect(QuantizationScheme.integers(bits: 8) == .w8a16)
  }

  @Test func `other bits leave groups and zero points as they are`() {
    typealias Scheme = QuantizationScheme
    #expect(Scheme.w4a16Asymmetric.withBits(3) == .integers(bits: 3, isSymmetric: false))
    #expect(Scheme.w4a16.withGroupSize(32).withBits(6) == .integers(bits: 6).withGroupSize(32))
    #expect(Scheme.w4a16.withGroupSize(nil).withBits(5) == .integers(bits: 5).withGroupSize(nil))
    #expect(Scheme.w4a16.withGroupSize(32).withBits(8) == .w8a16, "which has no groups")
    #expect(Scheme.w8a16.withBits(4) == .w4a16, "a scale a row was not chosen")
    #expect(Scheme.w4a16Asymmetric.withGroupSize(64).withBits(8)?.hasGroups == true)
    for scheme in [Scheme.fp8, .fp8Block, .entropyCoded(bits: 4)] { #expect(scheme.withBits(4) == nil) }
  }

  @Test func `names of presets differ`() {
    #expect(Set(QuantizationScheme.all.map(\.name)).count == QuantizationScheme.all.count)
  }

  @Test func `a group size replaces the preset's, and none is the whole row`() {
    let small = QuantizationScheme.w4a16Asymmetric.withGroupSize(32)
    #expect(small.weights == WeightQuantization(.int(bits: 4), .perGroup(size: 32), isSymmetric: false))
    #expect(small.name == "W4A16_ASYM" && small.hasGroups)
    let row = QuantizationScheme.w4a16.withGroupSize(nil)
    #expect(row.weights == WeightQuantization(.int(bits: 4), .perChannel) && !row.hasGroups)
  }

  @Test(arguments: [QuantizationScheme.w8a16, .fp8, .fp8Dynamic, .fp8Block])
  func `schemes without groups have no group size to change`(scheme: QuantizationScheme) {
    #expect(!scheme.hasGroups)
    #expect(scheme.withGroupSize(32) == scheme && scheme.withGroupSize(nil) == scheme)
  }

  @Test func `float8 takes eight bits, float4 four, and integers as many as they say`() {
    #expect(NumberFormat.float8E4M3.bitWidth == 8 && NumberFormat.float4E2M1.bitWidth == 4)
    #expect((2...8).map { NumberFormat.int(bits: $0).bitWidth } == Array(2...8))
  }

  struct GridCase: CustomTestStringConvertible, Sendable {
    let granularity: Granularity
    let shape: [Int]
    let scales: [Int]
    let rectangle: [Int]
    var testDescription: String { "\(granularity) of \(shape)" }
  }

  @Test(arguments: [
    GridCase(granularity: .perTensor, shape: [17, 172], scales: [1, 1], rectangle: [17, 172]),
    GridCase(granularity: .perChannel, shape: [17, 172], scales: [17, 1], rectangle: [1, 172]),
    GridCase(granularity: .perGroup(size: 128), shape: [17, 256], scales: [17, 2], rectangle: [1, 128]),
    GridCase(granularity: .perGroup(size: 128), shape: [17, 172], scales: [17, 2], rectangle: [1, 128]),
    GridCase(granularity: .perGroup(size: 128), shape: [3, 64], scales: [3, 1], rectangle: [1, 64]),
    GridCase(granularity: .perGroup(size: 1), shape: [2, 3], scales: [2, 3], rectangle: [1, 1]),
    GridCase(
      granularity: .perBlock(rows: 64, columns: 128), shape: [256, 128], scales: [4, 1], rectangle: [64, 128]),
    GridCase(granularity: .perBlock(rows: 16, columns: 32), shape: [40, 80], scales: [3, 3], rectangle: [16, 32]),
    GridCase(granularity: .perBlock(rows: 128, columns: 128), shape: [17, 1], scales: [1, 1], rectangle: [128, 128]),
    GridCase(granularity: .perTensor, shape: [0, 0], scales: [0, 0], rectangle: [1, 1]),
    GridCase(granularity: .perGroup(size: 8), shape: [2, 0], scales: [2, 0], rectangle: [1, 1]),
  ])
  func `a scale grid covers the matrix, ragged at its edges`(example: GridCase) {
    let grid = ScaleGrid(example.granularity, outFeatures: example.shape[0], inFeatures: example.shape[1])
    #expect([grid.rowGroups, grid.columnGroups] == example.scales)
    #expect([grid.rowsPerScale, grid.columnsPerScale] == example.rectangle)
    #expect(grid.count == example.scales[0] * example.scales[1])
    #expect(grid.rowGroups * grid.rowsPerScale >= example.shape[0])
    #expect((grid.columnGroups - 1) * grid.columnsPerScale < max(1, example.shape[1]))
  }

  @Test func `bits are counted by the widths of codes, scales and zero points`() {
    let symmetric = QuantizedTensor(
      WeightQuantization(.int(bits: 4), .perGroup(size: 2)), outFeatures: 3, inFeatures: 5,
      codes: [UInt8](repeating: 0, count: 15), scales: [Float](repeating: 1, count: 9), scaleType: .bfloat16,
      zeroPoints: nil)
    #expect(symmetric.bitCount == 15 * 4 + 9 * 16)
    let asymmetric = QuantizedTensor(
      WeightQuantization(.int(bits: 4), .perGroup(size: 2), isSymmetric: false), outFeatures: 3, inFeatures: 5,
      codes: symmetric.codes, scales: symmetric.scales, scaleType: .float32,
      zeroPoints: [Int8](repeating: 0, count: 9))
    #expect(asymmetric.bitCount == 15 * 4 + 9 * (32 + 4))
  }
}
