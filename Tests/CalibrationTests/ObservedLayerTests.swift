import Kernels
import Models
import Quantization
import Tensors
import Testing

@testable import Calibration

/// Calibration text that runs through int8 products, where nothing but statistics comes of it.
@Suite struct ObservedLayerTests {
  private static let w4 = QuantizationScheme(
    name: "W4A16_ASYM", weights: WeightQuantization(.int(bits: 4), .perGroup(size: 32), isSymmetric: false))
  private static let tokens = LayerQuantizer.fewestObserved

  private static func states(_ tiny: TinyLayer, tokens: Int) throws -> CalibrationStates {
    // Texts of at most 512 tokens: the tables hold no more.
    func hidden(_ tokens: Int, _ seed: UInt64) -> HiddenStates {
      let lengths = stride(from: 0, to: tokens, by: 256).map { min(256, tokens - $0) }
      return HiddenStates(tiny.hiddenStates(tokens, seed: seed), Sequences(lengths: lengths))
    }
    return try CalibrationStates(search: hidden(tokens, 2), heldOut: hidden(100, 3), reserve: nil)
  }

  private static func quantizer(
    _ tiny: TinyLayer, _ scheme: QuantizationScheme, _ method: Calibration.Method = .awq, exactly: Bool = false
  ) -> LayerQuantizer {
    let schemes = tiny.all(scheme)
    return LayerQuantizer(
      layer: tiny.layer, schemes: schemes, methods: schemes.mapValues { _ in method }, storedType: tiny.type,
      observesExactly: exactly)
  }

  @Test func `what is observed is near, and held-out text is exact`() throws {
    let tiny = TinyLayer(hiddenSize: 128, headDimension: 32)
    let (seen, exact) = (try Self.states(tiny, tokens: Self.tokens), try Self.states(tiny, tokens: Self.tokens))
    try LayerSession(Self.quantizer(tiny, Self.w4), states: seen, tables: tiny.tables).finish()
    try LayerSession(Self.quantizer(tiny, Self.w4, exactly: true), states: exact, tables: tiny.tables).finish()
    let (near, there) = (try seen.search.read(0), try exact.search.read(0))
    #expect(near.values != there.values, "or int8 was not used")
    let before = try Self.states(tiny, tokens: Self.tokens).search.read(0)
    #expect(near.distance(to: there) < 0.05 * before.distance(to: there))
    // Processors with products of BF16 may round so much.
    let (given, wanted) = (try seen.heldOut.read(0), try exact.heldOut.read(0))
    if Bfloat16Product.current == nil { #expect(given.values == wanted.values) }
    #expect(given.distance(to: wanted) < 0.005 * before.distance(to: there))
  }

  @Test(arguments: [tokens, 300])
  func `a layer that is skipped leaves the states of one that is quantized`(tokens: Int) throws {
    let tiny = TinyLayer()
    let (one, other) = (try Self.states(tiny, tokens: tokens), try Self.states(tiny, tokens: tokens))
    try LayerSession(Self.quantizer(tiny, Self.w4), states: one, tables: tiny.tables).finish()
    try LayerSession(Self.quantizer(tiny, Self.w4), states: other, tables: tiny.tables).skip()
    for (one, other) in zip(one.all, other.all) { #expect(try one.read(0).values == other.read(0).values) }
  }

  @Test func `few tokens, more bits, floats and feedback are observed exactly`() throws {
    let tiny = TinyLayer()
    func isExact(_ quantizer: LayerQuantizer, tokens: Int = Self.tokens) throws -> Bool {
      let layer = try quantizer.observed(tiny.names, tokens: tokens)
      return try tiny.names.allSatisfy { if case .quantized = try layer.linear($0).weight { false } else { true } }
    }
    #expect(try !isExact(Self.quantizer(tiny, Self.w4)))
    #expect(try isExact(Self.quantizer(tiny, Self.w4), tokens: Self.tokens - 1))
    #expect(try isExact(Self.quantizer(tiny, Self.w4, exactly: true)))
    #expect(try isExact(Self.quantizer(tiny, Self.w4, .gptq)))
    #expect(try isExact(Self.quantizer(tiny, .w8a8)))
    #expect(try isExact(Self.quantizer(tiny, .fp8Dynamic)))
  }
}
