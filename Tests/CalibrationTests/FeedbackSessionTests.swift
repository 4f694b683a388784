import Kernels
import Quantization
import Tensors
import TestSupport
import Testing

@testable import Calibration
@testable import Models

/// Whole layers, rounded with feedback.
@Suite(.serialized) struct FeedbackSessionTests {
  static let w3 = QuantizationScheme(
    name: "W3A16_ASYM", weights: WeightQuantization(.int(bits: 3), .perGroup(size: 32), isSymmetric: false))

  /// Hidden states whose channels have causes in common, some of them loud.
  static func hidden(_ tiny: TinyLayer, _ tokens: Int, seed: UInt64) -> Matrix {
    var mixer = SeededGenerator(seed: 99)
    let causes = tiny.hiddenSize / 4
    let mixing = Matrix(
      rows: tiny.hiddenSize, columns: causes, values: mixer.normals(tiny.hiddenSize * causes).map { $0 / 4 })
    var generator = SeededGenerator(seed: seed)
    let hidden = Matrix(rows: tokens, columns: causes, values: generator.normals(tokens * causes))
    var result = MatrixProduct.product(hidden, transposed: mixing)
    let own = tiny.hiddenStates(tokens, seed: seed + 1000, factor: 8)
    for index in result.values.indices { result.values[index] += 0.3 * own.values[index] }
    return result
  }

  private static func states(_ tiny: TinyLayer, tokens: Int = 400, passesErrorsOn: Bool) throws -> CalibrationStates {
    let (search, heldOut) = (hidden(tiny, tokens, seed: 2), hidden(tiny, 100, seed: 3))
    return try CalibrationStates(
      search: HiddenStates(search, Sequences(lengths: [search.rows])),
      heldOut: HiddenStates(heldOut, Sequences(lengths: [heldOut.rows])), reserve: nil,
      passesErrorsOn: passesErrorsOn)
  }

  private static func found(
    _ tiny: TinyLayer, _ scheme: QuantizationScheme, _ method: Calibration.Method, tokens: Int = 400,
    passesErrorsOn: Bool = false
  ) throws -> TinyResult {
    try TinyResult(
      tiny.quantizer(tiny.all(scheme), method: method),
      states(tiny, tokens: tokens, passesErrorsOn: passesErrorsOn), tiny.tables)
  }

  /// The layer's error on text that was not seen.
  private static func error(_ tiny: TinyLayer, _ result: TinyResult) throws -> Double {
    let unseen = hidden(tiny, 200, seed: 4)
    let expected = try tiny.delta(tiny.layer, .attention, unseen)
    let stored = try tiny.layer.replacing(result)
    let attention = try tiny.delta(stored, .attention, unseen).distance(to: expected)
    var behind = unseen
    behind += expected
    let feedForward = try tiny.delta(stored, .feedForward, behind)
      .distance(to: tiny.delta(tiny.layer, .feedForward, behind))
    return attention + feedForward
  }

