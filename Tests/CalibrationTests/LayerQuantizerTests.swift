import Kernels
import Quantization
import Tensors
import TestSupport
import Testing

@testable import Calibration
@testable import Models

@Suite(.serialized) struct LayerQuantizerTests {
  static let w4 = QuantizationScheme.w4a16Asymmetric.withGroupSize(32)

  private static func finite(_ result: QuantizedLayer) -> Bool {
    result.bits.isEmpty == false
      && result.weights.keys.allSatisfy { result.tensor($0)?.dequantized().firstNonFinite == nil }
      && result.norms.values.allSatisfy { $0.allSatisfy { $0.isFinite } }
      && result.biases.values.allSatisfy { $0.allSatisfy { $0.isFinite } }
  }

  @Test(arguments: [QuantizationScheme.w4a16.withGroupSize(32), w4])
  func `activation-aware scales and clipping lower the error on text that was not seen`(scheme: QuantizationScheme) {
    let tiny = TinyLayer()
    let schemes = scheme.forAll()
    let (calibration, heldOut) = (tiny.hiddenStates(400, seed: 2), tiny.hiddenStates(100, seed: 3))
    let found = tiny.quantized(schemes, calibration: calibration, heldOut: heldOut)
    #expect(found.folds.count == 4 && found.folds.contains { $0.isKept })
    let unseen = tiny.hiddenStates(100, seed: 4)
    let expected = tiny.output(tiny.layer, unseen)
    let aware = tiny.output(tiny.layer.replacing(found), unseen).distance(to: expected)
    let rounded = tiny.output(
      tiny.layer.replacing(tiny.quantizer(schemes).roundedToNearest()), unseen
    ).distance(to: expected)
    #expect(aware < 0.9 * rounded, "\(aware), \(rounded)")
    for fold in found.folds where fold.isKept {
      #expect(fold.reason == nil && fold.lossWith < fold.lossWithout && fold.lossWith >= 0)
    }
  }

  @Test func `the loss that is reported is the stored layer's`() {
    let tiny = TinyLayer()
    let heldOut = tiny.hiddenStates(60, seed: 3)
    let found = tiny.quantized(Self.w4.forAll(), calibration: tiny.hiddenStates(300, seed: 2), heldOut: heldOut)
    let stored = tiny.layer.replacing(found)
    let x = heldOut.rmsNormalized(weight: tiny.layer.inputNorm, epsilon: tiny.layer.normEpsilon)
    let y = heldOut.rmsNormalized(weight: stored.inputNorm, epsilon: tiny.layer.normEpsilon)
    let sequences = Sequences(lengths: [60])
    let distance = stored.attention(y, sequences: sequences, rotary: tiny.rotary)
      .distance(to: tiny.layer.attention(x, sequences: sequences, rotary: tiny.rotary))
    for fold in found.folds.prefix(2) {
      let loss = fold.isKept ? fold.lossWith : fold.lossWithout
      #expect(abs(distance * distance / loss - 1) < 1e-3, "\(fold.title)")
    }
  }

  // MARK: Trap 5

  @Test func `a fold that does not lower the held-out loss is dropped, and says why (trap 5)`() {
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
    let found = tiny.quantized(scheme.forAll(), calibration: seen, heldOut: unseen)
    let norms = found.folds.filter { $0.title.contains("layernorm") }
    #expect(norms.count == 2)
    for fold in norms {
      #expect(!fold.isKept, "\(fold.title)")
      #expect(fold.reason == "the held-out loss of its block is not lower with it")
      #expect(fold.lossWith > fold.lossWithout && fold.alpha > 0)
    }
    #expect(found.norms.isEmpty, "what is dropped leaves the norms as they were")
    // The same calibration with held-out text of its own kind keeps them.
    let kept = tiny.quantized(scheme.forAll(), calibration: seen, heldOut: hidden(100, seed: 3, isSeen: true))
    #expect(kept.folds.filter { $0.title.contains("layernorm") }.allSatisfy { $0.isKept })
    #expect(Set(kept.norms.keys) == ["input_layernorm", "post_attention_layernorm"])
  }

