import Checkpoints
import Foundation
import StrictJSON
import Tensors
import TestSupport
import Testing

/// What is refused, most of which PEFT loads with a warning at best.
@Suite struct AdapterRefusalTests {
  private static let q = "base_model.model.model.layers.0.self_attn.q_proj."

  /// A way to spoil an adapter, and what the error says.
  struct Case: CustomTestStringConvertible, Sendable {
    let title: String
    var vector = "lora"
    let says: [String]
    let spoil: @Sendable (inout SpoiltAdapter) -> Void

    var testDescription: String { title }

    static func set(_ key: String, _ value: JSONValue?, vector: String = "lora", says: String...) -> Case {
      Case(title: "\(vector) with \(key) \(value?.compactText ?? "missing")", vector: vector, says: says) {
        $0.configuration[key] = value
      }
    }

    static func tensor(_ name: String, _ tensor: Tensor?, vector: String = "lora", says: String...) -> Case {
      Case(title: "\(vector) \(name) \(tensor.map { "\($0.shape)" } ?? "missing")", vector: vector, says: says) {
        $0.set(name, tensor)
      }
    }
  }

  private static func zeros(_ shape: Shape) -> Tensor {
    Tensor(shape, floats: [Float](repeating: 0, count: shape.elementCount ?? 0))
  }

