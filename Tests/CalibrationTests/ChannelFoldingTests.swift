import Kernels
import Tensors
import TestSupport
import Testing

@testable import Calibration
@testable import Models

@Suite struct ChannelFoldingTests {
  /// Float32 sums of up to 96 terms in a few stages, each rounded to 2⁻²⁴: far less than the 2⁻⁹ of a bfloat16.
  static let floatRounding = 1e-5

  /// Factors between 1/30 and 30, anything but powers of two.
  private static func factors(_ count: Int) -> [Float] {
    var generator = SeededGenerator(seed: 77)
    return (0..<count).map { index in
      let factor = Float.random(in: 1..<30, using: &generator)
      return index % 2 == 0 ? factor : 1 / factor
    }
  }

  /// The folds of a decoder of separate projections: q, k, v; o; gate, up; down.
  static let folds = TinyLayer().layer.layout.folds

  private static func folding(
    _ fold: Fold, _ layer: DecoderLayer, _ type: DType, isQuantized: (String) -> Bool = { _ in true }
  ) throws -> ChannelFolding {
    var biases: [String: [Float]] = [:]
    for linear in layer.layout.linears { biases[linear.name] = try layer.linear(linear.name).bias }
    return ChannelFolding(fold, layer: layer, bias: { biases[$0] }, storedType: type, isQuantized: isQuantized)
  }

  private static func applied(
    _ folding: ChannelFolding, _ scales: [Float], to layer: DecoderLayer
  ) throws -> DecoderLayer {
    var layer = layer
    switch folding.fold.source {
    case .norm(let name): layer.norms[name]?.gains = folding.foldedPin(scales) ?? []
    case .rows(let name, _):
      let linear = try layer.linear(name)
      var weight = PreparedWeight(linear.rows, scheme: nil, storedType: .float32)
      weight.rowDivisors = folding.rowDivisors(scales, outFeatures: linear.outFeatures)
      try layer.set(name, weight.scaled.matrix(), bias: folding.foldedPin(scales, bias: linear.bias))
    }
    for name in folding.fold.linears {
      var weight = PreparedWeight(try layer.linear(name).rows, scheme: nil, storedType: .float32)
      weight.columnFactors = folding.columnFactors(scales)
      try layer.set(name, weight.scaled.matrix())
    }
    return layer
  }