  @Test(arguments: [w3, .w4a16.withGroupSize(32)])
  func `feedback lowers the error of blocks on text that was not seen`(scheme: QuantizationScheme) throws {
    var errors: [Calibration.Method: Double] = [:]
    for seed in UInt64(1)...3 {
      let tiny = TinyLayer(seed: seed)
      for method in Calibration.Method.allCases {
        let result = try Self.found(tiny, scheme, method)
        #expect(result.isFinite)
        errors[method, default: 0] += try Self.error(tiny, result)
      }
    }
    let (plain, awq) = (try #require(errors[.roundToNearest]), try #require(errors[.awq]))
    let (gptq, both) = (try #require(errors[.gptq]), try #require(errors[.awqGPTQ]))
    #expect(gptq < 0.9 * plain && both < 0.9 * awq && gptq < awq, "\(errors)")
  }

  @Test func `what is passed on is made good by the linears after it`() throws {
    var errors = [0.0, 0.0]
    for seed in UInt64(1)...3 {
      let tiny = TinyLayer(seed: seed)
      let unseen = Self.hidden(tiny, 200, seed: 4)
      let expected = try tiny.output(tiny.layer, unseen)
      for (index, passesErrorsOn) in [false, true].enumerated() {
        let result = try Self.found(tiny, Self.w3, .gptq, passesErrorsOn: passesErrorsOn)
        #expect(result.isFinite)
        errors[index] += try tiny.output(tiny.layer.replacing(result), unseen).distance(to: expected)
      }
    }
    #expect(errors[1] < 0.97 * errors[0], "\(errors)")
  }

  @Test func `states that are passed on are the stored layer's`() throws {
    let tiny = TinyLayer()
    let states = try Self.states(tiny, passesErrorsOn: true)
    let result = try TinyResult(tiny.quantizer(tiny.all(Self.w3), method: .awqGPTQ), states, tiny.tables)
    let stored = try tiny.layer.replacing(result)
    let quantized = try #require(states.quantized)
    for (found, input) in [(quantized.search, (400, 2)), (quantized.heldOut, (100, 3))]
      as [(HiddenStates, (Int, UInt64))]
    {
      let expected = try tiny.output(stored, Self.hidden(tiny, input.0, seed: input.1))
      let distance = try found.read(0).distance(to: expected)
      #expect(distance < 1e-5, "\(distance)")
    }
    let exact = try tiny.output(tiny.layer, Self.hidden(tiny, 400, seed: 2))
    #expect(try states.search.read(0) == exact, "full precision stays full precision")
  }

  @Test(arguments: [1, 5, 31, 40])
  func `few tokens are enough to run`(tokens: Int) throws {
    let tiny = TinyLayer()
    for method in [Calibration.Method.gptq, .awqGPTQ] {
      for passesErrorsOn in [false, true] {
        #expect(try Self.found(tiny, Self.w3, method, tokens: tokens, passesErrorsOn: passesErrorsOn).isFinite)
      }
    }
    // Fewer than half a token a channel say nothing of pairs of channels.
    let quantizer = tiny.quantizer(tiny.all(Self.w3), method: .gptq)
    #expect(!quantizer.statistics("self_attn.q_proj", tokens: 31).keepsMoments)
    #expect(quantizer.statistics("self_attn.q_proj", tokens: 32).keepsMoments)
    #expect(!tiny.quantizer(tiny.all(Self.w3)).statistics("self_attn.q_proj", tokens: 1000).keepsMoments)
  }

  @Test func `channels that are always 0 do no harm`() throws {
    var tiny = TinyLayer()
    for name in ["input_layernorm", "post_attention_layernorm"] {
      for channel in [0, 9, 63] { tiny.layer.norms[name]?.gains[channel] = 0 }
    }
    for passesErrorsOn in [false, true] {
      let found = try Self.found(tiny, Self.w3, .awqGPTQ, passesErrorsOn: passesErrorsOn)
      #expect(found.isFinite)
      #expect(try Self.error(tiny, found) < Self.error(tiny, tiny.rounded(tiny.all(Self.w3))))
    }
  }

  @Test func `the same for any number of threads`() throws {
    let tiny = TinyLayer()
    let before = Parallel.threads
    defer { Parallel.threads = before }
    let expected = try Self.found(tiny, Self.w3, .awqGPTQ, passesErrorsOn: true).bits
    for threads in [1, 3] {
      Parallel.threads = threads
      #expect(try Self.found(tiny, Self.w3, .awqGPTQ, passesErrorsOn: true).bits == expected, "\(threads) threads")
    }
  }

  @Test(arguments: [QuantizationScheme.fp8, .fp8Dynamic, .fp8Block])
  func `float weights are fed back too`(scheme: QuantizationScheme) throws {
    let tiny = TinyLayer()
    let (plain, found) = (
      try tiny.rounded(tiny.all(scheme)), try Self.found(tiny, scheme, .gptq, passesErrorsOn: true)
    )
    #expect(found.isFinite && found.tensor("mlp.down_proj")?.codes != plain.tensor("mlp.down_proj")?.codes)
    #expect(try Self.error(tiny, found) < Self.error(tiny, plain))
  }

  @Test func `sinks at the start of texts cost the other tokens nothing`() throws {
    let tiny = TinyLayer()
    /// Texts of 20 tokens; the first of each is the same, with a residual stream a thousand times the others'.
    func hidden(_ tokens: Int, seed: UInt64, hasSinks: Bool) -> Matrix {
      var result = Self.hidden(tiny, tokens, seed: seed)
      if hasSinks {
        for token in stride(from: 0, to: tokens, by: 20) {
          for channel in 0..<tiny.hiddenSize { result[token, channel] = channel == 7 ? 3000 : channel == 30 ? -900 : 1 }
        }
      }
      return result
    }
    func states(_ tokens: Int, seed: UInt64, hasSinks: Bool) throws -> HiddenStates {
      HiddenStates(
        hidden(tokens, seed: seed, hasSinks: hasSinks), Sequences(lengths: [Int](repeating: 20, count: tokens / 20)))
    }
    for method in [Calibration.Method.awq, .gptq, .awqGPTQ] {
      let errors = try [false, true].map { hasSinks in
        let calibration = try CalibrationStates(
          search: states(400, seed: 2, hasSinks: hasSinks), heldOut: states(100, seed: 3, hasSinks: hasSinks),
          reserve: nil, passesErrorsOn: method.feedsBack)
        let found = try TinyResult(
          tiny.quantizer(tiny.all(Self.w3), method: method), calibration, tiny.tables)
        #expect(found.isFinite)
        return try Self.error(tiny, found)
      }
      #expect(errors[1] < 1.25 * errors[0], "\(method): \(errors)")
    }
  }

  // MARK: Experts

  @Test(arguments: [Calibration.Method.gptq, .awqGPTQ])
  func `experts with few tokens or none keep working`(method: Calibration.Method) throws {
    let mixture = TinyMixture(bias: [0, 0, 0, 0, -1.2, -1000])
    let tiny = mixture.tiny
    for (tokens, quota) in [(160, 0), (160, 1000), (12, 20)] {
      let search = Self.hidden(tiny, tokens, seed: 2)
      let states = try CalibrationStates(
        search: TinyMixture.states(search, chunks: [[tokens]]),
        heldOut: TinyMixture.states(Self.hidden(tiny, 60, seed: 3), chunks: [[60]]),
        reserve: TinyMixture.states(Self.hidden(tiny, 160, seed: 5), chunks: [[160]]))
      let found = try TinyResult(tiny.quantizer(tiny.all(Self.w3), method: method), states, tiny.tables, quota: quota)
      #expect(found.isFinite && found.weights.count == tiny.names.count, "\(tokens) tokens")
      guard tokens == 160, quota == 0 else { continue }
      // An expert that no token reached is rounded by what is known of the layer's input; it is stored all the same.
      let unseen = Self.hidden(tiny, 200, seed: 4)
      let expected = try tiny.output(tiny.layer, unseen)
      let error = try tiny.output(tiny.layer.replacing(found), unseen).distance(to: expected)
      let plain = try tiny.output(tiny.layer.replacing(tiny.rounded(tiny.all(Self.w3))), unseen).distance(to: expected)
      #expect(error < 0.9 * plain, "\(error), \(plain)")
    }
  }
}
