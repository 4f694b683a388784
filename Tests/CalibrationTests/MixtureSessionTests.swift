import Kernels
import Quantization
import Tensors
import TestSupport
import Testing

@testable import Calibration
@testable import Models

@Suite(.serialized) struct MixtureSessionTests {
  static let w4 = QuantizationScheme.w4a16Asymmetric.withGroupSize(32)
  /// Experts 0 to 3 are common, 4 is rare, to 5 no token comes.
  static let bias: [Float] = [0, 0, 0, 0, -1.2, -1000]

  /// Three kinds of texts, in one piece each, so that rows can be counted directly.
  private struct Texts {
    let search, heldOut, reserve: Matrix

    init(_ tiny: TinyLayer, search: Int = 160, reserve: Int = 160, factor: Float = 3, reserveFactor: Float? = nil) {
      self.search = tiny.hiddenStates(search, seed: 2, factor: factor)
      heldOut = tiny.hiddenStates(60, seed: 3, factor: factor)
      self.reserve = tiny.hiddenStates(reserve, seed: 4, factor: reserveFactor ?? factor)
    }

    func states(spillFolder: String? = nil, hasReserve: Bool = true) throws -> CalibrationStates {
      try CalibrationStates(
        search: try TinyMixture.states(search, chunks: [[search.rows]], spillFolder: spillFolder),
        heldOut: try TinyMixture.states(heldOut, chunks: [[heldOut.rows]], spillFolder: spillFolder),
        reserve: hasReserve
          ? try TinyMixture.states(reserve, chunks: [[reserve.rows]], spillFolder: spillFolder) : nil)
    }
  }

  private static func largest(_ x: Matrix, _ rows: [Int]) -> Float {
    rows.flatMap { x.row($0).map(abs) }.max() ?? 0
  }

  // MARK: Few tokens

  @Test func `tokens of each expert are counted as they are routed`() throws {
    let mixture = TinyMixture(bias: Self.bias)
    let texts = Texts(mixture.tiny)
    let found = try TinyResult(
      mixture.tiny.quantizer(mixture.tiny.all(Self.w4)), texts.states(), mixture.tiny.tables)
    let counts = try mixture.rows(texts.search).map(\.count)
    #expect(found.experts?.counts == counts && counts.reduce(0, +) == 2 * 160)
    #expect(counts[5] == 0 && counts[4] > 0 && counts[4] < counts[..<4].min() ?? 0, "\(counts)")
    #expect(found.experts?.helped == [5: .layerInput(tokens: 0)], "without a quota only who saw nothing is helped")
  }

  @Test func `an expert below the quota takes the reserve, then the layer's input, and says so`() throws {
    let mixture = TinyMixture(bias: Self.bias)
    // The reserve is the loudest, so that it shows whether it was heard.
    let texts = Texts(mixture.tiny, reserveFactor: 12)
    let (search, reserve) = (try mixture.rows(texts.search), try mixture.rows(texts.reserve))
    let (x, further) = (try mixture.inputs(texts.search), try mixture.inputs(texts.reserve))
    // Float8 shows what was seen: the largest input. Nothing is folded.
    let schemes = mixture.tiny.all(.fp8)
    func run(quota: Int, hasReserve: Bool = true) throws -> TinyResult {
      try TinyResult(
        mixture.tiny.quantizer(schemes), texts.states(hasReserve: hasReserve), mixture.tiny.tables, quota: quota)
    }
    func check(_ found: TinyResult, _ expert: Int, _ expected: Float, isDown: Bool = false) throws {
      for name in mixture.openers(expert) {
        let maximum = try #require(found.inputMaxima[name])
        #expect(abs(maximum / expected - 1) < 1e-5, "\(name): \(maximum), not \(expected)")
      }
    }
    let rare = search[4].count
    let enough = rare + reserve[4].count
    try #require(enough > rare && rare > 0)

    let helped = try run(quota: enough)
    #expect(helped.experts?.helped[4] == .moreSamples(tokens: enough))
    #expect(helped.experts?.helped[5] == .layerInput(tokens: 0))
    #expect(helped.experts?.counts == search.map(\.count), "counts are before any help")
    try #require(Self.largest(further, reserve[4]) > 1.01 * Self.largest(x, search[4]))
    try check(helped, 4, max(Self.largest(x, search[4]), Self.largest(further, reserve[4])))
    try check(helped, 5, Self.largest(x, Array(0..<x.rows)))
    for expert in 0..<4 where search[expert].count >= enough {
      #expect(helped.experts?.helped[expert] == nil)
      try check(helped, expert, Self.largest(x, search[expert]))
    }

    let plenty = try run(quota: rare)
    #expect(plenty.experts?.helped == [5: .layerInput(tokens: 0)], "whoever reaches the quota needs no help")
    try check(plenty, 4, Self.largest(x, search[4]))

    let scarce = try run(quota: 1000)
    for expert in 0..<6 {
      #expect(
        scarce.experts?.helped[expert] == .layerInput(tokens: search[expert].count + reserve[expert].count))
      try check(scarce, expert, Self.largest(x, Array(0..<x.rows)))
    }

