internal import Checkpoints
internal import Foundation
public import StrictJSON
public import Tensors

/// A random model of some hundred kilobytes in the layout of Hugging Face, the same for the same values.
///
///     try TinyModel(modelType: "qwen2").write(to: folder("model"))
///
/// Tokens are bytes; `<|end|>` begins and ends texts.
public struct TinyModel {
  /// `llama` or `qwen2`.
  public var modelType: String
  /// 256 bytes, the end token, and some rows that no text uses.
  public var vocabularySize = 272
  /// Channels of the residual stream.
  public var hiddenSize = 64
  /// Channels of the feed-forward.
  public var intermediateSize = 96
  /// Number of layers.
  public var layerCount = 2
  /// Number of query heads.
  public var heads = 4
  /// Number of key-value heads.
  public var keyValueHeads = 2
  /// Positions.
  public var maximumPositions = 128
  /// Whether the head is the embedding.
  public var tiesEmbeddings = true
  /// Whether all linears have biases; only llama can say so.
  public var hasBiases = false
  /// How tensors are stored.
  public var dtype = DType.bfloat16
  /// Another seed, another model.
  public var seed: UInt64 = 1
  /// Deviation of what is added to every weight matrix after it was drawn: a model near another.
  public var noise: Float = 0
  /// Keys of `config.json` that are set; `null` removes one.
  public var configuration: JSONObject = [:]
  /// Tensors that take the place of those drawn, or come after them.
  public var tensors: [String: Tensor] = [:]
  /// Tensors that are left out.
  public var missing: Set<String> = []
  /// Whether `tokenizer.json` is written.
  public var hasTokenizer = true

  /// A model of the default size.
  public init(modelType: String = "llama") { self.modelType = modelType }

  /// The id of `<|end|>`.
  public static let endToken = 256

  /// Writes the folder; its names are those of Hugging Face.
  ///
  /// - Parameter shards: tensors are dealt out to so many files, with an index.
  public func write(to folder: String, shards: Int = 1) throws {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    func write(_ name: String, _ value: JSONValue) throws {
      try Data(value.prettyText.utf8).write(to: URL(filePath: folder + "/" + name))
    }
    try write("config.json", .object(configurationObject))
    try write("generation_config.json", ["eos_token_id": .integer(Self.endToken), "do_sample": false])
    if hasTokenizer {
      try write("tokenizer.json", Self.tokenizer)
      try write("tokenizer_config.json", ["bos_token": "<|end|>", "eos_token": "<|end|>", "add_bos_token": true])
    }
    let drawn = drawnTensors()
    guard shards > 1 else { return try Self.write(drawn, to: folder + "/model.safetensors") }
    var map = JSONObject()
    let size = (drawn.count + shards - 1) / shards
    for shard in 0..<shards {
      let part = Array(drawn.dropFirst(shard * size).prefix(size))
      let name = String(format: "model-%05d-of-%05d.safetensors", shard + 1, shards)
      try Self.write(part, to: folder + "/" + name)
      for (tensor, _) in part { map[tensor] = .string(name) }
    }
    try write("model.safetensors.index.json", ["metadata": [:], "weight_map": .object(map)])
  }

  /// Writes tensors into one file.
  public static func write(_ tensors: [(name: String, tensor: Tensor)], to path: String) throws {
    var writer = try SafetensorsWriter(
      path: path,
      tensors: tensors.map { TensorInfo(name: $0.name, dtype: $0.tensor.dtype, shape: $0.tensor.shape) },
      metadata: ["format": "pt"])
    for (name, tensor) in tensors { try writer.write(tensor, named: name) }
    try writer.finish()
  }

  /// `config.json` as it is written.
  public var configurationObject: JSONObject {
    var object: JSONObject = [
      "architectures": [.string(modelType == "llama" ? "LlamaForCausalLM" : "Qwen2ForCausalLM")],
      "model_type": .string(modelType), "hidden_act": "silu", "hidden_size": .integer(hiddenSize),
      "intermediate_size": .integer(intermediateSize), "num_hidden_layers": .integer(layerCount),
      "num_attention_heads": .integer(heads), "num_key_value_heads": .integer(keyValueHeads),
      "vocab_size": .integer(vocabularySize), "max_position_embeddings": .integer(maximumPositions),
      "rms_norm_eps": .number("1e-06"), "rope_theta": .number("10000.0"),
      "tie_word_embeddings": .bool(tiesEmbeddings), "bos_token_id": .integer(Self.endToken),
      "eos_token_id": .integer(Self.endToken), "torch_dtype": "bfloat16",
      "_comment": "kept as it is", "transformers_version": "4.51.0",
    ]
    if modelType == "llama" && hasBiases {
      object["attention_bias"] = true
      object["mlp_bias"] = true
    }
    for member in configuration.members { object[member.name] = member.value.isNull ? nil : member.value }
    return object
  }

