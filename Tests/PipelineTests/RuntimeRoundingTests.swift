import Calibration
import Checkpoints
import Foundation
import Models
import Pipeline
import Quantization
import Reports
import StrictJSON
import Tensors
import TestSupport
import Testing

/// What a runtime rounds besides the weights: made by runs, measured by verification.
@Suite struct RuntimeRoundingTests {
  private static func verify(_ bench: Workbench, _ output: String, roundsActivations: Bool) throws -> Report {
    var request = Verification.Request(reference: bench.model, candidate: bench.folder(output))
    request.texts = [bench.folder("text.txt")]
    request.tokens = 512
    request.sequenceLength = 64
    request.roundsActivations = roundsActivations
    return try Verification.run(request)
  }

  @Test(arguments: [QuantizationScheme.fp8Dynamic, .fp8, .fp8Block, .mxfp4, .nvfp4, .w8a8])
  func `verification rounds activations as the scheme says, unless it is told not to`(scheme: QuantizationScheme) throws
  {
    let bench = try Workbench()
    try bench.quantize(bench.recipe(scheme))
    let rounded = try Self.verify(bench, "out.tar.zst", roundsActivations: true)
    let float = try Self.verify(bench, "out.tar.zst", roundsActivations: false)
    #expect(rounded.arithmetic == .init(activations: .rounded, keysAndValues: .float))
    #expect(float.arithmetic == .init(activations: .float, keysAndValues: .float))
    #expect(rounded.divergence > float.divergence * 1.1, "\(rounded.divergence), \(float.divergence)")
    #expect(rounded.warnings.isEmpty && float.warnings.contains { $0.contains("activations were float") })
    #expect(rounded.json()["arithmetic"] == ["activations": "rounded", "keysAndValues": "float"])
    #expect(try Report(json: rounded.json()).arithmetic == rounded.arithmetic)
    let evaluated = try Evaluation.run(
      model: bench.folder("out.tar.zst"), texts: [bench.folder("text.txt")], tokens: 512, sequenceLength: 64)
    #expect(evaluated.arithmetic == rounded.arithmetic)
    let (mine, theirs) = (evaluated.summary.referencePerplexity, rounded.accuracy?.comparison?.perplexity)
    #expect(mine.value == theirs?.value)
  }