  @Test func `a fold without use says so`() {
    let tiny = TinyLayer()
    var layer = tiny.layer
    for name in DecoderLayer.linearNames {
      let weight = layer.matrix(name)
      let steps: [Int] = weight.values.indices.map { index in index * 5 % 16 - 8 }
      let values = steps.map { Float($0) * 0.03125 }
      layer[linear: name].weight = .matrix(Matrix(rows: weight.rows, columns: weight.columns, values: values))
    }
    let schemes = Self.w4.forAll()
    var (calibration, heldOut) = (tiny.hiddenStates(100, seed: 2), tiny.hiddenStates(50, seed: 3))
    var observation = LayerObservation(
      layer: layer, folds: Fold.gatedDecoder, schemes: schemes, heldOutSequences: Sequences(lengths: [50]))
    observation.run(layer, &calibration, sequences: Sequences(lengths: [100]), rotary: tiny.rotary)
    observation.runHeldOut(layer, &heldOut, rotary: tiny.rotary)
    let quantizer = LayerQuantizer(
      layer: layer, folds: Fold.gatedDecoder, schemes: schemes, methods: schemes.mapValues { _ in .awq },
      storedType: .bfloat16)
    let found = quantizer.quantized(observation, rotary: tiny.rotary)
    for fold in found.folds {
      #expect(!fold.isKept && fold.reason == "no scales lower the expected error", "\(fold.title)")
    }
    for name in DecoderLayer.linearNames { #expect(found.tensor(name)?.dequantized() == layer.matrix(name), "\(name)") }
  }

  // MARK: Trap 8

  @Test(arguments: 1...10)
  func `few tokens are enough to run (trap 8)`(tokens: Int) {
    let tiny = TinyLayer()
    let found = tiny.quantized(
      Self.w4.forAll(), calibration: tiny.hiddenStates(tokens, seed: 2), heldOut: tiny.hiddenStates(1, seed: 3))
    #expect(found.weights.count == 7 && Self.finite(found))
    let unseen = tiny.hiddenStates(50, seed: 4)
    let distance = tiny.output(tiny.layer.replacing(found), unseen).distance(to: tiny.output(tiny.layer, unseen))
    #expect(distance < 0.5, "\(distance)")
  }

  @Test func `silent calibration gives plain rounding`() {
    let tiny = TinyLayer()
    let found = tiny.quantized(
      Self.w4.forAll(), calibration: Matrix(rows: 4, columns: 64), heldOut: Matrix(rows: 2, columns: 64))
    #expect(Self.finite(found))
    #expect(found.norms["input_layernorm"] == nil)
  }

  // MARK: Trap 9

  @Test(arguments: 1...6)
  func `queries and keys are clipped only where attention is better for it (trap 9)`(_ seed: UInt64) {
    let tiny = TinyLayer(seed: seed)
    let schemes = Self.w4.forAll()
    let heldOut = tiny.hiddenStates(50, seed: 3)
    let found = tiny.quantized(schemes, folds: [], calibration: tiny.hiddenStates(300, seed: 2), heldOut: heldOut)
    let rounded = tiny.quantizer(schemes).roundedToNearest()
    var plain = found
    for name in DecoderLayer.linearNames {
      if name == "self_attn.q_proj" || name == "self_attn.k_proj" {
        plain.weights[name] = rounded.weights[name]
      } else {
        #expect(found.tensor(name)?.scales != rounded.tensor(name)?.scales, "\(name) is clipped")
      }
    }
    func attention(_ layer: DecoderLayer) -> Matrix {
      layer.attention(
        heldOut.rmsNormalized(weight: layer.inputNorm, epsilon: layer.normEpsilon),
        sequences: Sequences(lengths: [heldOut.rows]), rotary: tiny.rotary)
    }
    let expected = attention(tiny.layer)
    let distance = attention(tiny.layer.replacing(found)).distance(to: expected)
    // Room for the rounding of sums in another order.
    #expect(distance <= attention(tiny.layer.replacing(plain)).distance(to: expected) * 1.000001)
    #expect(found.folds.isEmpty && found.norms.isEmpty && found.biases.isEmpty)
  }

  // MARK: Trap 10

  @Test func `widths that the group does not divide are quantized (trap 10)`() {
    let tiny = TinyLayer(
      hiddenSize: 86, heads: 3, keyValueHeads: 1, headDimension: 18, intermediateSize: 172, type: .float16)
    for scheme in [Self.w4, .w4a16, .w4a16Asymmetric.withGroupSize(nil)] {
      let found = tiny.quantized(
        scheme.forAll(), calibration: tiny.hiddenStates(200, seed: 2), heldOut: tiny.hiddenStates(60, seed: 3))
      #expect(Self.finite(found))
      let unseen = tiny.hiddenStates(50, seed: 4)
      let expected = tiny.output(tiny.layer, unseen)
      let rounded = tiny.layer.replacing(tiny.quantizer(scheme.forAll()).roundedToNearest())
      let distance = tiny.output(tiny.layer.replacing(found), unseen).distance(to: expected)
      #expect(distance < tiny.output(rounded, unseen).distance(to: expected))
    }
  }

  // MARK: Schemes

  @Test(arguments: [QuantizationScheme.fp8, .fp8Dynamic, .fp8Block])
  func `float8 passes through as it is rounded`(scheme: QuantizationScheme) {
    let tiny = TinyLayer()
    let schemes = scheme.forAll()
    let found = tiny.quantized(
      schemes, calibration: tiny.hiddenStates(100, seed: 2), heldOut: tiny.hiddenStates(20, seed: 3))
    #expect(found.bits == tiny.quantizer(schemes).roundedToNearest().bits)
    #expect(found.folds.isEmpty)
  }

  @Test func `eight-bit integers are scaled, not clipped`() {
    let tiny = TinyLayer()
    let schemes = QuantizationScheme.w8a16.forAll()
    let plain = tiny.quantized(
      schemes, folds: [], calibration: tiny.hiddenStates(100, seed: 2), heldOut: tiny.hiddenStates(20, seed: 3))
    #expect(plain.bits == tiny.quantizer(schemes).roundedToNearest().bits)
    let found = tiny.quantized(
      schemes, calibration: tiny.hiddenStates(100, seed: 2), heldOut: tiny.hiddenStates(20, seed: 3))
    #expect(found.folds.count == 4 && Self.finite(found))
  }

  @Test func `rounding to nearest is no search`() {
    let tiny = TinyLayer()
    let schemes = Self.w4.forAll()
    let found = tiny.quantized(
      schemes, method: .roundToNearest, calibration: tiny.hiddenStates(50, seed: 2),
      heldOut: tiny.hiddenStates(20, seed: 3))
    #expect(found.bits == tiny.quantizer(schemes).roundedToNearest().bits && found.folds.isEmpty)
  }

  @Test func `linears in full precision stay, or are folded without losing a bit`() throws {
    let tiny = TinyLayer()
    let kept = ["self_attn.k_proj", "mlp.down_proj"]
    let found = tiny.quantized(
      Self.w4.forAll(except: kept), calibration: tiny.hiddenStates(300, seed: 2),
      heldOut: tiny.hiddenStates(60, seed: 3))
    guard case .folded(let keys)? = found.weights["self_attn.k_proj"] else {
      Issue.record("the fold of the norm reaches the keys")
      return
    }
    let norm = try #require(found.norms["input_layernorm"])
    for column in 0..<64 {
      let factor = tiny.layer.inputNorm[column] / norm[column]
      #expect(factor.significand == 1)
      for row in 0..<keys.rows {
        #expect(keys[row, column] == tiny.layer.matrix("self_attn.k_proj")[row, column] * factor)
      }
    }
    let none = tiny.quantized([:], calibration: tiny.hiddenStates(10, seed: 2), heldOut: tiny.hiddenStates(5, seed: 3))
    #expect(none.bits.values.allSatisfy { $0.isEmpty } && none.weights.count == 7)
  }

  @Test(arguments: [DType.bfloat16, .float16, .float32])
  func `scales are of the checkpoint's type, and half gives way to float for float8`(type: DType) {
    let tiny = TinyLayer(type: type)
    var schemes = Self.w4.forAll()
    schemes["mlp.down_proj"] = .fp8Dynamic
    let found = tiny.quantized(
      schemes, calibration: tiny.hiddenStates(60, seed: 2), heldOut: tiny.hiddenStates(20, seed: 3))
    #expect(found.tensor("mlp.up_proj")?.scaleType == type)
    #expect(found.tensor("mlp.down_proj")?.scaleType == (type == .float16 ? .float32 : type))
    for name in DecoderLayer.linearNames {
      guard let tensor = found.tensor(name) else { continue }
      let stored = Tensor([tensor.scales.count], floats: tensor.scales, as: tensor.scaleType).floats()
      #expect(stored == tensor.scales, "\(name)")
    }
    for values in found.norms.values.map({ $0 }) + found.biases.values.map({ $0 }) {
      #expect(Tensor([values.count], floats: values, as: type).floats() == values)
    }
  }

  @Test func `the largest inputs are kept for static activation scales`() {
    let tiny = TinyLayer()
    let calibration = tiny.hiddenStates(50, seed: 2)
    let found = tiny.quantized(
      QuantizationScheme.fp8.forAll(), calibration: calibration, heldOut: tiny.hiddenStates(20, seed: 3))
    var (hidden, largest): (Matrix, [String: Float]) = (calibration, [:])
    tiny.layer(&hidden, sequences: Sequences(lengths: [50]), rotary: tiny.rotary) { name, input, _ in
      largest[name] = input.values.map(abs).max()
    }
    #expect(found.inputMaxima == largest && largest.count == 7)
  }

  // MARK: Determinism

  @Test func `every bit is the same for any number of threads, and when repeated`() {
    let tiny = TinyLayer(hiddenSize: 96, heads: 6, keyValueHeads: 2, headDimension: 16, intermediateSize: 172)
    let (calibration, heldOut) = (tiny.hiddenStates(300, seed: 2), tiny.hiddenStates(60, seed: 3))
    let threads = Parallel.threads
    defer { Parallel.threads = threads }
    let results = [1, 2, 4, 2].map { count in
      Parallel.threads = count
      return tiny.quantized(Self.w4.forAll(), calibration: calibration, heldOut: heldOut)
    }
    for result in results.dropFirst() {
      #expect(result.bits == results[0].bits && result.folds == results[0].folds)
    }
  }
}
