internal import StrictJSON

extension AdapterConfiguration {
  /// Reads `adapter_config.json`; an adapter that cannot be merged as it stands is refused by its key.
  init(reading object: JSONObject, file: String) throws(CheckpointError) {
    self.file = file
    let fields = Fields(object: object, file: file)
    guard let type = try fields.string("peft_type") else {
      throw fields.refuse("peft_type", "is missing, \"LORA\" is expected")
    }
    guard type == "LORA" else { throw fields.refuse("peft_type", "is \"\(type)\", only \"LORA\" is merged") }
    for (key, reason) in Self.unmergeable where fields.isSet(key) { throw fields.refuse(key, reason) }
    try Self.checkInitialization(fields)

    rank = try fields.integer("r") ?? rank
    guard rank > 0 else { throw fields.refuse("r", "is \(rank), a positive number is expected") }
    alpha = try fields.number("lora_alpha") ?? alpha
    rankOverrides = try fields.overrides("rank_pattern") { value in
      value.intValue.flatMap { $0 > 0 ? $0 : nil }
    }
    alphaOverrides = try fields.overrides("alpha_pattern") { value in
      value.doubleValue.flatMap { $0.isFinite ? $0 : nil }
    }
    isRankStabilized = try fields.flag("use_rslora")
    hasMagnitudes = try fields.flag("use_dora")
    targets = try fields.modules("target_modules")
    excluded = try fields.modules("exclude_modules")
    savedModules = try fields.strings("modules_to_save")
    hasLowRankBias = try fields.flag("lora_bias")
    isTransposed = try fields.flag("fan_in_fan_out")
    targetParameters = try fields.strings("target_parameters")
    trainableTokens = try fields.trainableTokens("trainable_token_indices")
    keepsTie = try fields.flag("ensure_weight_tying")
    if let text = try fields.string("bias") {
      guard let bias = Bias(rawValue: text) else {
        throw fields.refuse("bias", "is \"\(text)\", one of \"none\", \"all\", \"lora_only\" is expected")
      }
      self.bias = bias
    }
    if hasLowRankBias && hasMagnitudes {
      throw fields.refuse("lora_bias", "is set with use_dora; PEFT has no such adapters")
    }
    if !targetParameters.isEmpty && (hasMagnitudes || hasLowRankBias || isTransposed) {
      throw fields.refuse(
        "target_parameters", "is set with use_dora, lora_bias or fan_in_fan_out; PEFT has no such adapters")
    }
    if alpha == 0 { warnings.append("\(file): lora_alpha is 0, so the adapter changes nothing by B·A") }
    warnings += fields.unknown.map { "\(file): \($0) is not known and is ignored, as PEFT does" }
  }

  /// Adapters whose B·A is not what has to be added to the base.
  private static let unmergeable = [
    ("layer_replication", "is set: the adapter belongs to a model with repeated layers, which is not built"),
    ("alora_invocation_tokens", "is set: an activated LoRA depends on the prompt and cannot be merged"),
    ("use_qalora", "is set: QA-LoRA pools the inputs and cannot be merged as plain LoRA"),
    ("use_bdlora", "is set: block-diagonal LoRA is not read"),
    ("kasa_config", "is set: KaSA adapters are not read"),
    ("monteclora_config", "is set: MonteCLoRA adapters are not read"),
    ("arrow_config", "is set: Arrow routes between adapters by the input and cannot be merged"),
  ]

  /// Initializations that move a part of the base into the adapter: without that base the sum is another model.
  private static func checkInitialization(_ fields: Fields) throws(CheckpointError) {
    guard let text = fields["init_lora_weights"]?.stringValue else { return }
    let changing = ["pissa", "olora", "corda", "loftq", "lora_ga"]
    guard !changing.contains(where: { text.lowercased().hasPrefix($0) }) else {
      throw fields.refuse(
        "init_lora_weights",
        "is \"\(text)\", which changes the base when training begins; save the adapter again with"
          + " path_initial_model_for_weight_conversion, which makes it an ordinary one")
    }
  }
}

/// The members of a configuration, read with their types.
private struct Fields {
  let object: JSONObject
  let file: String

  /// A member that is there and not `null`.
  subscript(key: String) -> JSONValue? { object[key].flatMap { $0.isNull ? nil : $0 } }

  func refuse(_ key: String, _ problem: String) -> CheckpointError {
    .malformed(file: file, offset: nil, tensor: nil, problem: key + " " + problem)
  }

  private func mistyped(_ key: String, _ value: JSONValue, expected: String) -> CheckpointError {
    refuse(key, "is \(value.typeName), \(expected) is expected")
  }

