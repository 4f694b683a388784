import Kernels
import Quantization
import Tensors
import TestSupport
import Testing

@testable import Calibration
@testable import Models

@Suite(.serialized) struct LayerQuantizerTests {
  static let w4 = QuantizationScheme.w4a16Asymmetric.withGroupSize(32)

  @Test(arguments: [QuantizationScheme.w4a16.withGroupSize(32), w4])
  func `activation-aware scales and clipping lower the error on text that was not seen`(scheme: QuantizationScheme)
    throws
  {
    let tiny = TinyLayer()
    let schemes = tiny.all(scheme)
    let (calibration, heldOut) = (tiny.hiddenStates(400, seed: 2), tiny.hiddenStates(100, seed: 3))
    let found = try tiny.quantized(schemes, calibration: calibration, heldOut: heldOut)
    #expect(found.folds.count == 4 && found.folds.contains { $0.isKept })
    let unseen = tiny.hiddenStates(100, seed: 4)
    let expected = try tiny.output(tiny.layer, unseen)
    let aware = try tiny.output(tiny.layer.replacing(found), unseen).distance(to: expected)
    let rounded = try tiny.output(
      tiny.layer.replacing(tiny.rounded(schemes)), unseen
    ).distance(to: expected)
    #expect(aware < 0.9 * rounded, "\(aware), \(rounded)")
    for fold in found.folds where fold.isKept {
      #expect(fold.reason == nil && fold.lossWith < fold.lossWithout && fold.lossWith >= 0)
    }
  }

  @Test func `the loss that is reported is the stored layer's`() throws {
    let tiny = TinyLayer()
    let heldOut = tiny.hiddenStates(60, seed: 3)
    let found = try tiny.quantized(tiny.all(Self.w4), calibration: tiny.hiddenStates(300, seed: 2), heldOut: heldOut)
    let stored = try tiny.layer.replacing(found)
    func check(_ block: LayerBlock, _ heldOut: Matrix, _ folds: some Sequence<FoldOutcome>) throws {
      let distance = try tiny.delta(stored, block, heldOut).distance(to: tiny.delta(tiny.layer, block, heldOut))
      for fold in folds {
        let loss = fold.isKept ? fold.lossWith : fold.lossWithout
        // Trials round activations to int8.
        #expect(abs(distance * distance / loss - 1) < 0.06, "\(fold.title)")
      }
    }
    try check(.attention, heldOut, found.folds.prefix(2))
    // The feed-forward is judged on what the attention of full precision gives.
    var behind = heldOut
    behind += try tiny.delta(tiny.layer, .attention, heldOut)
    try check(.feedForward, behind, found.folds.suffix(2))
  }

