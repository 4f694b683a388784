import Calibration
import Models
import Pipeline
import Quantization
import TestSupport
import Testing

@Suite struct LinearPlanTests {
  private static func model(tied: Bool = true) throws -> LanguageModel {
    var tiny = TinyModel()
    tiny.tiesEmbeddings = tied
    return try ModelInputs.openModel(try Workbench(tiny).model)
  }

  private static func plans(_ recipe: Recipe, tied: Bool = true) throws -> [String: LinearPlan] {
    let plans = try recipe.linearPlans(for: try model(tied: tied))
    return Dictionary(uniqueKeysWithValues: plans.map { ($0.name, $0) })
  }

  @Test func `both ends are kept and all else is quantized unless somebody says so`() throws {
    for tied in [true, false] {
      let plans = try Self.plans(Recipe(), tied: tied)
      #expect(plans.count == (tied ? 15 : 16))
      for (name, plan) in plans {
        #expect((plan.scheme == nil) == ["lm_head", "model.embed_tokens"].contains(name), "\(name)")
        #expect(plan.scheme == nil || plan.method == .awqGPTQ)
      }
    }
  }

  @Test func `the last rule that matches decides, and ignore wins over rules`() throws {
    let plans = try Self.plans(
      Recipe(
        scheme: .w8a16, ignore: ["model.layers.1.mlp.down_proj"],
        rules: [
          .init(targets: ["re:.*down_proj"], scheme: .fp8Dynamic, method: .roundToNearest),
          .init(targets: ["re:.*layers\\.0.*"], scheme: nil),
          .init(targets: ["model.layers.0.mlp.up_proj", "model.layers.1.mlp.up_proj"], scheme: .fp8Block),
        ]))
    #expect(plans["model.layers.0.mlp.down_proj"]?.scheme == nil)
    #expect(plans["model.layers.0.self_attn.q_proj"]?.scheme == nil)
    #expect(plans["model.layers.0.mlp.up_proj"]?.scheme == .fp8Block)
    #expect(plans["model.layers.1.mlp.down_proj"]?.scheme == nil)
    #expect(plans["model.layers.1.mlp.gate_proj"]?.scheme == .w8a16)
    #expect(plans["model.layers.1.mlp.up_proj"]?.method == .awqGPTQ)
  }

  @Test func `a rule's method holds where its scheme does`() throws {
    let plans = try Self.plans(
      Recipe(rules: [.init(targets: ["re:.*v_proj"], scheme: .w4a16, method: .roundToNearest)]))
    #expect(plans["model.layers.0.self_attn.v_proj"]?.method == .roundToNearest)
    #expect(plans["model.layers.0.self_attn.k_proj"]?.method == .awqGPTQ)
  }

  @Test func `a pattern must match the whole name`() throws {
    let plans = try Self.plans(Recipe(ignore: ["re:model\\.layers\\.0\\.mlp.*"]))
    #expect(plans["model.layers.0.mlp.up_proj"]?.scheme == nil && plans["model.layers.1.mlp.up_proj"]?.scheme != nil)
    #expect(refusal { _ = try Self.plans(Recipe(ignore: ["re:mlp"])) }.contains("matches no linear"))
  }

  @Test func `a pattern that matches nothing names near misses`() throws {
    let message = refusal { _ = try Self.plans(Recipe(ignore: ["model.layers.0.mlp.donw_proj"])) }
    #expect(message.contains("--ignore \"model.layers.0.mlp.donw_proj\" matches no linear"))
    #expect(message.contains("model.layers.0.mlp.down_proj"), "\(message)")
    let short = refusal { _ = try Self.plans(Recipe(rules: [.init(targets: ["dwn_proj"], scheme: nil)])) }
    #expect(short.contains("a rule's target") && short.contains("mlp.down_proj"), "\(short)")
    #expect(refusal { _ = try Self.plans(Recipe(ignore: ["re:(a"])) }.contains("is not a regular expression"))
  }

  @Test func `a tied head may be ignored by habit but not quantized`() throws {
    for pattern in ["lm_head", "re:.*lm_head"] {
      #expect(try Self.plans(Recipe(ignore: [pattern]))["model.layers.0.mlp.up_proj"]?.scheme != nil)
    }
    #expect(try Self.plans(Recipe(rules: [.init(targets: ["lm_head"], scheme: nil)])).count == 15)
    for recipe in [Recipe(include: ["lm_head"]), Recipe(rules: [.init(targets: ["lm_head"], scheme: .w8a16)])] {
      #expect(refusal { _ = try Self.plans(recipe) }.contains("tied to model.embed_tokens"))
      #expect(try Self.plans(recipe, tied: false)["lm_head"]?.scheme != nil)
    }
  }

  @Test(
    arguments: [
      (172, 128, 86), (960, 128, 64), (352, 128, 32), (96, 128, 32), (4864, 128, 128), (896, 128, 128),
      (4864, 256, 256),
      (127, 128, nil), (131, 128, nil), (64, 128, 64), (1000, 128, 125), (34, 128, nil), (62, 128, nil),
      (2 * 131, 128, nil),
      (48, 32, 24), (172, 32, nil), (11008, 128, 128),
    ] as [(Int, Int, Int?)])
  func `a group size that does not divide a width becomes one that does`(_ width: Int, _ wanted: Int, _ fitted: Int?) {
    let scheme = QuantizationScheme.w4a16.withGroupSize(wanted).fitted(to: width)
    #expect(scheme == QuantizationScheme.w4a16.withGroupSize(fitted))
  }

  @Test func `schemes without groups fit every width`() {
    for scheme in QuantizationScheme.all where !scheme.hasGroups { #expect(scheme.fitted(to: 131) == scheme) }
  }

  @Test func `a fitted group size is remarked on, once for all linears of a width`() throws {
    let bench = try Workbench()
    let remarks = try bench.run(bench.recipe()).remarks
    #expect(remarks.contains { $0.hasPrefix("2 linears: 96 columns") && $0.contains("groups of 32") }, "\(remarks)")
    #expect(remarks.contains { $0.hasPrefix("12 linears: 64 columns") && $0.contains("groups of 64") }, "\(remarks)")
  }
}
