import Calibration
import Checkpoints
import Pipeline
import Quantization
import StrictJSON
import TestSupport
import Testing

@Suite struct RecipeTests {
  @Test func `every key is read`() throws {
    let recipe = try Recipe(
      yaml: """
        scheme: w4a16
        group_size: 64
        method: RTN
        ignore: [lm_head, 're:.*o_proj']
        include: model.embed_tokens
        rules:
          - targets: ['re:.*down_proj']
            scheme: W8A16
          - targets: model.layers.0.self_attn.q_proj
            scheme: none
          - targets: ['re:.*v_proj']
            group_size: -1
            method: awq
        calibration:
          texts: [stories, chats.jsonl]
          samples: 7
          sequence_length: 99
        """, file: "recipe.yaml")
    #expect(recipe.scheme == QuantizationScheme.w4a16.withGroupSize(64) && recipe.method == .roundToNearest)
    #expect(recipe.ignore == ["lm_head", "re:.*o_proj"] && recipe.include == ["model.embed_tokens"])
    #expect(
      recipe.rules == [
        .init(targets: ["re:.*down_proj"], scheme: .w8a16),
        .init(targets: ["model.layers.0.self_attn.q_proj"], scheme: nil),
        .init(targets: ["re:.*v_proj"], scheme: QuantizationScheme.w4a16.withGroupSize(nil), method: .awq),
      ])
    #expect(recipe.calibration == ["stories", "chats.jsonl"] && recipe.samples == 7 && recipe.sequenceLength == 99)
  }

  @Test func `bits are those of the scheme that is there`() throws {
    let recipe = try Recipe(
      yaml: """
        bits: 3
        group_size: 64
        rules:
          - {targets: a, bits: 6}
          - {targets: b, scheme: W8A16, bits: 8}
          - {targets: c, bits: 8, group_size: 32}
          - {targets: d, scheme: w5a16}
        """, file: "recipe.yaml")
    #expect(recipe.scheme == .integers(bits: 3, isSymmetric: false).withGroupSize(64))
    #expect(
      recipe.rules.map(\.scheme) == [
        .integers(bits: 6, isSymmetric: false).withGroupSize(64), .w8a16,
        .integers(bits: 8, isSymmetric: false).withGroupSize(32), .integers(bits: 5),
      ])
    #expect(try Recipe(yaml: recipe.json.prettyText, file: "recipe.yaml").json == recipe.json)
  }

  @Test func `what is left out is as without a file`() throws {
    let recipe = try Recipe(yaml: "ignore: []", file: "recipe.yaml")
    #expect(recipe.json == Recipe().json)
    #expect(recipe.scheme == .w4a16Asymmetric && recipe.method == .awqGPTQ && recipe.samples == nil)
  }

  @Test(arguments: ["", "samples: auto", "samples: Auto", "samples: null"])
  func `a number of samples that is not given is found`(_ line: String) throws {
    let recipe = try Recipe(yaml: "calibration: {\(line)}", file: "recipe.yaml")
    #expect(recipe.samples == nil && recipe.json["calibration"]?["samples"] == "auto")
    #expect(try Recipe(yaml: recipe.json.prettyText, file: "recipe.yaml").json == recipe.json)
  }

  @Test func `a recipe as it is stored in an artifact is read back as the same recipe`() throws {
    let recipe = Recipe(
      scheme: QuantizationScheme.w4a16.withGroupSize(32), ignore: ["re:.*o_proj"], include: ["lm_head"],
      rules: [.init(targets: ["re:.*down_proj"], scheme: nil), .init(targets: ["re:.*up_proj"], scheme: .fp8Dynamic)])
    #expect(try Recipe(yaml: recipe.json.prettyText, file: "recipe.yaml").json == recipe.json)
  }

  struct Refusal: Sendable, CustomTestStringConvertible {
    let yaml: String
    let words: [String]
    var testDescription: String { yaml.split(separator: "\n").joined(separator: " | ") }
  }

  @Test(arguments: [
    Refusal(yaml: "schema: W4A16", words: ["schema", "is not known", "scheme"]),
    Refusal(yaml: "scheme: W7A16", words: ["scheme", "W7A16", "W4A16_ASYM"]),
    Refusal(yaml: "bits: 7", words: ["bits is 7", "2, 3, 4, 5, 6, 8"]),
    Refusal(yaml: "bits: four", words: ["bits is \"four\""]),
    Refusal(yaml: "scheme: W4A16\nbits: 3", words: ["bits is 3", "scheme is W4A16", "one of them"]),
    Refusal(yaml: "scheme: FP8\nbits: 8", words: ["bits", "FP8", "no integers"]),
    Refusal(yaml: "bits: 8\nscheme: W8A16\ngroup_size: 64", words: ["group_size", "W8A16 has no groups"]),
    Refusal(yaml: "scheme: none", words: ["scheme is none", "would quantize nothing"]),
    Refusal(yaml: "scheme: None\nrules:\n - targets: [a]\n   scheme: W8A16", words: ["scheme is none"]),
    Refusal(yaml: "scheme: 4", words: ["scheme is 4"]),
    Refusal(yaml: "group_size: 8", words: ["group_size is 8", "16 or more"]),
    Refusal(yaml: "group_size: big", words: ["group_size"]),
    Refusal(yaml: "scheme: FP8_DYNAMIC\ngroup_size: 64", words: ["group_size", "FP8_DYNAMIC has no groups"]),
    Refusal(yaml: "method: magic", words: ["method", "magic", "awq"]),
    Refusal(yaml: "ignore: {a: b}", words: ["ignore", "list of strings"]),
    Refusal(yaml: "ignore: [1]", words: ["ignore", "list of strings"]),
    Refusal(yaml: "rules: down_proj", words: ["rules is not a list"]),
    Refusal(yaml: "rules: [down_proj]", words: ["rules[0] is not a mapping"]),
    Refusal(yaml: "rules:\n - scheme: W8A16", words: ["rules[0].targets is missing"]),
    Refusal(yaml: "rules:\n - targets: []", words: ["rules[0].targets is missing"]),
    Refusal(yaml: "rules:\n - targets: [a]\n   bit: 4", words: ["rules[0].bit", "is not known"]),
    Refusal(yaml: "calibration: builtin", words: ["calibration is not a mapping"]),
    Refusal(yaml: "calibration: {samples: 0}", words: ["calibration.samples is 0"]),
    Refusal(yaml: "calibration: {samples: some}", words: ["calibration.samples is \"some\"", "number or auto"]),
    Refusal(yaml: "calibration: {length: 4}", words: ["calibration.length", "is not known"]),
    Refusal(yaml: "- W4A16", words: ["does not hold a mapping"]),
    Refusal(yaml: "", words: ["does not hold a mapping"]),
    Refusal(yaml: "scheme: [", words: ["is not YAML"]),
    Refusal(yaml: "scheme: W4A16\nscheme: W8A16", words: ["scheme"]),
  ])
  func `a recipe that cannot be meant is refused in one line that names the key`(_ refused: Refusal) {
    let found = refusal { _ = try Recipe(yaml: refused.yaml, file: "recipe.yaml") }
    #expect(found.hasPrefix("recipe.yaml") && !found.contains("\n"), "\(found)")
    for word in refused.words { #expect(found.contains(word), "\(found)") }
    #expect(throws: PipelineError.self) { _ = try Recipe(yaml: refused.yaml, file: "recipe.yaml") }
  }

  @Test func `calibration is needed by searches, static activations, and scales of keys and values`() {
    #expect(Recipe(scheme: .w4a16, method: .awq).needsCalibration)
    #expect(!Recipe(scheme: .w4a16, method: .roundToNearest).needsCalibration)
    #expect(Recipe(scheme: .fp8Dynamic, method: .awq).needsCalibration)
    #expect(!Recipe(scheme: .fp8Dynamic, method: .roundToNearest).needsCalibration)
    #expect(Recipe(scheme: .fp8, method: .roundToNearest).needsCalibration)
    #expect(Recipe(scheme: .nvfp4, method: .roundToNearest).needsCalibration)
    #expect(!Recipe(scheme: .nvfp4A16, method: .roundToNearest).needsCalibration)
    var recipe = Recipe(scheme: .w8a16, method: .roundToNearest)
    recipe.kvCache = .int8
    #expect(recipe.needsCalibration)
    let rule = Recipe.Rule(targets: ["a"], scheme: .w8a16, method: .awq)
    #expect(Recipe(scheme: .fp8Dynamic, method: .roundToNearest, rules: [rule]).needsCalibration)
  }
}
