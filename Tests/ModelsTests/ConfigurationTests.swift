import Foundation
import Models
import StrictJSON
import TestSupport
import Testing

@Suite struct ConfigurationTests {
  private static func read(_ object: JSONObject) throws -> ModelConfiguration {
    try Architecture.configuration(of: ConfigurationReader(object, file: "config.json"))
  }

  /// The configuration of a golden family, or of the tiny model, with changes; `null` removes a key.
  private static func read(_ family: String, _ changes: JSONObject) throws -> ModelConfiguration {
    var object =
      try ["llama", "qwen2"].contains(family)
      ? TinyModel(modelType: family).configurationObject
      : #require(try ModelVectors.json(ModelVectors.familyPath(family) + "/config.json").objectValue)
    for member in changes.members { object[member.name] = member.value.isNull ? nil : member.value }
    return try read(object)
  }

  private static func grouped(_ configuration: ModelConfiguration, _ layer: Int = 0) throws -> GroupedAttention {
    guard case .grouped(let attention) = configuration.layers[layer].attention else { throw NotGrouped() }
    return attention
  }

  struct NotGrouped: Error {}

  @Test(arguments: ConfigurationRefusal.all) func `what would change the arithmetic is refused by its key`(
    _ refusal: ConfigurationRefusal
  ) throws {
    #expect {
      _ = try Self.read(refusal.family, refusal.changes)
    } throws: {
      guard case .configuration("config.json", let key, _)? = $0 as? ModelError else { return false }
      return key == refusal.key
    }
  }

  @Test(
    arguments: [
      ["num_local_experts": 0], ["partial_rotary_factor": .number("1.0")], ["sliding_window": .null],
      ["hidden_act": "swish"], ["logits_scaling": 1], ["no_rope_layers": []], ["pretraining_tp": 2],
      ["layer_types": ["full_attention", "full_attention"]], ["head_dim": .null], ["rope_scaling": .null],
      ["a_key_of_tomorrow": 3],
    ] as [JSONObject])
  func `values that change nothing are read`(_ changes: JSONObject) throws {
    #expect(try Self.grouped(Self.read("llama", changes)).headDimension == 16)
  }

  @Test func `an unknown family is refused with those that are known`() throws {
    #expect {
      _ = try Self.read("llama", ["model_type": "mamba"])
    } throws: {
      guard case .unknownFamily("config.json", "mamba", let known)? = $0 as? ModelError else { return false }
      return known.contains("llama") && known.contains("gemma3") && Set(known).count == known.count
    }
  }

  @Test func `missing keys have the family's values`() throws {
    let bare: JSONObject = [
      "model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 1,
      "intermediate_size": 96, "vocab_size": 10,
    ]
    let found = try Self.read(bare)
    let attention = try Self.grouped(found)
    #expect(attention == GroupedAttention(heads: 4, keyValueHeads: 4, headDimension: 16))
    #expect(found.layers[0].norms == LayerNorms() && found.finalNorm.epsilon == 1e-6)
    #expect(found.rotaries == [.init(base: 10_000, dimension: 16)] && !found.tiesEmbeddings)
    #expect(found.maximumPositions == 2048 && found.endTokens.isEmpty && found.beginToken == nil)
  }

  @Test func `a head dimension of its own and several end tokens are read`() throws {
    let found = try Self.read("llama", ["head_dim": 32, "eos_token_id": [128_001, 128_009], "bos_token_id": 5])
    #expect(try Self.grouped(found).headDimension == 32 && found.rotaries[0].dimension == 32)
    #expect(found.endTokens == [128_001, 128_009] && found.beginToken == 5)
  }

  @Test func `windows are where the rules of each family say`() throws {
    func windows(_ family: String, _ changes: JSONObject) throws -> [Int?] {
      let found = try Self.read(family, changes)
      return try found.layers.indices.map { try Self.grouped(found, $0).window }
    }
    let noTypes: JSONObject = ["layer_types": .null, "num_hidden_layers": 4]
    #expect(try windows("mistral", ["num_hidden_layers": 2, "sliding_window": 5]) == [5, 5])
    #expect(
      try windows("qwen2", ["use_sliding_window": true, "max_window_layers": 1, "sliding_window": 7]) == [nil, 7])
    #expect(try windows("gemma2", noTypes) == [6, nil, 6, nil])
    #expect(try windows("gpt_oss", noTypes) == [6, nil, 6, nil])
    #expect(try windows("olmo3", noTypes) == [6, 6, 6, nil])
    #expect(try windows("cohere2", noTypes) == [6, 6, 6, nil])
    #expect(try windows("exaone4", noTypes) == [6, 6, 6, nil])
    #expect(
      try windows("exaone4", ["layer_types": .null, "num_hidden_layers": 4, "sliding_window_pattern": "LG"])
        == [6, nil, 6, nil])
    #expect(try windows("smollm3", ["sliding_window": 8]) == [nil, nil, nil, nil])
    #expect(
      try windows(
        "smollm3",
        [
          "layer_types": .null, "no_rope_layers": [1, 0, 1, 0], "use_sliding_window": true, "sliding_window": 8,
        ]) == [nil, 8, nil, 8])
  }

  @Test func `positions are known where the rules of each family say`() throws {
    func turns(_ family: String, _ changes: JSONObject) throws -> [Bool] {
      let found = try Self.read(family, changes)
      return try found.layers.indices.map { try Self.grouped(found, $0).rotary != nil }
    }
    #expect(try turns("smollm3", ["no_rope_layers": [0, 1, 1, 0]]) == [false, true, true, false])
    #expect(try turns("smollm3", ["no_rope_layers": .null, "no_rope_layer_interval": 3]) == [true, true, false, true])
    #expect(try turns("cohere2", [:]) == [true, true, true, false])
    #expect(try turns("exaone4", [:]) == [true, true, true, false])
    #expect(try turns("exaone4-full", [:]) == [true, true])
  }

  // MARK: Real configurations

  /// `model_type`s in the shared folder's `configs` that are refused, and by what.
  private static let refused: Set<String> = [
    "qwen3_5", "qwen3_5_moe", "deepseek_v32", "deepseek_v4", "gemma4", "llama4", "kimi_k25", "kimi_k3", "nemotron-nas",
  ]

  @Test(.enabled(if: SharedFolder.exists, "needs the shared folder's configs"))
  func `real configurations are read, or refused by the name of their family`() throws {
    let folder = try ModelVectors.shared("configs")
    var read = 0
    for name in try FileManager.default.contentsOfDirectory(atPath: folder) where !name.contains("hf_quant_config") {
      let object = try #require(try ModelVectors.json(folder + "/" + name).objectValue)
      let family = try #require(object["model_type"]?.stringValue)
      do {
        let found = try Self.read(object)
        read += 1
        #expect(!Self.refused.contains(family), "\(name)")
        let text = object["text_config"]?.objectValue ?? object
        #expect(found.hiddenSize == text["hidden_size"]?.intValue, "\(name)")
        #expect(found.layerCount == text["num_hidden_layers"]?.intValue, "\(name)")
        #expect(found.vocabularySize == text["vocab_size"]?.intValue, "\(name)")
        #expect(found.rotaries[0].base == text["rope_theta"]?.doubleValue, "\(name)")
        #expect(found.maximumPositions == text["max_position_embeddings"]?.intValue, "\(name)")
        // A layout is made of any of them.
        #expect(!LayerLayout(found.layers[0], hiddenSize: found.hiddenSize).linears.isEmpty)
      } catch ModelError.unknownFamily("config.json", family, _) {
        #expect(Self.refused.contains(family), "\(name)")
      }
    }
    #expect(read == 35)
  }

  @Test(.enabled(if: SharedFolder.exists, "needs the shared folder's configs"))
  func `the numbers of real models are those of their files`() throws {
    func read(_ name: String) throws -> ModelConfiguration {
      try Self.read(try #require(try ModelVectors.json(ModelVectors.shared("configs/\(name).json")).objectValue))
    }
    let llama = try read("shape--Llama-3.2-3B")
    #expect(llama.tiesEmbeddings)
    #expect(try Self.grouped(llama) == GroupedAttention(heads: 24, keyValueHeads: 8, headDimension: 128))
    #expect(
      llama.rotaries.map(\.scaling)
        == [.llama3(factor: 32, lowFrequency: 1, highFrequency: 4, originalPositions: 8192)])
    let deepSeek = try read("deepseek-ai--DeepSeek-V3_config")
    guard case .latent(let latent) = deepSeek.layers[60].attention,
      case .mixture(let mixture) = deepSeek.layers[60].feedForward
    else { throw NotGrouped() }
    #expect(abs(latent.scale - 0.135234) < 1e-6 && latent.queryRank == 1536 && latent.valueDimension == 128)
    #expect(mixture.count == 256 && mixture.perToken == 8 && mixture.shared?.feedForward.width == 2048)
    #expect(mixture.routing.groups == .init(count: 8, kept: 4, sumsTopTwo: true) && mixture.routing.scaling == 2.5)
    #expect(deepSeek.predictionLayers == 1)
    let kimi = try read("moonshotai--Kimi-K2-Instruct_config")
    guard case .mixture(let kimiMixture) = kimi.layers[1].feedForward else { throw NotGrouped() }
    #expect(kimiMixture.count == 384 && kimiMixture.routing.groups == nil)
    let mimo = try read("XiaomiMiMo--MiMo-7B-Base_config")
    #expect(try Self.grouped(mimo).hasQueryKeyValueBias && Self.grouped(mimo).window == nil)
  }
}
