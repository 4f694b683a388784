import Kernels
import Quantization
import Tensors
import TestSupport
import Testing

@testable import Calibration
@testable import Models

/// What a session clips by: the inputs of full precision, divided by the factors that folding put into the columns.
@Suite(.serialized) struct ClippedSessionTests {
  static let w4 = QuantizationScheme.w4a16Asymmetric.withGroupSize(32)

  /// Statistics of what each linear reads of one text, linears of one expert by themselves.
  private static func observed(_ tiny: TinyLayer, _ hidden: Matrix) throws -> [String: InputStatistics] {
    var result: [String: InputStatistics] = [:]
    _ = try tiny.output(tiny.layer, hidden) { name, input, _ in
      // Few tokens of an expert say nothing of how channels go together.
      let isSparse = name.contains(".experts.") && input.rows < LayerQuantizer.tokensPerMoment * 32
      var statistics = InputStatistics(channels: input.columns, groupSize: isSparse ? 0 : 32)
      statistics.add(input)
      result[name] = statistics
    }
    return result
  }

  /// Checks the ranges of linears against a search of their own; returns how many linears had factors in their columns.
  private static func check(
    _ found: TinyResult, _ names: [String], _ observed: [String: InputStatistics]
  ) throws -> Int {
    var folded = 0
    for name in names {
      let weight = try #require(found.weights[name])
      let factors = weight.columnFactors ?? [Float](repeating: 1, count: weight.source.inFeatures)
      let expected = ClipSearch.run(
        weight.scaled, as: w4.weights, scaleType: .bfloat16, statistics: try #require(observed[name]), scales: factors)
      #expect(weight.shrink == expected, "\(name)")
      if Set(factors).count > 1 { folded += 1 }
    }
    return folded
  }

  @Test func `clipping sees inputs without the factors that are in the columns`() throws {
    let tiny = TinyLayer()
    let calibration = tiny.hiddenStates(300, seed: 2)
    let found = try tiny.quantized(tiny.all(Self.w4), calibration: calibration, heldOut: tiny.hiddenStates(60, seed: 3))
    // Queries and keys are clipped only where attention is better for it.
    let names = tiny.names.filter { found.weights[$0]?.shrink != nil }
    #expect(Set(names).isSuperset(of: ["self_attn.v_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj"]))
    let folded = try Self.check(found, names, Self.observed(tiny, calibration))
    #expect(folded >= 3, "\(folded): folds are kept, or this shows nothing")
  }

  @Test func `each expert is clipped by its own tokens, without the factors of the norm`() throws {
    let mixture = TinyMixture(bias: [0, 0, 0, 0, -1.2, -1000])
    let tiny = mixture.tiny
    let calibration = tiny.hiddenStates(400, seed: 2, factor: 20)
    let found = try tiny.quantized(
      tiny.all(Self.w4), calibration: calibration, heldOut: tiny.hiddenStates(60, seed: 3, factor: 20))
    let helped = try #require(found.experts).helped.keys
    #expect(found.norms["post_attention_layernorm"] != nil, "the norm is folded, or this shows nothing")
    #expect(helped.count < 4, "experts saw something, or this shows nothing")
    let observed = try Self.observed(tiny, calibration)
    for expert in 0..<mixture.mixture.count where !helped.contains(expert) {
      let folded = try Self.check(found, mixture.openers(expert) + ["mlp.experts.\(expert).down_proj"], observed)
      #expect(folded >= 2)
    }
    _ = try Self.check(found, ["mlp.shared_expert.gate_proj", "mlp.shared_expert.up_proj"], observed)
  }

  @Test func `an expert that saw too little is clipped by what the layer reads`() throws {
    let mixture = TinyMixture(bias: [0, 0, 0, 0, 0, -1000])
    let tiny = mixture.tiny
    let calibration = tiny.hiddenStates(200, seed: 2)
    let found = try tiny.quantized(
      tiny.all(Self.w4), calibration: calibration, heldOut: tiny.hiddenStates(60, seed: 3))
    var observed = try Self.observed(tiny, calibration)
    for name in mixture.openers(5) { observed[name] = observed["mlp.gate"] }
    _ = try Self.check(found, mixture.openers(5), observed)
    // What down reads is what gate and up make of those rows.
    let x = try mixture.inputs(calibration)
    _ = try tiny.layer.expert(5, of: mixture.mixture, x) { name, input, _ in
      var statistics = InputStatistics(channels: input.columns, groupSize: 0)
      statistics.add(input)
      observed[name] = statistics
    }
    _ = try Self.check(found, ["mlp.experts.5.down_proj"], observed)
  }
}
