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

  private static func applied(_ folding: ChannelFolding, _ scales: [Float], to layer: DecoderLayer) -> DecoderLayer {
    var layer = layer
    switch folding.fold.source {
    case .norm(let name): layer[norm: name] = folding.foldedPin(scales) ?? []
    case .linear(let name), .valueHeads(let name):
      layer[linear: name].weight = .matrix(folding.divided(layer.matrix(name), by: scales))
      layer[linear: name].bias = folding.foldedPin(scales)
    }
    for name in folding.fold.linears {
      layer[linear: name].weight = .matrix(folding.multiplied(layer.matrix(name), by: scales))
    }
    return layer
  }

  // MARK: Trap 1

  @Test(arguments: Architecture.all.map(\.modelTypes[0]))
  func `a fold reaches every linear that reads its source (trap 1)`(family: String) throws {
    let architecture = try #require(Architecture.all.first { $0.modelTypes[0] == family })
    let tiny = TinyLayer()
    var hidden = tiny.hiddenStates(5, seed: 2)
    var readers: [(input: Matrix, names: [String])] = []
    let normalized = hidden.rmsNormalized(weight: tiny.layer.inputNorm, epsilon: tiny.layer.normEpsilon)
    tiny.layer(&hidden, sequences: Sequences(lengths: [5]), rotary: tiny.rotary) { name, input, _ in
      if let index = readers.firstIndex(where: { $0.input == input }) {
        readers[index].names.append(name)
      } else {
        readers.append((input, [name]))
      }
    }
    #expect(readers.count == 4 && readers[0].input == normalized)
    for fold in architecture.folds {
      #expect(readers.contains { Set($0.names) == Set(fold.linears) }, "\(fold.title)")
    }
    #expect(Set(architecture.folds.flatMap(\.linears)).count == architecture.folds.flatMap(\.linears).count)
  }

  @Test(arguments: Architecture.all.map(\.modelTypes[0]))
  func `nothing is divided before the rotation, nor beyond the layer (trap 9)`(family: String) throws {
    let architecture = try #require(Architecture.all.first { $0.modelTypes[0] == family })
    for fold in architecture.folds {
      switch fold.source {
      case .norm(let name): #expect(["input_layernorm", "post_attention_layernorm"].contains(name))
      case .valueHeads(let name): #expect(name == "self_attn.v_proj")
      case .linear(let name): #expect(name == "mlp.up_proj")
      }
    }
  }

  // MARK: Traps 2 and 3

  @Test(arguments: Fold.gatedDecoder, [DType.bfloat16, .float16, .float32])
  func `a folded layer computes the same, its biases too (traps 2 and 3)`(fold: Fold, type: DType) throws {
    let tiny = TinyLayer(type: type)
    let folding = ChannelFolding(fold, layer: tiny.layer, storedType: type) { _ in true }
    let wanted = Self.factors((folding.sourceChannel.max() ?? 0) + 1)
    let scales = folding.storable(wanted)
    let hidden = tiny.hiddenStates(40, seed: 3)
    let expected = tiny.output(tiny.layer, hidden)
    let folded = Self.applied(folding, scales, to: tiny.layer)
    #expect(tiny.output(folded, hidden).distance(to: expected) < Self.floatRounding)
    // What is stored is storable, and the factors are near to those that were asked for.
    let pinned = try #require(folding.foldedPin(scales))
    #expect(Tensor([pinned.count], floats: pinned, as: type).floats() == pinned)
    #expect(zip(scales, wanted).allSatisfy { abs($0 / $1 - 1) <= 0x1p-7 })
    guard type == .bfloat16, case .norm = fold.source else { return }
    // Without the compensation the rounding of n / s would stay in the layer.
    let careless = tiny.output(Self.applied(folding, wanted, to: tiny.layer), hidden).distance(to: expected)
    #expect(careless > 10 * Self.floatRounding, "\(careless)")
  }

  @Test(arguments: Fold.gatedDecoder.dropFirst())
  func `a bias left undivided would change the layer (trap 3)`(fold: Fold) throws {
    guard fold.sourceName.hasSuffix("proj") else { return }
    let tiny = TinyLayer()
    let folding = ChannelFolding(fold, layer: tiny.layer, storedType: .bfloat16) { _ in true }
    let scales = folding.storable(Self.factors((folding.sourceChannel.max() ?? 0) + 1))
    var folded = Self.applied(folding, scales, to: tiny.layer)
    folded[linear: fold.sourceName].bias = tiny.layer[linear: fold.sourceName].bias
    let hidden = tiny.hiddenStates(40, seed: 3)
    let distance = tiny.output(folded, hidden).distance(to: tiny.output(tiny.layer, hidden))
    #expect(distance > 1000 * Self.floatRounding, "\(distance)")
  }

  @Test func `a source without bias folds exactly as asked`() {
    var tiny = TinyLayer().layer
    tiny.attention.v.bias = nil
    let folding = ChannelFolding(Fold.gatedDecoder[1], layer: tiny, storedType: .bfloat16) { _ in true }
    let wanted = Self.factors(32)
    #expect(folding.storable(wanted) == wanted)
    #expect(folding.foldedPin(wanted) == nil)
  }

  // MARK: Floats among the weights

  @Test(arguments: Fold.gatedDecoder)
  func `weights that stay floats are folded exactly, by powers of two`(fold: Fold) throws {
    for kept in fold.linears + (fold.sourceName.hasSuffix("proj") ? [fold.sourceName] : []) {
      let tiny = TinyLayer()
      let folding = ChannelFolding(fold, layer: tiny.layer, storedType: .bfloat16) { $0 != kept }
      let wanted = Self.factors((folding.sourceChannel.max() ?? 0) + 1)
      let scales = folding.storable(wanted)
      for (scale, wanted) in zip(scales, wanted) {
        #expect(scale.significand == 1, "\(scale)")
        // The nearest power of two is within a factor of √2.
        #expect(max(scale / wanted, wanted / scale) <= 1.4143, "\(scale) for \(wanted)")
      }
      let folded = Self.applied(folding, scales, to: tiny.layer)
      let weight = folded.matrix(kept)
      let stored = Tensor([weight.values.count], floats: weight.values, as: .bfloat16).floats()
      #expect(stored == weight.values, "no bit is lost in \(kept)")
      let hidden = tiny.hiddenStates(40, seed: 3)
      #expect(tiny.output(folded, hidden) == tiny.output(tiny.layer, hidden), "\(kept)")
    }
  }

  @Test func `where the stored type cannot hold the quotient, the channel stays as it was`() throws {
    var layer = TinyLayer(type: .float16).layer
    // Subnormal halves are multiples of 2⁻²⁴; the third is not even a half.
    layer.inputNorm[0] = 3 * 0x1p-24
    layer.inputNorm[1] = 3 * 0x1p-20
    layer.inputNorm[2] = 1 + 0x1p-12
    layer.inputNorm[3] = 0
    for quantizesAll in [true, false] {
      let folding = ChannelFolding(Fold.gatedDecoder[0], layer: layer, storedType: .float16) { _ in quantizesAll }
      let scales = folding.storable([Float](repeating: 16, count: 64))
      let pinned = try #require(folding.foldedPin(scales))
      for (index, norm) in layer.inputNorm.enumerated() {
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
  func `the copies of a repeated head share their factors`(heads: [Int]) {
    let (dimension, repeats) = (8, heads[0] / heads[1])
    let tiny = TinyLayer(heads: heads[0], keyValueHeads: heads[1], headDimension: dimension)
    let folding = ChannelFolding(Fold.gatedDecoder[1], layer: tiny.layer, storedType: .bfloat16) { _ in true }
    #expect(folding.sourceChannel.count == heads[0] * dimension)
    for head in 0..<heads[0] {
      for channel in 0..<dimension {
        #expect(folding.sourceChannel[head * dimension + channel] == head / repeats * dimension + channel)
      }
    }
    let scales = folding.storable(Self.factors(heads[1] * dimension))
    let hidden = tiny.hiddenStates(20, seed: 4)
    let folded = tiny.output(Self.applied(folding, scales, to: tiny.layer), hidden)
    #expect(folded.distance(to: tiny.output(tiny.layer, hidden)) < Self.floatRounding)
  }

  @Test func `powers of two are the nearest by ratio`() {
    let expected: [(Float, Float)] = [(1, 1), (1.41, 1), (1.42, 2), (0.75, 1), (0.7, 0.5), (3, 4), (0.1, 0.125)]
    for (value, power) in expected { #expect(ChannelFolding.nearestPowerOfTwo(value) == power, "\(value)") }
  }
}