  @Test func `int8 as in generation is measured, and refused where nothing is multiplied so`() throws {
    let bench = try Workbench()
    try bench.quantize(bench.recipe(.w4a16Asymmetric))
    var request = Verification.Request(reference: bench.model, candidate: bench.folder("out.tar.zst"))
    request.texts = [bench.folder("text.txt")]
    request.tokens = 512
    request.sequenceLength = 64
    let float = try Verification.run(request)
    request.roundsAsGeneration = true
    let int8 = try Verification.run(request)
    #expect(int8.arithmetic == .init(activations: .int8, keysAndValues: .float) && int8.warnings.isEmpty)
    #expect(try Report(json: int8.json()).arithmetic == int8.arithmetic)
    #expect(int8.divergence != float.divergence && int8.divergence < float.divergence * 1.2)
    let evaluated = try Evaluation.run(
      model: bench.folder("out.tar.zst"), texts: [bench.folder("text.txt")], tokens: 512, sequenceLength: 64,
      roundsAsGeneration: true)
    #expect(evaluated.arithmetic == int8.arithmetic)
    #expect(evaluated.summary.referencePerplexity.value == int8.accuracy?.comparison?.perplexity.value)
    request.candidate = bench.model
    #expect(throws: PipelineError.self) { try Verification.run(request) }
    for activations in TextGeneration.Activations.allCases {
      var text = ""
      let statistics = try TextGeneration.run(
        model: bench.folder("out.tar.zst"), prompt: "Once", maximumTokens: 8, sampling: Sampling(),
        activations: activations
      ) { text += $0 }
      #expect(statistics.tokens > 0 && statistics.secondsToLoad <= statistics.secondsToFirstToken)
    }
    #expect(throws: PipelineError.self) {
      _ = try TextGeneration.run(
        model: bench.model, prompt: "Once", maximumTokens: 1, sampling: Sampling(), activations: .int8
      ) { _ in }
    }
    let speed = try GenerationSpeed.run(
      model: bench.folder("out.tar.zst"), promptTokens: 9, generatedTokens: 3, batches: [1, 3], rounds: 2)
    #expect(speed.prompt.count == 2 && speed.generation.map(\.texts) == [1, 3])
    #expect(speed.generation.allSatisfy { $0.rates.count == 2 && $0.rates.allSatisfy { $0 > 0 } })
  }

  @Test func `schemes of weights alone leave activations as they are`() throws {
    let bench = try Workbench()
    try bench.quantize(bench.recipe(.nvfp4A16))
    let report = try bench.verify()
    #expect(report.arithmetic == .init(activations: .float, keysAndValues: .float) && report.warnings.isEmpty)
    #expect(try report.divergence == Self.verify(bench, "out.tar.zst", roundsActivations: false).divergence)
  }

  @Test func `linears that read the same input share the divisor of their scales`() throws {
    let bench = try Workbench()
    try bench.quantize(bench.recipe(.nvfp4))
    let result = try bench.open()
    for layer in 0..<2 {
      func number(_ name: String) throws -> Float { try result.tensor("model.layers.\(layer).\(name)").floats()[0] }
      for part in [".weight_global_scale", ".input_global_scale"] {
        let attention = try ["q", "k", "v"].map { try number("self_attn.\($0)_proj" + part) }
        #expect(Set(attention).count == 1)
        #expect(try number("mlp.gate_proj" + part) == number("mlp.up_proj" + part))
        #expect(try number("mlp.down_proj" + part) != number("mlp.up_proj" + part))
      }
    }
  }

  // MARK: Keys and values

  @Test(arguments: CacheQuantization.Format.allCases, [QuantizationScheme.w4a16Asymmetric, .fp8Dynamic])
  func `scales of keys and values are what the artifact's own layers give`(
    _ format: CacheQuantization.Format, _ scheme: QuantizationScheme
  ) throws {
    let bench = try Workbench()
    var recipe = bench.recipe(scheme, .awq)
    recipe.kvCache = format
    try bench.quantize(recipe)
    let result = try bench.open()
    #expect(result.quantization?.cache == CacheQuantization(format) && result.quantization?.warnings == [])
    let configuration = try #require(result.checkpoint.configuration["quantization_config"]?["kv_cache_scheme"])
    #expect(configuration["num_bits"] == 8 && configuration["strategy"] == "tensor")
    #expect(configuration["type"] == (format == .fp8 ? "float" : "int"))
    // The same text through the artifact: folding divides values, and their scale with them.
    let ids = [256] + Array(Workbench.text.utf8.prefix(120)).map(Int.init)
    let tables = result.rotaryTables(positions: ids.count)
    let hidden = HiddenStates(try result.embedding()(ids), Sequences(lengths: [ids.count]))
    for index in 0..<2 {
      var layer = try result.layer(index)
      let maxima = CacheMaxima()
      layer.cacheMaxima = maxima
      try layer(hidden, tables: tables)
      let names = CacheQuantization.scaleNames(result.layerPrefix(index) + "self_attn")
      for (name, seen) in [(names.keys, maxima.keys), (names.values, maxima.values.max() ?? 0)] {
        let tensor = try result.tensor(name)
        #expect(tensor.dtype == .float32 && tensor.shape == [1])
        let share = tensor.floats()[0] / format.scale(of: seen)
        #expect(share > 0.8 && share < 1.5, "\(name): \(share)")
      }
    }
  }

  @Test func `verification and generation round keys and values, and say so`() throws {
    let bench = try Workbench()
    var recipe = bench.recipe(.w8a16)
    try bench.quantize(recipe, to: "plain.tar.zst")
    recipe.kvCache = .fp8
    try bench.quantize(recipe)
    let (plain, rounded) = (try bench.verify("plain.tar.zst"), try bench.verify())
    #expect(plain.arithmetic == .init(activations: .float, keysAndValues: .float))
    #expect(rounded.arithmetic == .init(activations: .float, keysAndValues: .rounded))
    #expect(rounded.divergence > plain.divergence)
    var text = ""
    _ = try TextGeneration.run(
      model: bench.folder("out.tar.zst"), prompt: "The", maximumTokens: 5, sampling: Sampling()
    ) { text += $0 }
    // Calibrated anew, and kept by a conversion.
    let artifact = try bench.artifact("out.tar.zst")
    #expect(artifact.tensors.count { $0.name.hasSuffix("_scale") && $0.name.contains("self_attn.v_scale") } == 2)
  }

  @Test func `the recipe file says how keys and values are kept`() throws {
    #expect(try Recipe(yaml: "kv_cache: FP8", file: "r").kvCache == .fp8)
    #expect(try Recipe(yaml: "kv_cache: none", file: "r").kvCache == nil)
    #expect(try Recipe(yaml: "scheme: FP8", file: "r").kvCache == nil)
    #expect(Recipe(scheme: .fp8).json["kv_cache"] == nil)
    #expect(refusal { _ = try Recipe(yaml: "kv_cache: fp4", file: "r") }.contains("expected fp8, int8 or none"))
  }
}
