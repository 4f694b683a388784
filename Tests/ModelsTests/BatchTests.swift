import Kernels
import Quantization
import StrictJSON
import Tensors
import TestSupport
import Testing

@testable import Models

/// Several texts continued together: each as if it were alone.
@Suite struct BatchTests {
  private static let prompts = [
    [1, 72, 11, 18, 18, 31, 32], [59], [31, 34, 18, 20, 33, 10, 7, 80, 3, 3, 9, 12, 60, 61], [25, 5], [44],
    [90, 7, 41, 41, 8], [2, 6, 5, 4, 3, 2, 1, 70, 69, 68, 11],
  ]

  /// Logits of a prompt and of three tokens after it, of each text; all texts together or one after the other.
  private static func logits(_ model: ResidentModel, together: Bool) throws -> [[Matrix]] {
    let generator = try Generator(model, positions: 32)
    func run(_ prompts: [[Int]]) throws -> [[Matrix]] {
      let texts = prompts.map { _ in generator.text() }
      var result = [[Matrix]](repeating: [], count: prompts.count)
      for step in 0..<4 {
        let logits = try generator.logits(
          zip(texts, prompts).map { Generator.Read($0, step == 0 ? $1 : [($1[0] * 7 + step * 13) % 96]) })
        for index in texts.indices { result[index].append(logits.rows(index..<index + 1)) }
      }
      return result
    }
    return together ? try run(prompts) : try prompts.flatMap { try run([$0]) }
  }