  /// Whether a member says more than that it is off.
  func isSet(_ key: String) -> Bool { self[key].map(Self.saysSomething) ?? false }

  private static func saysSomething(_ value: JSONValue) -> Bool {
    value != false && !value.isNull && value.arrayValue?.isEmpty != true && value.objectValue?.members.isEmpty != true
  }

  func string(_ key: String) throws(CheckpointError) -> String? {
    guard let value = self[key] else { return nil }
    guard let text = value.stringValue else { throw mistyped(key, value, expected: "a string") }
    return text
  }

  func flag(_ key: String) throws(CheckpointError) -> Bool {
    guard let value = self[key] else { return false }
    guard let flag = value.boolValue else { throw mistyped(key, value, expected: "true or false") }
    return flag
  }

  func integer(_ key: String) throws(CheckpointError) -> Int? {
    guard let value = self[key] else { return nil }
    guard let number = value.intValue else { throw mistyped(key, value, expected: "a whole number") }
    return number
  }

  func number(_ key: String) throws(CheckpointError) -> Double? {
    guard let value = self[key] else { return nil }
    guard let number = value.doubleValue, number.isFinite else {
      throw mistyped(key, value, expected: "a finite number")
    }
    return number
  }

  func strings(_ key: String) throws(CheckpointError) -> [String] {
    guard let value = self[key] else { return [] }
    let strings = value.arrayValue?.compactMap(\.stringValue) ?? []
    guard let array = value.arrayValue, strings.count == array.count, !strings.contains("") else {
      throw mistyped(key, value, expected: "a list of names")
    }
    return strings.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  func modules(_ key: String) throws(CheckpointError) -> AdapterConfiguration.Modules? {
    guard let text = self[key]?.stringValue else { return self[key] == nil ? nil : .names(try strings(key)) }
    guard text.lowercased() != "all-linear" else { return .allLinear }
    _ = try AdapterConfiguration.matches("", text, file: file)
    return .expression(text)
  }

  func overrides<Value>(
    _ key: String, _ read: (JSONValue) -> Value?
  ) throws(CheckpointError) -> [AdapterConfiguration.Override<Value>] {
    guard let value = self[key] else { return [] }
    guard let members = value.objectValue?.members else { throw mistyped(key, value, expected: "an object") }
    var result: [AdapterConfiguration.Override<Value>] = []
    for member in members {
      guard let found = read(member.value) else {
        let expected = Value.self == Int.self ? "a positive whole number" : "a finite number"
        throw refuse(key, "has \(member.value.compactText) for \"\(member.name)\", \(expected) is expected")
      }
      _ = try AdapterConfiguration.matches("", "(" + member.name + ")", file: file)
      result.append(.init(pattern: member.name, value: found))
    }
    return result
  }

  func trainableTokens(_ key: String) throws(CheckpointError) -> [AdapterConfiguration.TrainableTokens] {
    guard let value = self[key] else { return [] }
    let lists = value.objectValue?.members.map { (Optional($0.name), $0.value) } ?? [(nil, value)]
    var result: [AdapterConfiguration.TrainableTokens] = []
    for (module, list) in lists {
      let tokens = list.arrayValue?.compactMap(\.intValue) ?? []
      guard let array = list.arrayValue, tokens.count == array.count, tokens.allSatisfy({ $0 >= 0 }) else {
        throw refuse(key, "has \(list.typeName), a list of token ids, or one for each embedding, is expected")
      }
      guard Set(tokens).count == tokens.count else { throw refuse(key, "names a token twice") }
      result.append(.init(module: module, tokens: tokens))
    }
    return result
  }

  /// Members that say something and that PEFT 0.21 does not have.
  var unknown: [String] {
    object.members.filter { !Self.known.contains($0.name) && Self.saysSomething($0.value) }.map(\.name)
  }

  private static let known: Set<String> = [
    "alora_invocation_tokens", "alpha_pattern", "arrow_config", "auto_mapping", "base_model_name_or_path", "bias",
    "corda_config", "ensure_weight_tying", "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode",
    "init_lora_weights", "kasa_config", "layer_replication", "layers_pattern", "layers_to_transform", "loftq_config",
    "lora_alpha", "lora_bias", "lora_dropout", "lora_ga_config", "megatron_config", "megatron_core",
    "modules_to_save", "monteclora_config", "peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern",
    "revision", "runtime_config", "target_modules", "target_parameters", "task_type", "trainable_token_indices",
    "use_bdlora", "use_dora", "use_qalora", "use_rslora", "velora_config",
  ]
}