  /// Every tensor in checkpoint order.
  public func drawnTensors() -> [(name: String, tensor: Tensor)] {
    var generator = SeededGenerator(seed: seed)
    var disturbance = SeededGenerator(seed: seed &+ 1_000_003)
    var result: [(name: String, tensor: Tensor)] = []
    func add(_ name: String, _ shape: Shape, deviation: Float, mean: Float = 0, isMatrix: Bool = true) {
      var values = generator.normals(shape.elementCount ?? 0).map { mean + deviation * $0 }
      if isMatrix && noise > 0 { values = values.map { $0 + noise * disturbance.normal() } }
      guard !missing.contains(name), tensors[name] == nil else { return }
      result.append((name, Tensor(shape, floats: values, as: dtype)))
    }
    let head = hiddenSize / heads
    let spread = 1 / Float(hiddenSize).squareRoot()
    add("model.embed_tokens.weight", [vocabularySize, hiddenSize], deviation: 0.5)
    for layer in 0..<layerCount {
      let prefix = "model.layers.\(layer)."
      func linear(_ name: String, _ rows: Int, _ columns: Int, bias: Bool) {
        add(prefix + name + ".weight", [rows, columns], deviation: 1 / Float(columns).squareRoot())
        if bias { add(prefix + name + ".bias", [rows], deviation: 0.1, isMatrix: false) }
      }
      let attentionBias = modelType == "qwen2" || hasBiases
      let otherBias = modelType == "llama" && hasBiases
      add(prefix + "input_layernorm.weight", [hiddenSize], deviation: 0.2, mean: 1, isMatrix: false)
      linear("self_attn.q_proj", heads * head, hiddenSize, bias: attentionBias)
      linear("self_attn.k_proj", keyValueHeads * head, hiddenSize, bias: attentionBias)
      linear("self_attn.v_proj", keyValueHeads * head, hiddenSize, bias: attentionBias)
      linear("self_attn.o_proj", hiddenSize, heads * head, bias: otherBias)
      add(prefix + "post_attention_layernorm.weight", [hiddenSize], deviation: 0.2, mean: 1, isMatrix: false)
      linear("mlp.gate_proj", intermediateSize, hiddenSize, bias: otherBias)
      linear("mlp.up_proj", intermediateSize, hiddenSize, bias: otherBias)
      linear("mlp.down_proj", hiddenSize, intermediateSize, bias: otherBias)
    }
    add("model.norm.weight", [hiddenSize], deviation: 0.2, mean: 1, isMatrix: false)
    if !tiesEmbeddings { add("lm_head.weight", [vocabularySize, hiddenSize], deviation: 3 * spread) }
    result += tensors.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    return result
  }

  /// Bytes as tokens, spelled as GPT-2 does, and `<|end|>`.
  static let tokenizer: JSONValue = {
    var vocabulary = JSONObject()
    var members: [JSONObject.Member] = []
    var next: UInt32 = 256
    for byte in 0..<UInt32(256) {
      let standsForItself = (33...126).contains(byte) || (161...172).contains(byte) || (174...255).contains(byte)
      let scalar = Unicode.Scalar(standsForItself ? byte : next) ?? "?"
      if !standsForItself { next += 1 }
      members.append(.init(String(Character(scalar)), .integer(Int(byte))))
    }
    members.append(.init("<|end|>", .integer(endToken)))
    vocabulary = JSONObject(members)
    return [
      "version": "1.0", "truncation": .null, "padding": .null,
      "added_tokens": [
        [
          "id": .integer(endToken), "content": "<|end|>", "single_word": false, "lstrip": false, "rstrip": false,
          "normalized": false, "special": true,
        ]
      ],
      "normalizer": .null,
      "pre_tokenizer": ["type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true],
      "post_processor": .null,
      "decoder": ["type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true],
      "model": [
        "type": "BPE", "dropout": .null, "unk_token": .null, "continuing_subword_prefix": .null,
        "end_of_word_suffix": .null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
        "vocab": .object(vocabulary), "merges": [],
      ],
    ]
  }()
}
