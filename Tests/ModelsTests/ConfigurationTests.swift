import Foundation
import Models
import StrictJSON
import TestSupport
import Testing

@Suite struct ConfigurationTests {
  private static func read(_ object: JSONObject) throws -> ModelConfiguration {
    let reader = ConfigurationReader(object, file: "config.json")
    return try Architecture.of(reader).configuration(reader)
  }

  private static func read(_ modelType: String, _ changes: JSONObject) throws -> ModelConfiguration {
    var tiny = TinyModel(modelType: modelType)
    tiny.configuration = changes
    return try read(tiny.configurationObject)
  }

  struct Refusal: Sendable, CustomTestStringConvertible {
    var modelType = "llama"
    let changes: JSONObject
    let key: String
    var testDescription: String { "\(modelType): \(JSONValue.object(changes).compactText)" }
  }

  static let refusals: [Refusal] = [
    Refusal(changes: ["hidden_act": "gelu"], key: "hidden_act"),
    Refusal(changes: ["hidden_act": 1], key: "hidden_act"),
    Refusal(changes: ["num_key_value_heads": 3], key: "num_key_value_heads"),
    Refusal(changes: ["num_key_value_heads": 0], key: "num_key_value_heads"),
    Refusal(changes: ["num_attention_heads": 5, "num_key_value_heads": 5], key: "hidden_size"),
    Refusal(changes: ["head_dim": 15], key: "head_dim"),
    Refusal(changes: ["head_dim": .number("16.5")], key: "head_dim"),
    Refusal(changes: ["hidden_size": .null], key: "hidden_size"),
    Refusal(changes: ["hidden_size": -64], key: "hidden_size"),
    Refusal(changes: ["hidden_size": .number("1e300")], key: "hidden_size"),
    Refusal(changes: ["intermediate_size": .null], key: "intermediate_size"),
    Refusal(changes: ["intermediate_size": "96"], key: "intermediate_size"),
    Refusal(changes: ["num_hidden_layers": 0], key: "num_hidden_layers"),
    Refusal(changes: ["vocab_size": .null], key: "vocab_size"),
    Refusal(changes: ["rms_norm_eps": 0], key: "rms_norm_eps"),
    Refusal(changes: ["rms_norm_eps": "small"], key: "rms_norm_eps"),
    Refusal(changes: ["rope_theta": 0], key: "rope_theta"),
    Refusal(changes: ["tie_word_embeddings": "yes"], key: "tie_word_embeddings"),
    Refusal(changes: ["attention_bias": 1], key: "attention_bias"),
    Refusal(changes: ["eos_token_id": ["a"]], key: "eos_token_id"),
    Refusal(changes: ["eos_token_id": "2"], key: "eos_token_id"),
    Refusal(changes: ["layer_types": ["full_attention"]], key: "layer_types"),
    Refusal(changes: ["layer_types": ["full_attention", "sliding_attention"]], key: "layer_types"),
    Refusal(changes: ["layer_types": "full_attention"], key: "layer_types"),
    Refusal(changes: ["sliding_window": 4096], key: "sliding_window"),
    Refusal(changes: ["use_sliding_window": true], key: "use_sliding_window"),
    Refusal(modelType: "qwen2", changes: ["use_sliding_window": true, "sliding_window": 4], key: "use_sliding_window"),
    Refusal(modelType: "qwen2", changes: ["layer_types": ["sliding_attention", "full_attention"]], key: "layer_types"),
    Refusal(changes: ["attn_logit_softcapping": 50], key: "attn_logit_softcapping"),
    Refusal(changes: ["final_logit_softcapping": 30], key: "final_logit_softcapping"),
    Refusal(changes: ["query_pre_attn_scalar": 256], key: "query_pre_attn_scalar"),
    Refusal(changes: ["partial_rotary_factor": .number("0.5")], key: "partial_rotary_factor"),
    Refusal(changes: ["embedding_multiplier": 12], key: "embedding_multiplier"),
    Refusal(changes: ["residual_multiplier": .number("0.22")], key: "residual_multiplier"),
    Refusal(changes: ["attention_multiplier": .number("0.015")], key: "attention_multiplier"),
    Refusal(changes: ["logits_scaling": 8], key: "logits_scaling"),
    Refusal(changes: ["clip_qkv": 8], key: "clip_qkv"),
    Refusal(changes: ["num_local_experts": 8], key: "num_local_experts"),
    Refusal(changes: ["kv_lora_rank": 512], key: "kv_lora_rank"),
    Refusal(changes: ["use_qk_norm": true], key: "use_qk_norm"),
    Refusal(changes: ["no_rope_layers": [1, 1, 0]], key: "no_rope_layers"),
    Refusal(changes: ["rope_interleaved": true], key: "rope_interleaved"),
    Refusal(changes: ["text_config": ["model_type": "llama"]], key: "text_config"),
    Refusal(changes: ["hidden_activation": "gelu_pytorch_tanh"], key: "hidden_activation"),
    Refusal(changes: ["model_type": .null], key: "model_type"),
    Refusal(changes: ["model_type": 7], key: "model_type"),
  ]