    let alone = try run(quota: enough, hasReserve: false)
    #expect(alone.experts?.helped[4] == .layerInput(tokens: rare))
    try check(alone, 4, Self.largest(x, Array(0..<x.rows)))
  }

  @Test(arguments: [0, 50], [w4, QuantizationScheme.fp8, .w8a16])
  func `an expert that no token comes to is still quantized, about as well as by rounding`(
    quota: Int, scheme: QuantizationScheme
  ) throws {
    let mixture = TinyMixture(bias: Self.bias)
    let tiny = mixture.tiny
    let texts = Texts(tiny)
    let found = try TinyResult(tiny.quantizer(tiny.all(scheme)), texts.states(), tiny.tables, quota: quota)
    let rounded = try tiny.rounded(tiny.all(scheme))
    #expect(found.isFinite && found.weights.count == tiny.names.count)
    let x = try mixture.inputs(texts.reserve)
    let expected = try tiny.layer.expert(5, of: mixture.mixture, x)
    let stored = try tiny.layer.replacing(found)
    // The norm may be folded into all experts.
    let folded = zip(stored.norm("post_attention_layernorm").gains, tiny.layer.norm("post_attention_layernorm").gains)
      .map { $0 / $1 }
    var input = x
    for row in 0..<x.rows { for column in 0..<x.columns { input[row, column] *= folded[column] } }
    let error = try stored.expert(5, of: mixture.mixture, input).distance(to: expected)
    let plain = try tiny.layer.replacing(rounded).expert(5, of: mixture.mixture, x).distance(to: expected)
    #expect(error <= 1.1 * plain, "\(error), \(plain)")
    for name in mixture.openers(5) + ["mlp.experts.5.down_proj"] {
      #expect(try #require(found.inputMaxima[name]) > 0, "\(name)")
    }
  }

  // MARK: Quality

  /// Experts that are as wide as the model too: what down reads is not what gate and up read.
  @Test(arguments: [true, false], [48, 64])
  func `activation-aware scales and clipping lower the error of a mixture`(hasShared: Bool, width: Int) throws {
    let mixture = TinyMixture(width: width, hasShared: hasShared)
    let tiny = mixture.tiny
    let texts = Texts(tiny, search: 400)
    let found = try TinyResult(tiny.quantizer(tiny.all(Self.w4)), texts.states(), tiny.tables, quota: 20)
    #expect(found.folds.count == tiny.layer.layout.folds.count && found.folds.contains { $0.isKept })
    let unseen = tiny.hiddenStates(100, seed: 9, factor: 3)
    let expected = try tiny.output(tiny.layer, unseen)
    let aware = try tiny.output(tiny.layer.replacing(found), unseen).distance(to: expected)
    let plain = try tiny.output(tiny.layer.replacing(tiny.rounded(tiny.all(Self.w4))), unseen).distance(to: expected)
    #expect(aware < plain, "\(aware), \(plain)")
  }

  @Test func `a fold of the norm reaches router and all experts, and leaves the routes as they are`() throws {
    let mixture = TinyMixture(bias: Self.bias)
    let tiny = mixture.tiny
    let texts = Texts(tiny, search: 400, factor: 20)
    let found = try TinyResult(tiny.quantizer(tiny.all(Self.w4)), texts.states(), tiny.tables)
    let title = try #require(tiny.layer.layout.folds.first { $0.block == .feedForward && $0.expert == nil }).title
    let fold = try #require(found.folds.first { $0.title == title })
    try #require(fold.isKept, "or this shows nothing: \(fold)")
    let gains = tiny.layer.norm("post_attention_layernorm").gains
    let factors = zip(gains, found.norms["post_attention_layernorm"] ?? []).map { $0 / $1 }
    #expect(factors.allSatisfy { $0.significand == 1 }, "the router stays float")
    for name in ["mlp.gate", "mlp.shared_expert_gate"] + (0..<6).flatMap(mixture.openers) {
      #expect(found.weights[name]?.columnFactors == factors, "\(name)")
    }
    let router = try #require(found.weights["mlp.gate"])
    let source = try tiny.layer.matrix("mlp.gate")
    for (index, value) in router.kept().floats().enumerated() {
      #expect(value == source.values[index] * factors[index % 64], "no bit of the router is lost")
    }
  }

  @Test func `what is judged of an expert is its held-out rows behind the folded norm`() throws {
    let mixture = TinyMixture(bias: Self.bias)
    let tiny = mixture.tiny
    let texts = Texts(tiny, search: 400, factor: 20)
    let found = try TinyResult(tiny.quantizer(tiny.all(Self.w4)), texts.states(), tiny.tables)
    try #require(found.norms["post_attention_layernorm"] != nil)
    let stored = try tiny.layer.replacing(found)
    var hidden = texts.heldOut
    hidden += try tiny.delta(tiny.layer, .attention, hidden)
    let rows = try mixture.rows(texts.heldOut)
    let judged = (0..<6).filter { rows[$0].count >= 16 }
    try #require(judged.count >= 2, "\(rows.map(\.count))")
    for expert in judged {
      let picked = hidden.gathered(rows: rows[expert])
      let outputs = try [stored, tiny.layer].map {
        try $0.expert(expert, of: mixture.mixture, $0.norm("post_attention_layernorm")(picked))
      }
      let distance = outputs[0].distance(to: outputs[1])
      let fold = try #require(found.folds.first { $0.title.hasPrefix("expert \(expert):") })
      let loss = fold.isKept ? fold.lossWith : fold.lossWithout
      // Trials round activations to int8.
      #expect(abs(distance * distance / loss - 1) < 0.06, "expert \(expert)")
    }
  }

  // MARK: Hidden states

  /// What may be asked for of a layer with experts: in checkpoint order, but anything may be left out.
  static let asked: [[String]] = [
    [], ["input_layernorm"], ["mlp.gate"], ["mlp.experts.3.up_proj"],
    ["self_attn.k_proj", "mlp.experts.0.down_proj", "mlp.experts.5.gate_proj", "mlp.experts.5.down_proj"],
    ["mlp.shared_expert.up_proj", "mlp.shared_expert_gate"],
    ["mlp.experts.2.gate_proj", "mlp.shared_expert.down_proj", "mlp.experts.4.up_proj"],
  ]

  @Test(arguments: asked)
  func `the hidden states behind the layer are the full-precision layer's`(asked: [String]) throws {
    let mixture = TinyMixture(bias: Self.bias)
    let tiny = mixture.tiny
    let texts = Texts(tiny)
    let chunks = [[50, 30], [80]]
    func states() throws -> CalibrationStates {
      try CalibrationStates(
        search: try TinyMixture.states(texts.search, chunks: chunks),
        heldOut: try TinyMixture.states(texts.heldOut, chunks: [[20, 40]]),
        reserve: try TinyMixture.states(texts.reserve, chunks: chunks))
    }
    let (found, expected) = (try states(), try states())
    for hidden in expected.all { try tiny.layer(hidden, tables: tiny.tables) }
    let session = LayerSession(
      tiny.quantizer(tiny.all(Self.w4)), states: found, tables: tiny.tables, quota: 30)
    for name in asked {
      if name.hasSuffix("layernorm") { _ = try session.norm(name) } else { _ = try session.weight(name) }
    }
    try session.finish()
    try session.finish()
    for (found, expected) in zip(found.all, expected.all) {
      for chunk in found.chunks.indices {
        let distance = try found.read(chunk).distance(to: expected.read(chunk))
        #expect(distance <= 1e-5, "\(distance)")
      }
    }
  }

  @Test func `every bit is the same in memory and spilled, and for any number of threads`() throws {
    let mixture = TinyMixture(bias: Self.bias)
    let tiny = mixture.tiny
    let texts = Texts(tiny)
    let folder = try TestFolder()
    let threads = Parallel.threads
    defer { Parallel.threads = threads }
    var first: (result: TinyResult, states: CalibrationStates)?
    for (count, spills) in [(1, false), (1, true), (2, false), (4, true), (2, true), (4, false)] {
      Parallel.threads = count
      let states = try texts.states(spillFolder: spills ? folder.path : nil)
      let found = try TinyResult(tiny.quantizer(tiny.all(Self.w4)), states, tiny.tables, quota: 40)
      guard let first else {
        first = (found, states)
        continue
      }
      #expect(found.bits == first.result.bits, "\(count) threads, \(spills)")
      #expect(found.folds == first.result.folds && found.inputMaxima == first.result.inputMaxima)
      #expect(found.experts == first.result.experts)
      for (a, b) in zip(states.all, first.states.all) { #expect(try a.read(0) == b.read(0)) }
    }
  }

  @Test func `without calibration experts are rounded to nearest`() throws {
    let tiny = TinyMixture().tiny
    let rounded = try tiny.rounded(tiny.all(Self.w4))
    for name in tiny.names {
      let weight = try tiny.layer.matrix(name)
      let expected = RoundToNearest.quantized(weight, as: Self.w4.weights, scaleType: .bfloat16).dequantized()
      #expect(rounded.tensor(name).map { $0.dequantized() == expected } ?? (name.hasSuffix("gate")), "\(name)")
    }
    #expect(rounded.experts == nil && rounded.folds.isEmpty)
  }
}
