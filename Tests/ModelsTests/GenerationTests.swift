import Kernels
import Quantization
import StrictJSON
import Tensors
import TestSupport
import Testing

@testable import Models

/// One token and many go through different kernels, whose float32 sums are taken in another order.
private let orderTolerance = 2e-5

@Suite struct GenerationTests {
  /// Logits of a text that comes in parts, each layer with a cache.
  private static func cached(_ model: LanguageModel, _ ids: [Int], steps: [Int]) throws -> [Float] {
    var layers = try (0..<model.configuration.layerCount).map { try model.layer($0) }
    for index in layers.indices { try layers[index].makeResident() }
    return try logits(model, layers, ids, steps: steps)
  }

  private static func logits(
    _ model: LanguageModel, _ layers: [DecoderLayer], _ ids: [Int], steps: [Int]
  ) throws -> [Float] {
    let caches = layers.map { _ in KeyValueCache() }
    let tables = model.rotaryTables(positions: ids.count)
    let (embedding, head) = (try model.embedding(), try model.head())
    var logits: [Float] = []
    var start = 0
    for step in steps {
      let part = Array(ids[start..<start + step])
      start += step
      let hidden = HiddenStates(try embedding(part), Sequences(lengths: [part.count]))
      for (layer, cache) in zip(layers, caches) { try layer(hidden, tables: tables, caches: [cache]) }
      logits += head(try hidden.read(0)).values
    }
    #expect(start == ids.count && caches.allSatisfy { $0.length == ids.count })
    return logits
  }

  @Test(
    arguments: ModelVectors.families, [[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], [5, 1, 7, 2, 1], [15, 1]])
  func `tokens that follow a cache have the logits of the whole text`(_ family: String, _ steps: [Int]) throws {
    let model = try ModelVectors.family(family)
    let ids = [1, 72, 11, 18, 18, 31, 32, 59, 31, 34, 18, 20, 33, 10, 7, 80]
    let whole = try model.logits(of: ids)
    #expect(Deviation.relative(try Self.cached(model, ids, steps: steps), whole.values) <= orderTolerance)
  }

  @Test func `int8 activations are near float ones, and the same bits token by token as together`() throws {
    let scheme = QuantizationScheme.w4a16Asymmetric.withGroupSize(32)
    func logits(_ products: PackedMatrix.Activations, steps: [Int]) throws -> [Float] {
      let model = try LanguageModel.tiny(TinyModel())
      let ids = [1, 72, 11, 18, 18, 31, 32, 59, 31, 34]
      var layers = try (0..<model.configuration.layerCount).map { try model.layer($0) }
      for index in layers.indices {
        for linear in layers[index].layout.linears {
          var held = try layers[index].linear(linear.name)
          held.weight = .quantized(
            RoundToNearest.quantized(held.rows.matrix(), as: scheme.weights, scaleType: .float32).packed())
          held.activations = products
          layers[index].replace(linear.name, by: held)
        }
      }
      return try Self.logits(model, layers, ids, steps: steps)
    }
    let float = try logits(.float, steps: [10])
    let int8 = try logits(.int8, steps: [10])
    let deviation = Deviation.relative(int8, float)
    // Half a percent of each product's root mean square, through the layers, at the worst of 2,720 logits.
    #expect(deviation > 1e-4 && deviation < 0.12, "\(deviation)")
    #expect(Deviation.relative(try logits(.int8, steps: [4, 1, 1, 1, 1, 1, 1]), int8) < deviation / 2)
  }

  @Test func `tokens are drawn in the order of their logits, and the same as by sorting`() {
    var generator = SeededGenerator(seed: 6)
    var logits = generator.normals(3000).map { ($0 * 4).rounded() / 4 }
    logits[7] = -0.0
    logits[9] = 0
    logits[11] = .infinity
    logits[12] = -.infinity
    let slice = logits[5...]
    let expected = slice.indices.sorted { (slice[$0], -$0) > (slice[$1], -$1) }
    #expect(LogitOrder.descending(slice).map { $0 + 5 } == expected)
    #expect(LogitOrder.descending([]).isEmpty)
    logits[11] = 0
    for sampling in [
      Sampling(temperature: 1), Sampling(temperature: 2, topK: 5), Sampling(temperature: 1.5, topP: 0.9),
    ] {
      var random = SplitMix64(seed: 3)
      let drawn = (0..<200).map { _ in sampling.token(from: logits[...], using: &random) }
      #expect(Set(drawn).count > 2 && drawn.allSatisfy { logits[$0] > -5 || sampling.topK == 0 })
    }
    var random = SplitMix64(seed: 0)
    #expect(Sampling().token(from: [1, 3, 2, 3][...], using: &random) == 1)
    #expect(Sampling().token(from: [0, 9, 1, 3, 2, 3][2...], using: &random) == 1)
  }