  @Test func `a kept fold is in its source, in that one's bias, and in all readers`() throws {
    var kept: [String: Int] = [:]
    for seed in UInt64(1)...6 {
      let tiny = TinyLayer(seed: seed, type: .float32)
      let found = try tiny.quantized(
        tiny.all(Self.w4), calibration: tiny.hiddenStates(300, seed: 2), heldOut: tiny.hiddenStates(60, seed: 3))
      for (fold, outcome) in zip(tiny.layer.layout.folds, found.folds) {
        #expect(fold.title == outcome.title)
        let factors = found.weights[fold.linears[0]]?.columnFactors
        #expect((factors != nil) == outcome.isKept)
        #expect(fold.linears.allSatisfy { found.weights[$0]?.columnFactors == factors })
        guard let factors else { continue }
        kept[fold.sourceName, default: 0] += 1
        switch fold.source {
        case .norm(let name):
          let (before, after) = (tiny.layer.norm(name).gains, try #require(found.norms[name]))
          #expect(zip(zip(before, after), factors).allSatisfy { abs($0.0 / $0.1 / $1 - 1) < 1e-6 })
        case .rows(let name, let map):
          let divisors = try #require(found.weights[name]?.rowDivisors)
          let (before, after) = (try #require(tiny.layer.linear(name).bias), try #require(found.biases[name]))
          for (input, factor) in factors.enumerated() {
            let row = map.row(ofInput: input)
            #expect(divisors[row] == factor)
            #expect(abs(before[row] / after[row] / factor - 1) < 1e-6)
          }
        }
      }
    }
    #expect(kept.count == 4, "every fold is kept once, or this shows nothing: \(kept)")
  }

  // MARK: Trap 5

  @Test func `a fold that does not lower the held-out loss is dropped, and says why (trap 5)`() throws {
    let tiny = TinyLayer(type: .float32)
    // Eight bits are not clipped: the folds alone tell.
    let scheme = QuantizationScheme(name: "W8", weights: WeightQuantization(.int(bits: 8), .perGroup(size: 32)))
    // Calibration hears three channels, this held-out text all others.
    func hidden(_ tokens: Int, seed: UInt64, isSeen: Bool) -> Matrix {
      var hidden = tiny.hiddenStates(tokens, seed: seed, loud: [])
      for index in hidden.values.indices where [3, 17, 40].contains(index % 64) == isSeen {
        hidden.values[index] *= 1000
      }
      return hidden
    }
    let (seen, unseen) = (hidden(300, seed: 2, isSeen: true), hidden(100, seed: 3, isSeen: false))
    let found = try tiny.quantized(tiny.all(scheme), calibration: seen, heldOut: unseen)
    let norms = found.folds.filter { $0.title.contains("layernorm") }
    #expect(norms.count == 2)
    for fold in norms {
      #expect(!fold.isKept, "\(fold.title)")
      #expect(fold.reason == "the held-out loss of its block is not lower with it")
      #expect(fold.lossWith > fold.lossWithout && fold.alpha > 0)
    }
    #expect(found.norms.isEmpty, "what is dropped leaves the norms as they were")
    // The same calibration with held-out text of its own kind keeps them.
    let kept = try tiny.quantized(tiny.all(scheme), calibration: seen, heldOut: hidden(100, seed: 3, isSeen: true))
    #expect(kept.folds.filter { $0.title.contains("layernorm") }.allSatisfy { $0.isKept })
    #expect(Set(kept.norms.keys) == ["input_layernorm", "post_attention_layernorm"])
  }

  @Test func `a fold without use says so`() throws {
    var tiny = TinyLayer()
    for name in tiny.names {
      let weight = try tiny.layer.matrix(name)
      let steps: [Int] = weight.values.indices.map { index in index * 5 % 16 - 8 }
      let values = steps.map { Float($0) * 0.03125 }
      try tiny.layer.set(name, Matrix(rows: weight.rows, columns: weight.columns, values: values))
    }
    let schemes = tiny.all(Self.w4)
    let found = try tiny.quantized(
      schemes, calibration: tiny.hiddenStates(100, seed: 2), heldOut: tiny.hiddenStates(50, seed: 3))
    #expect(found.folds.count == 4)
    for fold in found.folds {
      #expect(!fold.isKept && fold.reason == "no scales lower the expected error", "\(fold.title)")
    }
    for name in tiny.names {
      let weight = try tiny.layer.matrix(name)
      #expect(found.tensor(name)?.dequantized() == weight, "\(name)")
    }
  }

  // MARK: Trap 8

  @Test(arguments: 1...10)
  func `few tokens are enough to run (trap 8)`(tokens: Int) throws {
    let tiny = TinyLayer()
    let found = try tiny.quantized(
      tiny.all(Self.w4), calibration: tiny.hiddenStates(tokens, seed: 2), heldOut: tiny.hiddenStates(1, seed: 3))
    #expect(found.weights.count == 7 && found.isFinite)
    let unseen = tiny.hiddenStates(50, seed: 4)
    let distance = try tiny.output(tiny.layer.replacing(found), unseen).distance(to: tiny.output(tiny.layer, unseen))
    #expect(distance < 0.5, "\(distance)")
  }

  @Test func `silent calibration gives plain rounding`() throws {
    let tiny = TinyLayer()
    let found = try tiny.quantized(
      tiny.all(Self.w4), calibration: Matrix(rows: 4, columns: 64), heldOut: Matrix(rows: 2, columns: 64))
    #expect(found.isFinite)
    #expect(found.norms["input_layernorm"] == nil)
  }

  // MARK: Trap 9

  @Test(arguments: 1...6)
  func `queries and keys are clipped only where attention is better for it (trap 9)`(_ seed: UInt64) throws {
    let tiny = TinyLayer(seed: seed)
    let schemes = tiny.all(Self.w4)
    let heldOut = tiny.hiddenStates(50, seed: 3)
    let found = try tiny.quantized(
      schemes, folds: false, calibration: tiny.hiddenStates(300, seed: 2), heldOut: heldOut)
    let rounded = try tiny.rounded(schemes)
    var plain = found
    for name in tiny.names {
      if name == "self_attn.q_proj" || name == "self_attn.k_proj" {
        plain.weights[name] = rounded.weights[name]
      } else {
        #expect(found.tensor(name)?.scales != rounded.tensor(name)?.scales, "\(name) is clipped")
      }
    }
    func attention(_ layer: DecoderLayer) throws -> Matrix { try tiny.delta(layer, .attention, heldOut) }
    let expected = try attention(tiny.layer)
    let distance = try attention(tiny.layer.replacing(found)).distance(to: expected)
    // Room for the rounding of sums in another order.
    #expect(try distance <= attention(tiny.layer.replacing(plain)).distance(to: expected) * 1.000001)
    #expect(found.folds.isEmpty && found.norms.isEmpty && found.biases.isEmpty)
  }

  // MARK: Trap 10

  @Test func `widths that the group does not divide are quantized (trap 10)`() throws {
    let tiny = TinyLayer(
      hiddenSize: 86, heads: 3, keyValueHeads: 1, headDimension: 18, intermediateSize: 172, type: .float16)
    for scheme in [Self.w4, .w4a16, .w4a16Asymmetric.withGroupSize(nil)] {
      let found = try tiny.quantized(
        tiny.all(scheme), calibration: tiny.hiddenStates(200, seed: 2), heldOut: tiny.hiddenStates(60, seed: 3))
      #expect(found.isFinite)
      let unseen = tiny.hiddenStates(50, seed: 4)
      let expected = try tiny.output(tiny.layer, unseen)
      let rounded = try tiny.layer.replacing(tiny.rounded(tiny.all(scheme)))
      let distance = try tiny.output(tiny.layer.replacing(found), unseen).distance(to: expected)
      #expect(try distance < tiny.output(rounded, unseen).distance(to: expected))
    }
  }

  // MARK: Schemes

  @Test(arguments: [QuantizationScheme.fp8, .fp8Dynamic, .fp8Block])
  func `float8 is not folded; its scales follow the inputs unless it is only to be rounded`(
    scheme: QuantizationScheme
  ) throws {
    let tiny = TinyLayer()
    let schemes = tiny.all(scheme)
    let plain = try tiny.quantized(
      schemes, method: .roundToNearest, calibration: tiny.hiddenStates(100, seed: 2),
      heldOut: tiny.hiddenStates(20, seed: 3))
    #expect(try plain.bits == tiny.rounded(schemes).bits)
    let found = try tiny.quantized(
      schemes, calibration: tiny.hiddenStates(100, seed: 2), heldOut: tiny.hiddenStates(20, seed: 3))
    #expect(found.bits != plain.bits && found.isFinite)
    #expect(found.folds.isEmpty)
  }

  @Test func `eight-bit integers are scaled, not clipped`() throws {
    let tiny = TinyLayer()
    let schemes = tiny.all(QuantizationScheme.w8a16)
    let plain = try tiny.quantized(
      schemes, folds: false, calibration: tiny.hiddenStates(100, seed: 2), heldOut: tiny.hiddenStates(20, seed: 3))
    #expect(try plain.bits == tiny.rounded(schemes).bits)
    let found = try tiny.quantized(
      schemes, calibration: tiny.hiddenStates(100, seed: 2), heldOut: tiny.hiddenStates(20, seed: 3))
    #expect(found.folds.count == 4 && found.isFinite)
  }

  @Test func `rounding to nearest is no search`() throws {
    let tiny = TinyLayer()
    let schemes = tiny.all(Self.w4)
    let found = try tiny.quantized(
      schemes, method: .roundToNearest, calibration: tiny.hiddenStates(50, seed: 2),
      heldOut: tiny.hiddenStates(20, seed: 3))
    #expect(try found.bits == tiny.rounded(schemes).bits && found.folds.isEmpty)
  }

  @Test func `linears in full precision stay, or are folded without losing a bit`() throws {
    let tiny = TinyLayer()
    let kept = ["self_attn.k_proj", "mlp.down_proj"]
    let found = try tiny.quantized(
      tiny.all(Self.w4, except: kept), calibration: tiny.hiddenStates(300, seed: 2),
      heldOut: tiny.hiddenStates(60, seed: 3))
    let keys = try #require(found.weights["self_attn.k_proj"])
    #expect(keys.isFolded, "the fold of the norm reaches the keys")
    let (source, folded) = (try tiny.layer.matrix("self_attn.k_proj"), keys.kept().floats())
    let gains = try #require(tiny.layer.norms["input_layernorm"]).gains
    let norm = try #require(found.norms["input_layernorm"])
    for column in 0..<64 {
      let factor = gains[column] / norm[column]
      #expect(factor.significand == 1)
      for row in 0..<source.rows { #expect(folded[row * 64 + column] == source[row, column] * factor) }
    }
    let none = try tiny.quantized(
      [:], calibration: tiny.hiddenStates(10, seed: 2), heldOut: tiny.hiddenStates(5, seed: 3))
    #expect(none.bits.values.allSatisfy { $0.isEmpty } && none.weights.count == 7)
  }

  @Test(arguments: [DType.bfloat16, .float16, .float32])
  func `scales are of the checkpoint's type, and half gives way to float for float8`(type: DType) throws {
    let tiny = TinyLayer(type: type)
    var schemes = tiny.all(Self.w4)
    schemes["mlp.down_proj"] = .fp8Dynamic
    let found = try tiny.quantized(
      schemes, calibration: tiny.hiddenStates(60, seed: 2), heldOut: tiny.hiddenStates(20, seed: 3))
    #expect(found.tensor("mlp.up_proj")?.scaleType == type)
    #expect(found.tensor("mlp.down_proj")?.scaleType == (type == .float16 ? .float32 : type))
    for name in tiny.names {
      guard let tensor = found.tensor(name) else { continue }
      let stored = Tensor([tensor.scales.count], floats: tensor.scales, as: tensor.scaleType).floats()
      #expect(stored == tensor.scales, "\(name)")
    }
    for values in found.norms.values.map({ $0 }) + found.biases.values.map({ $0 }) {
      #expect(Tensor([values.count], floats: values, as: type).floats() == values)
    }
  }

  @Test func `the largest inputs are kept for static activation scales`() throws {
    let tiny = TinyLayer()
    let calibration = tiny.hiddenStates(50, seed: 2)
    let found = try tiny.quantized(
      tiny.all(QuantizationScheme.fp8), calibration: calibration, heldOut: tiny.hiddenStates(20, seed: 3))
    var largest: [String: Float] = [:]
    _ = try tiny.output(tiny.layer, calibration) { name, input, _ in largest[name] = input.values.map(abs).max() }
    #expect(found.inputMaxima == largest && largest.count == 7)
  }

  @Test func `folding divides the largest inputs too, where integers and float8 read one norm`() throws {
    let tiny = TinyLayer()
    var schemes = tiny.all(Self.w4)
    for name in ["self_attn.v_proj", "mlp.up_proj"] { schemes[name] = .fp8 }
    let calibration = tiny.hiddenStates(200, seed: 2)
    let found = try tiny.quantized(schemes, calibration: calibration, heldOut: tiny.hiddenStates(40, seed: 3))
    #expect(found.norms.count == 2, "both norms are folded, or this shows nothing")
    // Only the norms take part, whose inputs are those of the layer in full precision.
    var folded = tiny.layer
    for (name, stored) in found.norms { folded.norms[name] = folded.norms[name].map { Norm($0.style, stored: stored) } }
    for name in ["self_attn.q_proj", "self_attn.v_proj"] {
      let largest = folded.norm("input_layernorm")(calibration).values.map(abs).max() ?? 0
      let maximum = try #require(found.inputMaxima[name])
      #expect(abs(maximum / largest - 1) < 1e-5, "\(name): \(maximum), \(largest)")
      let plain = tiny.layer.norm("input_layernorm")(calibration).values.map(abs).max() ?? 0
      #expect(abs(plain / largest - 1) > 0.1, "folding moves the maximum, or this shows nothing")
    }
  }

  // MARK: Determinism

  @Test func `every bit is the same for any number of threads, and when repeated`() throws {
    let tiny = TinyLayer(hiddenSize: 96, heads: 6, keyValueHeads: 2, headDimension: 16, intermediateSize: 172)
    let (calibration, heldOut) = (tiny.hiddenStates(300, seed: 2), tiny.hiddenStates(60, seed: 3))
    let threads = Parallel.threads
    defer { Parallel.threads = threads }
    let results = try [1, 2, 4, 2].map { count in
      Parallel.threads = count
      return try tiny.quantized(tiny.all(Self.w4), calibration: calibration, heldOut: heldOut)
    }
    for result in results.dropFirst() {
      #expect(result.bits == results[0].bits && result.folds == results[0].folds)
    }
  }
}