  @Test func `the four folds of a gated decoder`() {
    #expect(
      Self.folds.map(\.title) == [
        "input_layernorm → q_proj, k_proj, v_proj", "v_proj → o_proj",
        "post_attention_layernorm → gate_proj, up_proj", "up_proj → down_proj",
      ])
  }

  // MARK: Traps 2 and 3

  @Test(arguments: folds, [DType.bfloat16, .float16, .float32])
  func `a folded layer computes the same, its biases too (traps 2 and 3)`(fold: Fold, type: DType) throws {
    let tiny = TinyLayer(type: type)
    let folding = try Self.folding(fold, tiny.layer, type)
    let wanted = Self.factors((folding.sourceChannel.max() ?? 0) + 1)
    let scales = folding.storable(wanted)
    let hidden = tiny.hiddenStates(40, seed: 3)
    let expected = try tiny.output(tiny.layer, hidden)
    let folded = try Self.applied(folding, scales, to: tiny.layer)
    #expect(try tiny.output(folded, hidden).distance(to: expected) < Self.floatRounding)
    // What is stored is storable, and the factors are near to those that were asked for.
    let pinned = try #require(folding.foldedPin(scales))
    #expect(Tensor([pinned.count], floats: pinned, as: type).floats() == pinned)
    #expect(zip(scales, wanted).allSatisfy { abs($0 / $1 - 1) <= 0x1p-7 })
    guard type == .bfloat16, case .norm = fold.source else { return }
    // Without the compensation the rounding of n / s would stay in the layer.
    let careless = try tiny.output(Self.applied(folding, wanted, to: tiny.layer), hidden).distance(to: expected)
    #expect(careless > 10 * Self.floatRounding, "\(careless)")
  }

  @Test(arguments: folds.dropFirst())
  func `a bias left undivided would change the layer (trap 3)`(fold: Fold) throws {
    guard fold.sourceName.hasSuffix("proj") else { return }
    let tiny = TinyLayer()
    let folding = try Self.folding(fold, tiny.layer, .bfloat16)
    let scales = folding.storable(Self.factors((folding.sourceChannel.max() ?? 0) + 1))
    var folded = try Self.applied(folding, scales, to: tiny.layer)
    try folded.set(fold.sourceName, bias: tiny.layer.linear(fold.sourceName).bias)
    let hidden = tiny.hiddenStates(40, seed: 3)
    let distance = try tiny.output(folded, hidden).distance(to: tiny.output(tiny.layer, hidden))
    #expect(distance > 1000 * Self.floatRounding, "\(distance)")
  }

  @Test func `a source without bias folds exactly as asked`() throws {
    var tiny = TinyLayer().layer
    var values = try tiny.linear("self_attn.v_proj")
    values.bias = nil
    tiny.replace("self_attn.v_proj", by: values)
    let folding = try Self.folding(Self.folds[1], tiny, .bfloat16)
    let wanted = Self.factors(32)
    #expect(folding.storable(wanted) == wanted)
    #expect(folding.foldedPin(wanted) == nil)
  }

  // MARK: Floats among the weights

  @Test(arguments: folds)
  func `weights that stay floats are folded exactly, by powers of two`(fold: Fold) throws {
    for kept in fold.linears + (fold.sourceName.hasSuffix("proj") ? [fold.sourceName] : []) {
      let tiny = TinyLayer()
      let folding = try Self.folding(fold, tiny.layer, .bfloat16) { $0 != kept }
      let wanted = Self.factors((folding.sourceChannel.max() ?? 0) + 1)
      let scales = folding.storable(wanted)
      for (scale, wanted) in zip(scales, wanted) {
        #expect(scale.significand == 1, "\(scale)")
        // The nearest power of two is within a factor of √2.
        #expect(max(scale / wanted, wanted / scale) <= 1.4143, "\(scale) for \(wanted)")
      }
      let folded = try Self.applied(folding, scales, to: tiny.layer)
      let weight = try folded.matrix(kept)
      let stored = Tensor([weight.values.count], floats: weight.values, as: .bfloat16).floats()
      #expect(stored == weight.values, "no bit is lost in \(kept)")
      let hidden = tiny.hiddenStates(40, seed: 3)
      #expect(try tiny.output(folded, hidden) == tiny.output(tiny.layer, hidden), "\(kept)")
    }
  }

  @Test func `where the stored type cannot hold the quotient, the channel stays as it was`() throws {
    var layer = TinyLayer(type: .float16).layer
    // Subnormal halves are multiples of 2⁻²⁴; the third is not even a half.
    layer.norms["input_layernorm"]?.gains.replaceSubrange(..<4, with: [3 * 0x1p-24, 3 * 0x1p-20, 1 + 0x1p-12, 0])
    let gains = try #require(layer.norms["input_layernorm"]).gains
    for quantizesAll in [true, false] {
      let folding = try Self.folding(Self.folds[0], layer, .float16) { _ in quantizesAll }
      let scales = folding.storable([Float](repeating: 16, count: 64))
      let pinned = try #require(folding.foldedPin(scales))
      for (index, norm) in gains.enumerated() {
        #expect(scales[index].isFinite && scales[index] > 0)
        let restored = pinned[index] * scales[index]
        if quantizesAll {
          #expect(abs(restored - norm) <= abs(norm) * 0x1p-23, "channel \(index)")
        } else {
          #expect(restored == norm && scales[index].significand == 1, "channel \(index)")
        }
      }
      #expect(scales[4...].allSatisfy { quantizesAll ? abs($0 / 16 - 1) <= 0x1p-10 : $0 == 16 })
      if !quantizesAll { #expect(scales[..<4] == [1, 16, 1, 16]) }
    }
  }

  // MARK: Grouped heads

  @Test(arguments: [[4, 4], [4, 2], [4, 1], [6, 2]])
  func `the copies of a repeated head share their factors`(heads: [Int]) throws {
    let (dimension, repeats) = (8, heads[0] / heads[1])
    let tiny = TinyLayer(heads: heads[0], keyValueHeads: heads[1], headDimension: dimension)
    let folding = try Self.folding(tiny.layer.layout.folds[1], tiny.layer, .bfloat16)
    #expect(folding.sourceChannel.count == heads[0] * dimension)
    for head in 0..<heads[0] {
      for channel in 0..<dimension {
        #expect(folding.sourceChannel[head * dimension + channel] == head / repeats * dimension + channel)
      }
    }
    let scales = folding.storable(Self.factors(heads[1] * dimension))
    let hidden = tiny.hiddenStates(20, seed: 4)
    let folded = try tiny.output(Self.applied(folding, scales, to: tiny.layer), hidden)
    #expect(try folded.distance(to: tiny.output(tiny.layer, hidden)) < Self.floatRounding)
  }

  @Test func `powers of two are the nearest by ratio`() {
    let expected: [(Float, Float)] = [(1, 1), (1.41, 1), (1.42, 2), (0.75, 1), (0.7, 0.5), (3, 4), (0.1, 0.125)]
    for (value, power) in expected { #expect(ChannelFolding.nearestPowerOfTwo(value) == power, "\(value)") }
  }
}