  static let configurations: [Case] = [
    .set("peft_type", nil, says: "adapter_config.json", "peft_type is missing"),
    .set("peft_type", "IA3", says: #"peft_type is "IA3""#),
    .set("peft_type", 3, says: "peft_type is a number, a string is expected"),
    .set("r", 0, says: "r is 0, a positive number is expected"),
    .set("r", "4", says: "r is a string, a whole number is expected"),
    .set("r", .number("4.5"), says: "r is a number, a whole number is expected"),
    .set("lora_alpha", "8", says: "lora_alpha is a string"),
    .set("use_dora", 1, says: "use_dora is a number, true or false is expected"),
    .set("rank_pattern", ["q_proj": 0], says: #"rank_pattern has 0 for "q_proj""#, "positive whole number"),
    .set("rank_pattern", ["q_(": 2], says: "q_(", "not a regular expression"),
    .set("rank_pattern", [1], says: "rank_pattern is an array, an object is expected"),
    .set("alpha_pattern", ["q_proj": "x"], says: #"alpha_pattern has "x" for "q_proj""#),
    .set("target_modules", "q_(", says: "not a regular expression"),
    .set("target_modules", ["q_proj", 1], says: "target_modules is an array, a list of names is expected"),
    .set("bias", "some", says: #"bias is "some""#, "lora_only"),
    .set("init_lora_weights", "pissa_niter_16", says: "init_lora_weights", "pissa_niter_16", "changes the base"),
    .set("init_lora_weights", "OLoRA", says: "OLoRA"),
    .set("init_lora_weights", "loftq", says: "loftq"),
    .set("init_lora_weights", "corda", says: "corda"),
    .set("init_lora_weights", "lora_ga", says: "lora_ga"),
    .set("layer_replication", [[0, 2], [1, 2]], says: "layer_replication", "repeated layers"),
    .set("alora_invocation_tokens", [1, 2], says: "alora_invocation_tokens", "prompt"),
    .set("use_qalora", true, says: "use_qalora"),
    .set("use_bdlora", ["target_modules_bd_a": []], says: "use_bdlora"),
    .set("kasa_config", ["beta": 1], says: "kasa_config"),
    .set("monteclora_config", ["a": 1], says: "monteclora_config"),
    .set("arrow_config", ["top_k": 3], says: "arrow_config"),
    .set("lora_bias", true, vector: "dora", says: "lora_bias is set with use_dora"),
    .set("use_dora", true, vector: "moe", says: "target_parameters"),
    .set("trainable_token_indices", [-1], says: "trainable_token_indices"),
    .set("trainable_token_indices", [3, 3], says: "names a token twice"),
  ]

  static let tensors: [Case] = [
    .tensor(q + "lora_B.weight", nil, says: "layers.0.self_attn.q_proj", "has lora_A, but no lora_B"),
    .tensor(q + "lora_A.weight", nil, says: "has lora_B, but no lora_A"),
    .tensor(
      "base_model.model.model.embed_tokens.lora_embedding_B", nil, vector: "embedding", says: "no lora_embedding_B"),
    .tensor(q + "lora_A.weight", zeros([8, 4]), says: "rows of A are not the columns of B"),
    .tensor(q + "lora_A.weight", zeros([32]), says: "two axes are expected"),
    .set("r", 8, says: "lora_A is [4, ", "r (with rank_pattern) says 8", "the scale alpha / r would be wrong"),
    .set("rank_pattern", [".*q_proj": 2], says: "q_proj", "says 2"),
    .tensor(q + "lora_A.weight", Tensor(.int32, [4, 8], bytes: [UInt8](repeating: 0, count: 128)), says: "is I32"),
    .tensor(q + "lora_A.weight", Tensor([4, 8], floats: [.nan] + [Float](repeating: 0, count: 31)), says: "NaN"),
    .set("use_dora", false, vector: "dora", says: "has a lora_magnitude_vector, but use_dora is not set"),
    .set("use_dora", true, says: "has no lora_magnitude_vector, but use_dora is set"),
    .set("modules_to_save", ["lm_head"], says: #"modules_to_save names "lm_head""#),
    .set("modules_to_save", .null, vector: "saved", says: "input_layernorm", "neither modules_to_save nor bias"),
    .set("bias", "none", vector: "biases", says: "has a bias of its own"),
    .set("bias", "lora_only", vector: "biases", says: "k_proj", "has a bias of its own"),
    .set("lora_bias", false, vector: "lora-bias", says: "has a lora_B.bias, but lora_bias is not set"),
    .set("lora_bias", true, says: "has no lora_B.bias, but lora_bias is set"),
    .set("target_modules", ["q_proj"], says: "down_proj", "target_modules does not name it"),
    .set("exclude_modules", ["layers.0.mlp.down_proj"], says: "layers.0.mlp.down_proj", "exclude_modules"),
    .set("target_modules", #"model\.layers\.1\..*"#, says: "model.layers.0", "target_modules does not name it"),
    .set("trainable_token_indices", .null, vector: "tokens", says: "trainable_token_indices does not name it"),
    .set("trainable_token_indices", ["embed_tokens": [1]], vector: "tokens", says: "[2, 8]", "names 1 tokens"),
    .set("trainable_token_indices", [1], says: "whose rows are not there"),
    .set("target_parameters", ["mlp.experts.down_proj"], vector: "moe", says: "2 pairs", "names 1"),
    .set("target_parameters", .null, vector: "moe", says: "mlp.experts", "does not name it"),
    .tensor(q + "lora_C.weight", zeros([1]), says: "lora_C.weight", "not a tensor that PEFT writes"),
    .tensor("base_model.model.lm_head.modules_to_save.weight", zeros([1]), says: "modules_to_save.weight"),
    .tensor(q + "lora_A.default.weight", zeros([4, 8]), says: "there twice"),
    .tensor("base_model.model.model.norm.weight", zeros([8]), says: "model.norm", "modules_to_save"),
    Case(title: "no tensors", says: ["holds no tensors"]) { $0.tensors = [] },
  ]

  static let bases: [Case] = [
    Case(title: "another model", says: ["layers.9.mlp.down_proj", "no module of this name", "near: "]) {
      $0.rename { $0.replacing("layers.1.", with: "layers.9.") }
    },
    Case(title: "misspelled", says: ["q_porj", "near: ", "model.layers.0.self_attn.q_proj"]) {
      $0.rename { $0.replacing("q_proj", with: "q_porj") }
      $0.configuration["target_modules"] = ["q_porj", "down_proj"]
    },
    .tensor(q + "lora_A.weight", zeros([4, 6]), says: "q_proj", "make [8, 6], the base has [8, 8]"),
    .tensor(q + "lora_B.weight", zeros([10, 4]), says: "make [10, 8]"),
    .tensor(
      "base_model.model.model.layers.0.self_attn.k_proj.lora_magnitude_vector", zeros([5]), vector: "dora",
      says: "lora_magnitude_vector has 5 values"),
    .tensor(
      "base_model.model.model.layers.0.input_layernorm.weight", zeros([5]), vector: "saved",
      says: "weight is [5], the base has F32 [8]"),
    .tensor("base_model.model.lm_head.weight", zeros([12, 8]), vector: "saved", says: "10 rows and the head 12"),
    .set("trainable_token_indices", ["embed_tokens": [3, 10]], vector: "tokens", says: "token 10", "10 rows"),
  ]

  private func expectRefusal(_ found: Case, _ body: () throws -> Void) {
    #expect {
      try body()
    } throws: { error in
      guard case .malformed(let file, _, _, _)? = error as? CheckpointError else { return false }
      return file.contains("adapter_") && found.says.allSatisfy { "\(error)".contains($0) }
    }
  }

  @Test(arguments: configurations + tensors) func `an adapter is refused`(_ found: Case) throws {
    var spoilt = try SpoiltAdapter(found.vector)
    found.spoil(&spoilt)
    expectRefusal(found) { _ = try spoilt.adapter() }
  }

  @Test(arguments: bases)
  func `an adapter that does not fit the base is refused before anything is read`(_ found: Case) throws {
    var spoilt = try SpoiltAdapter(found.vector)
    found.spoil(&spoilt)
    let adapter = try spoilt.adapter()
    expectRefusal(found) { _ = try AdaptedSource(AdapterVector.base("llama"), adapter: adapter) }
  }

  @Test func `biases are refused for a base that has none`() throws {
    for name in ["biases", "lora-bias"] {
      let adapter = try AdapterVector.adapter(name)
      #expect {
        try AdaptedSource(AdapterVector.base("llama"), adapter: adapter)
      } throws: {
        "\($0)".contains("has a bias, the base's module has none")
      }
    }
  }

  @Test func `a square expert that could lie either way is refused`() throws {
    let base = try AdapterVector.base("oss")
    var lone = try SpoiltAdapter("oss")
    lone.configuration["target_parameters"] = ["experts.down_proj"]
    lone.tensors = lone.tensors.filter { !$0.name.contains("base_layer") }
    for layer in 0..<2 { #expect(base.info("model.layers.\(layer).mlp.experts.down_proj")?.shape == [3, 8, 8]) }
    let adapter = try lone.adapter()
    #expect(try AdaptedSource(base, adapter: adapter).changedNames.count == 4)
    let bare = MemorySource(base.entries.filter { !$0.name.hasSuffix("gate_up_proj") })
    #expect { try AdaptedSource(bare, adapter: adapter) } throws: { "\($0)".contains("down_proj is square") }
  }

  @Test func `a merged tensor that is not finite is refused when it is read`() throws {
    var huge = try SpoiltAdapter("lora")
    huge.set(
      Self.q + "lora_A.weight", Tensor([4, 8], floats: [Float](repeating: .greatestFiniteMagnitude, count: 32)))
    huge.configuration["lora_alpha"] = 1000
    let source = try AdaptedSource(AdapterVector.base("llama"), adapter: huge.adapter())
    #expect {
      try source.tensor("model.layers.0.self_attn.q_proj.weight")
    } throws: {
      "\($0)".contains("model.layers.0.self_attn.q_proj.weight") && "\($0)".contains("NaN or infinite after merging")
    }
  }

  @Test func `folders that are no adapters are refused with what lies in them`() throws {
    let folder = try TestFolder()
    func expect(_ words: String...) {
      #expect { try Adapter(folder: folder.path) } throws: { error in words.allSatisfy { "\(error)".contains($0) } }
    }
    expect("adapter_config.json", "not a PEFT adapter")
    try folder.write("other/adapter_config.json", "{}")
    expect("other")
    try folder.write("adapter_config.json", "[]")
    expect("no weights of an adapter")
    try folder.write("adapter_model.bin", "x")
    expect("adapter_model.bin", "pickle")
    try folder.write("adapter_model.safetensors", "x")
    expect("adapter_config.json", "expected an object")
    try folder.write("adapter_config.json", "{")
    expect("adapter_config.json", "at byte 1", "a member name")
    try folder.write("adapter_config.json", #"{"peft_type": "LORA"}"#)
    expect("adapter_model.safetensors")
    #expect(throws: CheckpointError.self) { try Adapter(folder: folder("nothing")) }
  }

  @Test func `what PEFT ignores and what changes nothing is said`() throws {
    var odd = try SpoiltAdapter("lora")
    odd.configuration["lora_alpha"] = 0
    odd.configuration["new_thing"] = true
    odd.configuration["quiet_thing"] = false
    odd.configuration["target_modules"] = ["q_proj", "down_proj", "gate_prj"]
    let source = try AdaptedSource(AdapterVector.base("llama"), adapter: odd.adapter())
    let text = source.warnings.joined(separator: "\n")
    #expect(text.contains("lora_alpha is 0") && text.contains("new_thing is not known") && !text.contains("quiet"))
    #expect(text.contains("gate_prj, which the base does not have; near: gate_proj"))
    #expect(try AdapterVector(name: "lora", base: "llama").source().warnings.isEmpty)
  }
}
