internal import Calibration
internal import Checkpoints
internal import Quantization
internal import StrictJSON
internal import Yams

extension Recipe {
  /// Reads a recipe file; unknown keys are refused by name.
  ///
  /// - Parameter file: for messages.
  public init(yaml text: String, file: String) throws {
    let node: Node?
    do { node = try Yams.compose(yaml: text) } catch {
      throw PipelineError.usage("\(file) is not YAML: \(Self.sentence(error))")
    }
    guard let node, let object = try Self.json(node, file: file).objectValue else {
      throw PipelineError.usage("\(file) does not hold a mapping")
    }
    let reader = RecipeReader(object: object, file: file, path: "")
    try reader.refuseUnknown(except: [
      "scheme", "bits", "group_size", "method", "ignore", "include", "rules", "calibration", "kv_cache", "target_size",
      "max_kl",
    ])
    self.init()
    guard let scheme = try reader.scheme(default: scheme) else {
      throw PipelineError.usage(
        "\(file): scheme is none, which would quantize nothing; give the scheme of most linears here, "
          + "and none in a rule or names under ignore for those that stay")
    }
    self.scheme = scheme
    rate = try reader.rate(scheme)
    method = try reader.method() ?? method
    ignore = try reader.strings("ignore") ?? []
    include = try reader.strings("include") ?? []
    kvCache = try reader.kvCache()
    var elements: [JSONValue] = []
    if let value = object["rules"], !value.isNull {
      guard let list = value.arrayValue else { throw PipelineError.usage("\(file): rules is not a list") }
      elements = list
    }
    for (index, element) in elements.enumerated() {
      let path = "rules[\(index)]."
      guard let rule = element.objectValue else {
        throw PipelineError.usage("\(file): \(path.dropLast()) is not a mapping")
      }
      let inner = RecipeReader(object: rule, file: file, path: path)
      try inner.refuseUnknown(except: ["targets", "scheme", "bits", "group_size", "method"])
      guard let targets = try inner.strings("targets"), !targets.isEmpty else {
        throw PipelineError.usage("\(file): \(path)targets is missing")
      }
      rules.append(Rule(targets: targets, scheme: try inner.scheme(default: scheme), method: try inner.method()))
    }
    if let element = object["calibration"], !element.isNull {
      guard let calibration = element.objectValue else {
        throw PipelineError.usage("\(file): calibration is not a mapping")
      }
      let inner = RecipeReader(object: calibration, file: file, path: "calibration.")
      try inner.refuseUnknown(except: ["texts", "samples", "sequence_length", "expert_tokens"])
      self.calibration = try inner.strings("texts") ?? self.calibration
      samples = try inner.samples()
      sequenceLength = try inner.count("sequence_length") ?? sequenceLength
      expertTokens = try inner.count("expert_tokens") ?? expertTokens
    }
  }

  /// A parser's message without the excerpt of the file that follows it on lines of its own.
  private static func sentence(_ error: any Error) -> String {
    let lines = "\(error)".split(separator: "\n")
    return String(lines.first(where: { $0.contains("error:") }) ?? lines.first ?? "it cannot be read")
  }

  private static func json(_ node: Node, file: String) throws -> JSONValue {
    switch node {
    case .mapping(let mapping):
      var object = JSONObject()
      for (key, value) in mapping {
        guard let name = key.string else { throw PipelineError.usage("\(file): a key is not a string") }
        object[name] = try json(value, file: file)
      }
      return .object(object)
    case .sequence(let sequence): return .array(try sequence.map { try json($0, file: file) })
    default:
      if node.null != nil { return .null }
      if let whole = node.int { return .integer(whole) }
      if let flag = node.bool { return .bool(flag) }
      if let number = node.float { return .real(number) }
      return .string(node.string ?? "")
    }
  }
}

private struct RecipeReader {
  let object: JSONObject
  let file: String
  let path: String

  func refuse(_ key: String, _ problem: String) -> PipelineError { .usage("\(file): \(path)\(key) \(problem)") }

  func refuseUnknown(except known: [String]) throws {
    for member in object.members where !known.contains(member.name) {
      throw refuse(member.name, "is not known; known are \(known.joined(separator: ", "))")
    }
  }

