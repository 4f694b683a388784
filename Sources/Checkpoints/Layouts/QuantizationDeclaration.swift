internal import Quantization
internal import StrictJSON

/// What a checkpoint says of its quantization, and in which file.
struct QuantizationDeclaration {
  /// The object with `quant_method`.
  let json: JSONObject
  /// The file and key, for messages.
  let place: String
  /// `quant_method`, or what the file implies.
  let method: String

  /// The declaration in `config.json`, or else in one of the files that quantizers write beside it.
  init?(of checkpoint: Checkpoint) throws(CheckpointError) {
    let configuration = checkpoint.configuration
    let own = try Self.own(configuration, file: checkpoint.configurationFile)
    var beside: [QuantizationDeclaration] = []
    for (name, method) in [
      ("quantize_config.json", "gptq"), ("quant_config.json", "awq"), ("hf_quant_config.json", "modelopt"),
    ] {
      guard let bytes = try checkpoint.file(name) else { continue }
      let file = checkpoint.name + "/" + name
      let json = try Checkpoint.object(bytes, file: file)
      let body = method == "modelopt" ? json["quantization"]?.objectValue ?? json : json
      beside.append(Self(json: body, place: file, method: body["quant_method"]?.stringValue ?? method))
    }
    guard let first = own ?? beside.first else { return nil }
    for other in beside { try first.refuseContradiction(with: other) }
    self = first
  }

  private init(json: JSONObject, place: String, method: String) {
    self.json = json
    self.place = place
    self.method = method.lowercased()
  }

  private static func own(_ configuration: JSONObject, file: String) throws(CheckpointError) -> QuantizationDeclaration?
  {
    // Models for text and images keep the declaration with the text model.
    for object in [configuration, configuration["text_config"]?.objectValue].compactMap({ $0 }) {
      for key in ["quantization_config", "compression_config", "quantization"] {
        guard let value = object[key], !value.isNull else { continue }
        guard let json = value.objectValue else {
          throw .malformed(
            file: file, offset: nil, tensor: nil, problem: "\(key): is \(value.typeName), expected an object")
        }
        let place = "\(file): \(key)"
        if let method = json["quant_method"], !method.isNull {
          guard let name = method.stringValue else {
            throw .malformed(
              file: file, offset: nil, tensor: nil, problem: "\(key): quant_method is \(method.compactText)")
          }
          return Self(json: json, place: place, method: name)
        }
        return Self(
          json: json, place: place, method: impliedMethod(json, isMLX: !(object["quantization"] ?? .null).isNull))
      }
    }
    return nil
  }

  /// The method of a declaration that does not name one.
  ///
  /// - Parameter isMLX: whether there is a key `quantization`, which MLX writes, with a copy under the usual key.
  private static func impliedMethod(_ json: JSONObject, isMLX: Bool) -> String {
    if json["quant_algo"] != nil || json["producer"]?["name"] == "modelopt" { return "modelopt" }
    if json["config_groups"] != nil { return "compressed-tensors" }
    return isMLX ? "mlx" : "none"
  }

  /// Refuses a second description that says something else of the same keys.
  private func refuseContradiction(with other: QuantizationDeclaration) throws(CheckpointError) {
    guard other.place != place else { return }
    let synonyms = [
      ["bits", "w_bit"], ["group_size", "q_group_size"], ["desc_act"], ["sym"], ["zero_point"], ["version"],
      ["checkpoint_format"], ["quant_algo"],
    ]
    for keys in synonyms {
      let found = [self, other].map { declaration in keys.lazy.compactMap { declaration.value($0) }.first }
      // AutoAWQ writes its version in capitals in one of the files.
      guard let mine = found[0], let others = found[1],
        mine.compactText.lowercased() != others.compactText.lowercased()
      else { continue }
      throw refusal("\(keys[0]) is \(mine.compactText), but \(other.place) says \(others.compactText)")
    }
    guard method == other.method || method == "fp8" && other.method == "modelopt" else {
      throw refusal("quant_method is \"\(method)\", but \(other.place) describes \"\(other.method)\"")
    }
  }

  // MARK: Keys

  /// A member that is not `null`.
  func value(_ key: String) -> JSONValue? { json[key].flatMap { $0.isNull ? nil : $0 } }

  /// A member under any of its names.
  func integer(_ keys: String...) throws(CheckpointError) -> Int? {
    for key in keys {
      guard let value = value(key) else { continue }
      guard let number = value.intValue else {
        throw refusal("\(key) is \(value.compactText), expected a whole number")
      }
      return number
    }
    return nil
  }

  func flag(_ key: String) throws(CheckpointError) -> Bool? {
    guard let value = value(key) else { return nil }
    guard let flag = value.boolValue else { throw refusal("\(key) is \(value.compactText), expected true or false") }
    return flag
  }

  func text(_ keys: String...) throws(CheckpointError) -> String? {
    for key in keys {
      guard let value = value(key) else { continue }
      guard let text = value.stringValue else { throw refusal("\(key) is \(value.compactText), expected a string") }
      return text
    }
    return nil
  }

  func names(_ key: String) throws(CheckpointError) -> [String] {
    guard let value = value(key) else { return [] }
    let names = value.arrayValue?.compactMap(\.stringValue)
    guard let names, names.count == value.arrayValue?.count else { throw refusal("\(key) is not a list of names") }
    return names
  }

  /// A group size: `nil` for the whole row, which is written −1.
  func granularity(_ keys: String...) throws(CheckpointError) -> Granularity {
    for key in keys {
      guard let size = try integer(key) else { continue }
      guard size > 0 || size == -1 else { throw refusal("\(key) \(size) is not a size") }
      return size == -1 ? .perChannel : .perGroup(size: size)
    }
    throw refusal("\(keys[0]) is missing")
  }

  /// The same with other members.
  func with(_ json: JSONObject) -> QuantizationDeclaration { Self(json: json, place: place, method: method) }

  func refusal(_ problem: String) -> CheckpointError {
    .malformed(file: place, offset: nil, tensor: nil, problem: problem)
  }
}
