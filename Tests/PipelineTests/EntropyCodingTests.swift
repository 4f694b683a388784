import Calibration
import Checkpoints
import Models
import Pipeline
import Quantization
import Reports
import StrictJSON
import Tensors
import TestSupport
import Testing

/// `--scheme EC` from checkpoint to artifact.
@Suite(.serialized) struct EntropyCodingTests {
  private static func recipe(_ bench: Workbench, _ rate: Rate?) -> Recipe {
    var recipe = bench.recipe(.entropyCoded(bits: 8), .awqGPTQ)
    recipe.rate = rate
    return recipe
  }

  @Test func `more bits are a larger file and a smaller divergence`() throws {
    let bench = try Workbench()
    var found: [(bytes: Int, divergence: Double)] = []
    for bits in [2.5, 4, 6] {
      let outcome = try bench.quantize(Self.recipe(bench, .bits(bits)), to: "ec\(bits).tar.zst")
      let report = try bench.verify("ec\(bits).tar.zst")
      #expect(report.layers.allSatisfy { $0.scheme == "EC" })
      found.append((outcome.summary.byteCount, report.divergence))
    }
    #expect(found[0].bytes < found[1].bytes && found[1].bytes < found[2].bytes, "\(found)")
    #expect(found[0].divergence > 4 * found[1].divergence && found[1].divergence > 4 * found[2].divergence, "\(found)")
  }

  @Test func `the embedding is coded too, and what is ignored is kept`() throws {
    let bench = try Workbench()
    var recipe = Self.recipe(bench, .bits(4))
    recipe.ignore = ["re:.*down_proj"]
    try bench.quantize(recipe)
    let names = Set(try bench.artifact().tensors.map(\.name))
    #expect(names.contains("model.embed_tokens.weight_codes") && !names.contains("model.embed_tokens.weight"))
    #expect(names.contains("model.layers.0.mlp.down_proj.weight"))
    #expect(try bench.verify().divergence < 0.2)
  }

  @Test func `another try has the tensors of a run at what it aims at, and the recipe of the first`() throws {
    let bench = try Workbench()
    let first = try bench.run(Self.recipe(bench, .bits(3))).execute()
    _ = try bench.run(Self.recipe(bench, .bits(3)), to: "again.tar.zst").aiming(at: .bits(5), after: first).execute()
    try bench.quantize(Self.recipe(bench, .bits(5)), to: "alone.tar.zst")
    let (again, alone) = (try bench.artifact("again.tar.zst"), try bench.artifact("alone.tar.zst"))
    #expect(again.tensors == alone.tensors)
    for info in alone.tensors {
      let (one, other) = (try again.tensor(info.name), try alone.tensor(info.name))
      #expect(one.withBytes { a in other.withBytes { a.elementsEqual($0) } }, "\(info.name)")
    }
    #expect(try again.member("recipe.yaml") == bench.artifact().member("recipe.yaml"))
  }

  @Test func `a target below what is not coded is refused`() throws {
    let bench = try Workbench()
    #expect(throws: PipelineError.self) { try bench.quantize(Self.recipe(bench, .bytes(1000))) }
    let smallest = try bench.quantize(Self.recipe(bench, .bits(2.5)), to: "one.tar.zst").summary.byteCount
    #expect(throws: PipelineError.self) { try bench.quantize(Self.recipe(bench, .bytes(smallest / 3))) }
    #expect(!bench.folder.has("out.tar.zst"))
  }

  // MARK: Limits of the divergence

  @Test func `a limit that anything holds is met with the fewest bits, and the outcome says so`() throws {
    let bench = try Workbench()
    let loose = try bench.quantize(Self.recipe(bench, .divergence(1000)), to: "loose.tar.zst")
    let fewest = try #require(loose.fewestBits)
    #expect(fewest >= 1 && fewest < 2 && loose.warnings.contains { $0.contains("would allow less than the 1.") })
    let same = try bench.quantize(Self.recipe(bench, .bits(fewest)), to: "same.tar.zst")
    #expect(same.fewestBits == nil && !same.warnings.contains { $0.contains("would allow") })
    #expect(try bench.logits("loose.tar.zst") == bench.logits("same.tar.zst"))
    // Something is left of every linear.
    let model = try bench.open("loose.tar.zst")
    for name in model.linearNames {
      #expect(try model.linear(name).rows.matrix().values.contains { $0 != 0 }, "\(name)")
    }
  }

  @Test func `a limit that nothing holds is met as well as can be`() throws {
    let bench = try Workbench()
    let finest = try bench.quantize(Self.recipe(bench, .divergence(1e-15)))
    #expect(finest.fewestBits == nil)
    let divergence = try bench.verify().divergence
    #expect(divergence < 1e-3, "\(divergence)")
    let bits = try bench.verify().size?.weightsBitsPerWeight ?? .nan
    #expect(bits > 7 && bits < 13, "\(bits)")
  }