  func strings(_ key: String) throws -> [String]? {
    guard let value = object[key], !value.isNull else { return nil }
    if let one = value.stringValue { return [one] }
    guard let list = value.arrayValue, list.allSatisfy({ $0.stringValue != nil }) else {
      throw refuse(key, "is \(value.compactText), expected a string or a list of strings")
    }
    return list.compactMap(\.stringValue)
  }

  func count(_ key: String) throws -> Int? {
    guard let value = object[key], !value.isNull else { return nil }
    guard let count = value.intValue, count > 0 else {
      throw refuse(key, "is \(value.compactText), expected a positive whole number")
    }
    return count
  }

  /// The number of samples; `nil` if it is to be found.
  func samples() throws -> Int? {
    guard let value = object["samples"], !value.isNull,
      value.stringValue?.lowercased() != Recipe.automatic
    else { return nil }
    guard let count = value.intValue, count > 0 else {
      throw refuse("samples", "is \(value.compactText), expected a positive whole number or \(Recipe.automatic)")
    }
    return count
  }

  /// What is wanted of entropy-coded weights; refused beside other schemes.
  func rate(_ scheme: QuantizationScheme) throws -> Rate? {
    var found: [Rate] = []
    func number(_ key: String, _ range: ClosedRange<Double>, _ make: (Double) -> Rate) throws {
      guard let value = object[key], !value.isNull else { return }
      if !scheme.isEntropyCoded {
        if key == "bits" { return }
        throw refuse(key, "is for scheme EC; \(scheme.name) has its own bits")
      }
      guard let number = value.doubleValue, range.contains(number) else {
        throw refuse(key, "is \(value.compactText), expected a number from \(range.lowerBound) to \(range.upperBound)")
      }
      found.append(make(number))
    }
    try number("bits", 1...8) { .bits($0) }
    try number("target_size", 1...1e18) { .bytes(Int($0)) }
    try number("max_kl", 1e-9...100) { .divergence($0) }
    guard found.count < 2 else {
      throw refuse("bits", "and target_size and max_kl say the same thing; give one of them")
    }
    return found.first
  }

  func method() throws -> Method? {
    guard let value = object["method"], !value.isNull else { return nil }
    guard let method = value.stringValue.flatMap({ Method(rawValue: $0.lowercased()) }) else {
      throw refuse(
        "method", "is \(value.compactText), expected \(Method.allCases.map(\.rawValue).joined(separator: " or "))")
    }
    return method
  }

  func kvCache() throws -> CacheQuantization.Format? {
    guard let value = object["kv_cache"], !value.isNull, value.stringValue?.lowercased() != "none" else { return nil }
    guard let format = value.stringValue.flatMap({ CacheQuantization.Format(rawValue: $0.lowercased()) }) else {
      throw refuse("kv_cache", "is \(value.compactText), expected fp8, int8 or none")
    }
    return format
  }

  /// The scheme with its group size; `nil` for `none`, which keeps the weights.
  func scheme(default fallback: QuantizationScheme) throws -> QuantizationScheme? {
    var scheme = fallback
    if let value = object["scheme"], !value.isNull {
      if value.stringValue?.lowercased() == "none" { return nil }
      guard let found = value.stringValue.flatMap(QuantizationScheme.named) else {
        throw refuse(
          "scheme",
          "is \(value.compactText), expected one of \(QuantizationScheme.all.map(\.name).joined(separator: ", "))")
      }
      scheme = found
    }
    if let value = object["bits"], !value.isNull, !scheme.isEntropyCoded {
      let known = QuantizationScheme.integerBits
      guard let bits = value.intValue, known.contains(bits) else {
        throw refuse(
          "bits", "is \(value.compactText), expected one of \(known.map(String.init).joined(separator: ", "))")
      }
      guard let found = scheme.withBits(bits) else {
        throw refuse("bits", "is given, but the weights of \(scheme.name) are no integers")
      }
      guard object["scheme"]?.stringValue == nil || found.weights.format == scheme.weights.format else {
        throw refuse("bits", "is \(bits), but scheme is \(scheme.name); give one of them")
      }
      scheme = found
    }
    if let value = object["group_size"], !value.isNull {
      guard let size = value.intValue, size == -1 || size >= 16 else {
        throw refuse("group_size", "is \(value.compactText), expected 16 or more, or -1 for the whole row")
      }
      guard scheme.hasGroups else { throw refuse("group_size", "is given, but \(scheme.name) has no groups") }
      scheme = scheme.withGroupSize(size == -1 ? nil : size)
    }
    return scheme
  }
}
