import Calibration
import Checkpoints
import Pipeline
import Quantization
import Reports
import StrictJSON
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

  @Test func `an earlier survey serves another rate, and gives the bytes of a run by itself`() throws {
    let bench = try Workbench()
    let run = try bench.run(Self.recipe(bench, .bits(3)))
    let first = try run.execute()
    let again = try bench.run(Self.recipe(bench, .bits(3)), to: "again.tar.zst").with(rate: .bits(5), after: first)
      .execute()
    let alone = try bench.quantize(Self.recipe(bench, .bits(5)), to: "alone.tar.zst")
    #expect(again.summary.sha256 == alone.summary.sha256)
  }

  @Test func `a target below what is not coded is refused`() throws {
    let bench = try Workbench()
    #expect(throws: PipelineError.self) { try bench.quantize(Self.recipe(bench, .bytes(1000))) }
    let smallest = try bench.quantize(Self.recipe(bench, .bits(2.5)), to: "one.tar.zst").summary.byteCount
    #expect(throws: PipelineError.self) { try bench.quantize(Self.recipe(bench, .bytes(smallest / 3))) }
    #expect(!bench.folder.has("out.tar.zst"))
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