  @Test(arguments: ModelVectors.families)
  func `several texts in several chunks are each as if alone, in memory and spilled`(_ family: String) throws {
    let model = try ModelVectors.family(family)
    let chunks = [[[1, 2, 3, 4, 5], [9]], [[60, 61, 7, 7, 7, 7, 12, 90, 33, 3, 8]], [[25, 5], [44, 43, 42]]]
    let sequences = chunks.map { Sequences(lengths: $0.map(\.count)) }
    let tables = model.rotaryTables(positions: 11)
    let folder = try TestFolder()
    func states(_ spillFolder: String?) throws -> [Matrix] {
      let hidden = try HiddenStates(
        chunks: sequences, columns: model.configuration.hiddenSize, spillFolder: spillFolder)
      for (index, chunk) in chunks.enumerated() {
        try hidden.write(try model.embedding()(chunk.flatMap(\.self)), to: index)
      }
      for index in 0..<model.configuration.layerCount { try model.layer(index)(hidden, tables: tables) }
      return try chunks.indices.map { try hidden.read($0) }
    }
    let together = try states(nil)
    let head = try model.head()
    let alone = try chunks.flatMap { try $0.flatMap { try model.logits(of: $0, positions: 11).values } }
    #expect(Deviation.relative(together.flatMap { head($0).values }, alone) <= orderTolerance)
    #expect(try states(folder.path) == together)
    #expect(try folder.names().isEmpty)
  }

  @Test func `sequences lie one after the other`() {
    let sequences = Sequences(lengths: [3, 1, 4])
    #expect(sequences.ranges == [0..<3, 3..<4, 4..<8] && sequences.rowCount == 8 && sequences.longest == 4)
    #expect(Sequences(lengths: []).rowCount == 0 && Sequences(lengths: []).longest == 0)
  }

  @Test func `texts are put into chunks of bounded rows, and a longer one by itself`() {
    func lengths(_ windows: [Int]) -> [[Int]] {
      Sequences.chunks(windows.map { [Int](repeating: 0, count: $0) }, rows: 10).map { $0.map(\.count) }
    }
    #expect(lengths([4, 6, 1, 9, 25, 2]) == [[4, 6], [1, 9], [25], [2]])
    #expect(lengths([]).isEmpty)
  }

  @Test func `a generator takes the likeliest token of the whole text at every step`() throws {
    let model = try LanguageModel.tiny(TinyModel())
    let generator = try Generator(model, positions: 24)
    let text = generator.text()
    var ids = [256, 84, 104, 101]
    var next = ids
    for _ in 0..<12 {
      let logits = try model.logits(of: ids)
      let row = Array(logits.row(logits.rows - 1))
      let likeliest = try #require(row.indices.max { row[$0] < row[$1] })
      let drawn = try generator.next([Generator.Read(text, next)])[0]
      guard let drawn else {
        #expect(likeliest == TinyModel.endToken)
        return
      }
      #expect(drawn == likeliest)
      ids.append(drawn)
      next = [drawn]
    }
  }

  @Test func `an end token ends the text, and any of several does`() throws {
    for ends in [[7], [300, 7]] {
      var tiny = Self.constant([3: 1, 7: 2])
      tiny.configuration["eos_token_id"] = .array(ends.map { .integer($0) })
      let generator = try Generator(try LanguageModel.tiny(tiny), positions: 8)
      #expect(try generator.next([Generator.Read(generator.text(), [1])]) == [nil])
    }
    let generator = try Generator(try LanguageModel.tiny(Self.constant([3: 1, 7: 2])), positions: 8)
    #expect(try generator.next([Generator.Read(generator.text(), [1])]) == [7])
  }

