import Models
import StrictJSON
import TestSupport
import Testing

@Suite struct MultimodalTests {
  @Test(arguments: [
    ("gemma3-multimodal", "language_model.model."), ("mistral3", "language_model.model."), ("qwen2_5_vl", "model."),
    ("qwen3_vl", "model.language_model."), ("qwen3_vl_moe", "model.language_model."), ("llama", "model."),
  ])
  func `tensors of the text model are found under their prefix`(_ family: String, _ base: String) throws {
    let model = try family == "llama" ? ModelVectors.model(ModelVectors.path(family)) : ModelVectors.family(family)
    #expect(model.names.base == base && model.layerPrefix(1) == base + "layers.1.")
    let name = base + "layers.1.self_attn.o_proj"
    #expect(model.linearNames.contains(name) && model.names.place(name)?.local == "self_attn.o_proj")
    let place = try #require(model.names.place(name))
    #expect(place.layer == 1 && place.local == "self_attn.o_proj")
    #expect(model.names.place("visual.layers.1.self_attn.o_proj") == nil)
    #expect(model.names.place(base + "layers.x.o_proj") == nil && model.names.place(base + "norm") == nil)
  }

  private static func ties(_ family: String, _ change: (inout JSONObject) -> Void) throws -> Bool {
    let folder = ModelVectors.familyPath(family)
    var object = try #require(try ModelVectors.json(folder + "/config.json").objectValue)
    change(&object)
    return try ModelVectors.model(folder, configuration: object).configuration.tiesEmbeddings
  }

  /// Sets `tie_word_embeddings`, outside and inside.
  private static func tying(_ outer: Bool?, _ inner: Bool?) -> (inout JSONObject) -> Void {
    { object in
      object["tie_word_embeddings"] = outer.map { .bool($0) }
      var text = object["text_config"]?.objectValue ?? [:]
      text["tie_word_embeddings"] = inner.map { .bool($0) }
      object["text_config"] = .object(text)
    }
  }

  @Test func `the outer key of tying counts, then the inner one, then whether there is a head`() throws {
    #expect(try Self.ties("mistral3", Self.tying(true, false)))
    #expect(try !Self.ties("mistral3", Self.tying(false, true)))
    #expect(try Self.ties("mistral3", Self.tying(nil, true)))
    #expect(try !Self.ties("mistral3", Self.tying(nil, nil)))
    #expect(try Self.ties("gemma3-multimodal", Self.tying(nil, nil)))
    #expect(try Self.ties("qwen2_5_vl", Self.tying(false, true)))
    #expect(try !Self.ties("qwen3_vl", Self.tying(nil, nil)))
  }

  @Test func `keys that old files of Gemma 3 leave out are those of the reference`() throws {
    let object: JSONObject = [
      "model_type": "gemma3", "vision_config": [:],
      "text_config": ["hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 7, "sliding_window": 1024],
      "eos_token_id": [1, 106],
    ]
    let found = try Architecture.configuration(of: ConfigurationReader(object, file: "config.json"))
    guard case .grouped(let attention) = found.layers[5].attention else { throw NotGrouped() }
    #expect(attention.heads == 8 && attention.keyValueHeads == 4 && attention.headDimension == 256)
    #expect(attention.window == nil && attention.scale == 1.0 / 16)
    #expect(found.vocabularySize == 262_208 && found.maximumPositions == 131_072 && found.endTokens == [1, 106])
    #expect(found.rotaries.map(\.base) == [1e6, 1e4] && found.tiesEmbeddings)
  }

  struct NotGrouped: Error {}

  @Test func `an image model whose text model is missing or not known is refused`() throws {
    func read(_ object: JSONObject) throws -> ModelConfiguration {
      try Architecture.configuration(of: ConfigurationReader(object, file: "config.json"))
    }
    #expect(throws: ModelError.configuration(file: "config.json", key: "text_config", problem: "is missing")) {
      _ = try read(["model_type": "qwen3_vl"])
    }
    #expect {
      _ = try read(["model_type": "mistral3", "text_config": ["model_type": "ministral3"]])
    } throws: {
      guard case .unknownFamily(_, "ministral3", _)? = $0 as? ModelError else { return false }
      return true
    }
    #expect {
      _ = try read(["model_type": "mistral3", "text_config": ["hidden_size": 0]])
    } throws: {
      guard case .configuration(_, "text_config.hidden_size", _)? = $0 as? ModelError else { return false }
      return true
    }
  }
}