  @Test(arguments: refusals) func `what would change the arithmetic is refused by its key`(_ refusal: Refusal) throws {
    #expect {
      _ = try Self.read(refusal.modelType, refusal.changes)
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
    #expect(try Self.read("llama", changes).headDimension == 16)
  }

  @Test func `an unknown family is refused with those that are known`() throws {
    #expect(throws: ModelError.unknownFamily(file: "config.json", modelType: "mamba", known: ["llama", "qwen2"])) {
      _ = try Self.read("llama", ["model_type": "mamba"])
    }
  }

  @Test func `missing keys have the family's values`() throws {
    let bare: JSONObject = [
      "model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 1,
      "intermediate_size": 96, "vocab_size": 10,
    ]
    let found = try Self.read(bare)
    #expect(found.keyValueHeads == 4 && found.headDimension == 16 && found.normEpsilon == 1e-6)
    #expect(found.rotary == .init(base: 10_000, dimension: 16) && !found.tiesEmbeddings)
    #expect(found.maximumPositions == 2048 && found.endTokens.isEmpty && found.beginToken == nil)
    #expect(!found.hasQueryKeyValueBias && !found.hasOutputBias && !found.hasFeedForwardBias)
  }

  @Test func `a head dimension of its own and several end tokens are read`() throws {
    let found = try Self.read("llama", ["head_dim": 32, "eos_token_id": [128_001, 128_009], "bos_token_id": 5])
    #expect(found.headDimension == 32 && found.endTokens == [128_001, 128_009] && found.beginToken == 5)
    #expect(found.rotary.dimension == 32)
  }

  @Test func `biases follow the configuration of llama and the habit of qwen2`() throws {
    let llama = try Self.read("llama", ["attention_bias": true])
    #expect(llama.hasQueryKeyValueBias && llama.hasOutputBias && !llama.hasFeedForwardBias)
    #expect(try Self.read("llama", ["mlp_bias": true]).hasFeedForwardBias)
    let qwen = try Self.read("qwen2", [:])
    #expect(qwen.hasQueryKeyValueBias && !qwen.hasOutputBias && !qwen.hasFeedForwardBias)
  }

  // MARK: Real configurations

  /// What becomes of each file in the shared folder's `configs`: the rest are refused as unknown families.
  private static let readable: Set<String> = [
    "meta-llama--Meta-Llama-3.1-405B_config.json", "meta-llama--Meta-Llama-3.1-70B_config.json",
    "meta-llama--Meta-Llama-3.1-8B_config.json", "nvidia--Llama-3.1-70B-Instruct-FP8_config.json",
    "shape--Llama-3.2-3B.json", "shape--Qwen2.5-3B.json", "shape--Qwen2.5-7B.json",
  ]

  @Test(.enabled(if: SharedFolder.exists, "needs the shared folder's configs"))
  func `real configurations are read, or refused by the name of their family`() throws {
    let folder = try ModelVectors.shared("configs")
    var read: Set<String> = []
    for name in try FileManager.default.contentsOfDirectory(atPath: folder) where !name.contains("hf_quant_config") {
      let object = try #require(try ModelVectors.json(folder + "/" + name).objectValue)
      do {
        let found = try Self.read(object)
        read.insert(name)
        #expect(found.hiddenSize == object["hidden_size"]?.intValue, "\(name)")
        #expect(found.layerCount == object["num_hidden_layers"]?.intValue, "\(name)")
        #expect(found.keyValueHeads == object["num_key_value_heads"]?.intValue, "\(name)")
        #expect(found.vocabularySize == object["vocab_size"]?.intValue, "\(name)")
        #expect(found.rotary.base == object["rope_theta"]?.doubleValue, "\(name)")
      } catch let error as ModelError {
        let family = try #require(object["model_type"]?.stringValue)
        #expect(error == .unknownFamily(file: "config.json", modelType: family, known: ["llama", "qwen2"]), "\(name)")
      }
    }
    #expect(read == Self.readable)
  }

  @Test(.enabled(if: SharedFolder.exists, "needs the shared folder's configs"))
  func `the numbers of Llama 3 2 3B and Qwen 2 5 7B are those of their files`() throws {
    func read(_ name: String) throws -> ModelConfiguration {
      try Self.read(try #require(try ModelVectors.json(ModelVectors.shared("configs/\(name).json")).objectValue))
    }
    let llama = try read("shape--Llama-3.2-3B")
    #expect(llama.tiesEmbeddings && llama.heads == 24 && llama.keyValueHeads == 8 && llama.headDimension == 128)
    #expect(
      llama.rotary.scaling
        == .llama3(factor: 32, lowFrequency: 1, highFrequency: 4, originalPositions: 8192))
    let qwen = try read("shape--Qwen2.5-7B")
    #expect(!qwen.tiesEmbeddings && qwen.heads == 28 && qwen.keyValueHeads == 4 && qwen.headDimension == 128)
    #expect(qwen.maximumPositions == 131_072 && qwen.hasQueryKeyValueBias && qwen.rotary.scaling == .none)
  }
}