  @Test func `more positions than the model has are refused with both numbers`() throws {
    let model = try LanguageModel.tiny(TinyModel())
    #expect(throws: ModelError.tooLong(length: 129, maximum: 128)) {
      _ = try Generator(model, positions: 129)
    }
    let generator = try Generator(model, positions: 4)
    #expect(throws: ModelError.token(id: 999, vocabularySize: 272)) {
      _ = try generator.next([Generator.Read(generator.text(), [999])])
    }
    let text = generator.text()
    _ = try generator.next([Generator.Read(text, [1, 2, 3])])
    #expect(text.length == 3)
    #expect(throws: ModelError.tooLong(length: 5, maximum: 4)) {
      _ = try generator.next([Generator.Read(text, [4, 5])])
    }
  }

  /// A model whose logits are the same after every text: powers of two in one channel, zeros in the rest.
  private static func constant(_ logits: [Int: Float]) -> TinyModel {
    var tiny = TinyModel()
    tiny.dtype = .float32
    tiny.tiesEmbeddings = false
    func first(_ rows: Int, _ value: (Int) -> Float) -> Tensor {
      Tensor([rows, 64], floats: (0..<rows * 64).map { $0 % 64 == 0 ? value($0 / 64) : 0 })
    }
    tiny.tensors["model.embed_tokens.weight"] = first(272) { _ in 1 }
    tiny.tensors["lm_head.weight"] = first(272) { logits[$0] ?? 0 }
    for layer in 0..<2 {
      for (name, columns) in [("self_attn.o_proj", 64), ("mlp.down_proj", 96)] {
        tiny.tensors["model.layers.\(layer).\(name).weight"] = Tensor(
          [64, columns], floats: [Float](repeating: 0, count: 64 * columns))
      }
    }
    tiny.tensors["model.norm.weight"] = Tensor([64], floats: [Float](repeating: 1, count: 64))
    return tiny
  }
}

@Suite struct SamplingTests {
  private static func draws(_ sampling: Sampling, _ logits: [Float], count: Int = 2000) -> [Int] {
    var generator = SplitMix64(seed: sampling.seed)
    return (0..<count).map { _ in sampling.token(from: logits[...], using: &generator) }
  }

  private static func share(_ id: Int, _ draws: [Int]) -> Double {
    Double(draws.count { $0 == id }) / Double(draws.count)
  }

  /// Five standard deviations of a share of two thousand draws.
  private static let shareTolerance = 5 * (0.25 / 2000).squareRoot()

  @Test func `greedy takes the likeliest token, the lowest id among equals`() {
    #expect(Self.draws(Sampling(), [1, 5, 3, 5, 5], count: 3) == [1, 1, 1])
    #expect(Self.draws(Sampling(), [2, 2, 2], count: 1) == [0])
    #expect(Self.draws(Sampling(), [-.infinity, -3, -3], count: 1) == [1])
  }

  @Test func `the same seed draws the same tokens and another seed others`() {
    let logits = (0..<50).map { Float($0 % 7) }
    let one = Self.draws(Sampling(temperature: 1, seed: 5), logits, count: 64)
    #expect(one == Self.draws(Sampling(temperature: 1, seed: 5), logits, count: 64))
    #expect(one != Self.draws(Sampling(temperature: 1, seed: 6), logits, count: 64))
  }

  @Test func `shares of draws follow the probabilities`() {
    let draws = Self.draws(Sampling(temperature: 1), [Float(1).squareRoot() * 0, 1.0986123])  // ln 1, ln 3
    #expect(abs(Self.share(1, draws) - 0.75) < Self.shareTolerance)
    let sharper = Self.draws(Sampling(temperature: 0.5), [0, 1.0986123])
    #expect(abs(Self.share(1, sharper) - 0.9) < Self.shareTolerance)
  }

  @Test func `top k draws from the likeliest k only, the lowest ids among equals`() {
    let logits: [Float] = [0, 2, 1, 2, 2, -1]
    #expect(Set(Self.draws(Sampling(temperature: 1, topK: 2), logits)) == [1, 3])
    #expect(Set(Self.draws(Sampling(temperature: 1, topK: 1), logits)) == [1])
    #expect(Set(Self.draws(Sampling(temperature: 100, topK: 99), logits)) == [0, 1, 2, 3, 4, 5])
  }

  @Test func `top p draws from the likeliest tokens that reach the share`() {
    // Probabilities 1/2, 1/4, 1/8, 1/8.
    let logits: [Float] = [3, 2, 1, 1].map { $0 * 0.6931472 }
    #expect(Set(Self.draws(Sampling(temperature: 1, topP: 0.4), logits)) == [0])
    #expect(Set(Self.draws(Sampling(temperature: 1, topP: 0.7), logits)) == [0, 1])
    #expect(Set(Self.draws(Sampling(temperature: 1, topP: 0.8), logits)) == [0, 1, 2])
    #expect(Set(Self.draws(Sampling(temperature: 1, topP: 1), logits)) == [0, 1, 2, 3])
    let kept = Self.draws(Sampling(temperature: 1, topP: 0.7), logits)
    #expect(abs(Self.share(0, kept) - 2.0 / 3) < Self.shareTolerance)
  }

  @Test func `a tiny temperature is greedy and does not overflow`() {
    #expect(Set(Self.draws(Sampling(temperature: 1e-30), [1, 80, -90], count: 20)) == [1])
  }
}