  private static func expectSame(_ model: ResidentModel, sourceLocation: SourceLocation = #_sourceLocation) throws {
    let (alone, together) = (try logits(model, together: false), try logits(model, together: true))
    for (index, (one, other)) in zip(alone, together).enumerated() {
      for (step, (one, other)) in zip(one, other).enumerated() {
        #expect(
          one.values.elementsEqual(other.values, by: { $0.bitPattern == $1.bitPattern }), "text \(index), step \(step)",
          sourceLocation: sourceLocation)
      }
    }
  }

  /// The tiny model with every linear of its layers packed.
  private static func packed(
    _ model: LanguageModel, _ scheme: QuantizationScheme, _ activations: PackedMatrix.Activations
  ) throws -> ResidentModel {
    var resident = try ResidentModel(model)
    for index in resident.layers.indices {
      for linear in resident.layers[index].layout.linears where !linear.isRouter {
        var held = try resident.layers[index].linear(linear.name)
        held.weight = .quantized(
          RoundToNearest.quantized(held.rows.matrix(), as: scheme.weights, scaleType: .float32).packed())
        held.activations = activations
        resident.layers[index].replace(linear.name, by: held)
      }
    }
    return resident
  }

  @Test(arguments: ModelVectors.families)
  func `a text has the same bits alone and beside others`(_ family: String) throws {
    try Self.expectSame(try ResidentModel(try ModelVectors.family(family)))
  }

  @Test(arguments: ["W4A16_ASYM", "W8A16", "FP8_DYNAMIC"], PackedMatrix.Activations.allCases)
  func `packed weights give the same bits too`(_ name: String, _ activations: PackedMatrix.Activations) throws {
    let scheme = try #require(QuantizationScheme.named(name)).withGroupSize(32)
    for family in ["", "deepseek_v3", "gpt_oss"] {
      let model = try family.isEmpty ? LanguageModel.tiny(TinyModel()) : ModelVectors.family(family)
      let resident = try Self.packed(model, scheme, activations)
      let isInteger = activations == .int8 && name.hasPrefix("W")
      // Routers are floats; where they are, prompts are read one by one.
      #expect(resident.layers.allSatisfy(\.hasIndependentRows) == (isInteger && family.isEmpty))
      try Self.expectSame(resident)
    }
  }

  @Test func `a prompt is cut by its own length, and parts move together as far as they may`() {
    typealias Part = ReadingPass.Part
    func passes(_ lengths: [Int], together: Bool) -> [[Part]] {
      ReadingPass.all(lengths, together: together, rows: 10).map(\.parts)
    }
    let (a, b, c) = (Part(read: 0, range: 0..<4), Part(read: 1, range: 0..<1), Part(read: 2, range: 0..<6))
    #expect(passes([4, 1, 6], together: true) == [[b], [a, c]])
    #expect(passes([4, 1, 6], together: false) == [[b], [a], [c]])
    #expect(passes([1, 1], together: false) == [[Part(read: 0, range: 0..<1), Part(read: 1, range: 0..<1)]])
    #expect(
      passes([23, 7, 4], together: true) == [
        [Part(read: 0, range: 0..<10)], [Part(read: 1, range: 0..<7)], [Part(read: 2, range: 0..<4)],
        [Part(read: 0, range: 10..<20)], [Part(read: 0, range: 20..<23)],
      ])
    #expect(
      passes([11, 12], together: true) == [
        [Part(read: 0, range: 0..<10)], [Part(read: 1, range: 0..<10)], [Part(read: 0, range: 10..<11)],
        [Part(read: 1, range: 10..<12)],
      ])
    #expect(passes([], together: true).isEmpty)
  }

  @Test func `a prompt read in parts has the logits of the whole`() throws {
    var tiny = TinyModel()
    tiny.maximumPositions = 1200
    let model = try LanguageModel.tiny(tiny)
    let ids = (0..<1100).map { ($0 * $0 * 31 + 7) % 256 }
    let generator = try Generator(model, positions: 1200)
    let text = generator.text()
    let logits = try generator.logits([Generator.Read(text, ids)])
    #expect(text.length == 1100)
    let whole = try model.logits(of: ids)
    #expect(Deviation.relative(logits.values, Array(whole.row(1099))) <= 2e-5)
  }

  private static func run(
    _ generator: Generator, _ requests: [ContinuousBatch.Request], size: Int
  ) throws -> (tokens: [[Int]], finishes: [ContinuousBatch.Finish?], most: Int) {
    var batch = ContinuousBatch(generator, requests, size: size)
    var tokens = [[Int]](repeating: [], count: requests.count)
    var finishes = [ContinuousBatch.Finish?](repeating: nil, count: requests.count)
    var most = 0
    while let events = try batch.next() {
      for event in events {
        #expect(finishes[event.request] == nil, "a text that has ended goes on")
        if let token = event.token { tokens[event.request].append(token) }
        finishes[event.request] = event.finish
      }
      most = max(most, batch.count)
    }
    #expect(try batch.next() == nil && batch.count == 0)
    return (tokens, finishes, most)
  }

  @Test(arguments: [Float(0), 1.5])
  func `texts come and go, and each is what it is alone`(_ temperature: Float) throws {
    // Many tokens end a text, so that some end early.
    var tiny = TinyModel()
    tiny.configuration["eos_token_id"] = .array((0..<24).map { .integer($0 * 11) })
    let scheme = QuantizationScheme.w4a16Asymmetric.withGroupSize(32)
    let generator = try Generator(
      try Self.packed(try LanguageModel.tiny(tiny), scheme, .int8), positions: 40)
    let requests = (0..<11).map { index in
      ContinuousBatch.Request(
        Self.prompts[index % 7], maximumTokens: 1 + index * 5 % 17,
        sampling: Sampling(temperature: temperature, seed: UInt64(100 + index)))
    }
    let alone = try requests.map { try Self.run(generator, [$0], size: 1) }
    for size in [1, 3, 8, 32] {
      let (tokens, finishes, most) = try Self.run(generator, requests, size: size)
      #expect(tokens == alone.map { $0.tokens[0] }, "\(size) at a time")
      #expect(finishes == alone.map { $0.finishes[0] })
      #expect(most <= size)
    }
    for (request, text) in zip(requests, alone) {
      #expect((text.tokens[0].count == request.maximumTokens) == (text.finishes[0] == .length))
    }
    if temperature > 0 {
      #expect(Set(alone.map { $0.finishes[0] }) == [.end, .length])
      let (first, second) = (alone[2].tokens[0], alone[9].tokens[0])
      #expect(Array(first.prefix(4)) != Array(second.prefix(4)), "the same prompt with two seeds")
    }
  }
}