  @Test func `where no layer is coded, bits are those of what is`() throws {
    let bench = try Workbench()
    var recipe = Self.recipe(bench, .bits(4))
    recipe.ignore = ["re:model.layers.*"]
    let outcome = try bench.quantize(recipe)
    let names = try bench.artifact().tensors.map(\.name).filter { $0.hasSuffix(".weight_codes") }
    #expect(names == ["model.embed_tokens.weight_codes"])
    let bytes = try bench.artifact().compressedByteCount(of: names[0])
    #expect(abs(Double(bytes * 8) / Double(272 * 64) - 4) < 1, "\(bytes) of \(outcome.summary.byteCount)")
  }

  // MARK: What is said before

  @Test(arguments: [2.5, 4, 6]) func `the size that is expected at a rate is about that of the artifact`(_ bits: Double)
    throws
  {
    var tiny = TinyModel(modelType: "qwen2")
    (tiny.hiddenSize, tiny.intermediateSize) = (256, 512)
    let bench = try Workbench(tiny)
    let run = try bench.run(Self.recipe(bench, .bits(bits)))
    guard case .about(let expected, bits) = try run.expectedSize() else {
      Issue.record("\(try run.expectedSize())")
      return
    }
    let found = try run.execute().summary.byteCount
    #expect(abs(Double(found) / Double(expected) - 1) < 0.1, "\(found) for \(expected)")
    #expect(run.expectedMemory >= run.plan.byteCount / 2)
  }

  @Test func `what is expected of other budgets is what they say`() throws {
    let bench = try Workbench()
    guard case .atMost(80_000, let bits) = try bench.run(Self.recipe(bench, .bytes(80_000))).expectedSize() else {
      Issue.record("a target is the most: \(try bench.run(Self.recipe(bench, .bytes(80_000))).expectedSize())")
      return
    }
    #expect(bits > 3 && bits < 8, "\(bits)")
    guard case .unknown(let most) = try bench.run(Self.recipe(bench, .divergence(0.01))).expectedSize(),
      case .about(let eight, 8) = try bench.run(Self.recipe(bench, .bits(8))).expectedSize()
    else {
      Issue.record("a divergence says nothing of the size")
      return
    }
    // The recipe itself is in the artifact.
    #expect(abs(most - eight) < 20)
    let run = try bench.run(Self.recipe(bench, .bytes(2000)))
    #expect(refusal { _ = try run.expectedSize() }.contains("what is not coded takes about"))
    #expect(refusal { _ = try bench.run(Self.recipe(bench, .bytes(80_000)), to: "out/") }.contains("is a folder"))
    let folder = try bench.run(Self.recipe(bench, .bits(4)), to: "out/")
    #expect(try folder.expectedSize() == .uncompressed(folder.plan.byteCount))
  }

  // MARK: Keys and values

  @Test(arguments: CacheQuantization.Format.allCases)
  func `scales of keys and values are calibrated, stored and used beside coded linears`(
    _ format: CacheQuantization.Format
  ) throws {
    let bench = try Workbench()
    var recipe = Self.recipe(bench, .bits(5))
    try bench.quantize(recipe, to: "plain.tar.zst")
    recipe.kvCache = format
    try bench.quantize(recipe)
    let result = try bench.open()
    #expect(result.quantization?.cache == CacheQuantization(format) && result.quantization?.warnings == [])
    for layer in 0..<2 {
      let names = CacheQuantization.scaleNames(result.layerPrefix(layer) + "self_attn")
      for name in [names.keys, names.values] {
        let tensor = try result.tensor(name)
        #expect(tensor.dtype == .float32 && tensor.shape == [1] && tensor.floats()[0] > 0, "\(name)")
      }
    }
    let (plain, rounded) = (try bench.verify("plain.tar.zst"), try bench.verify())
    #expect(plain.arithmetic == .init(activations: .float, keysAndValues: .float))
    #expect(rounded.arithmetic == .init(activations: .float, keysAndValues: .rounded))
    #expect(
      rounded.divergence != plain.divergence && rounded.divergence < 3 * plain.divergence,
      "\(rounded.divergence), \(plain.divergence)")
    #expect(rounded.layers.count == plain.layers.count)
  }

  @Test func `a recipe holds the rate, and refuses it beside other schemes`() throws {
    let recipe = try Recipe(yaml: "scheme: ec\nbits: 3.6", file: "r.yaml")
    #expect(recipe.rate == .bits(3.6) && recipe.scheme.isEntropyCoded)
    #expect(try Recipe(yaml: recipe.json.prettyText, file: "r.yaml").json == recipe.json)
    #expect(try Recipe(yaml: "scheme: EC\nmax_kl: 0.02", file: "r.yaml").rate == .divergence(0.02))
    for bad in ["scheme: W4A16\ntarget_size: 100", "scheme: EC\nbits: 3\nmax_kl: 0.1", "scheme: EC\nbits: 40"] {
      #expect(throws: PipelineError.self) { try Recipe(yaml: bad, file: "r.yaml") }
    }
  }
}
