internal import Quantization
public import StrictJSON

extension CompressedTensorsConfiguration {
  /// Reads `quantization_config`; what our kernels cannot multiply with is refused by its key.
  ///
  /// - Parameter file: for messages.
  public init(reading json: JSONValue, file: String) throws(CheckpointError) {
    try self.init(reading: json, file: file, key: "quantization_config: ")
  }

  /// - Parameter key: what messages begin with.
  init(reading json: JSONValue, file: String, key: String) throws(CheckpointError) {
    do throws(Unreadable) {
      guard let object = json.objectValue else { throw Unreadable("is \(json.typeName), expected an object") }
      let groups = try Self.groups(object)
      self.init(groups: groups, ignore: try Self.strings(object["ignore"] ?? .null, key: "ignore"))
      for pattern in ignore + groups.flatMap(\.targets) where pattern.hasPrefix("re:") {
        do { _ = try Regex(String(pattern.dropFirst(3))) } catch {
          throw Unreadable("the pattern \"\(pattern)\" is not a regular expression")
        }
      }
    } catch {
      throw .malformed(file: file, offset: nil, tensor: nil, problem: key + error.reason)
    }
  }

  /// What is wrong, starting with the key.
  private struct Unreadable: Error {
    let reason: String

    init(_ reason: String) { self.reason = reason }
  }

  /// The members of an object that are not `null`; those that are not known are refused.
  private static func members(_ object: JSONObject, known: Set<String>) throws(Unreadable) -> JSONObject {
    let members = JSONObject(object.members.filter { !$0.value.isNull })
    guard let odd = members.members.first(where: { !known.contains($0.name) }) else { return members }
    throw Unreadable("\(odd.name) is not known; it may change what the weights mean")
  }

  private static func strings(_ json: JSONValue, key: String) throws(Unreadable) -> [String] {
    if json.isNull { return [] }
    let strings = json.arrayValue?.compactMap(\.stringValue)
    guard let strings, strings.count == json.arrayValue?.count else {
      throw Unreadable("\(key) is not a list of names")
    }
    return strings
  }

  // MARK: The whole

  private static let topLevel: Set<String> = [
    "config_groups", "format", "global_compression_ratio", "ignore", "kv_cache_scheme", "moe_sparsity_config",
    "quant_method", "quantization_status", "run_compressed", "scale_fmt", "sparsity_config", "transform_config",
    "version",
  ]

  private static func groups(_ object: JSONObject) throws(Unreadable) -> [Group] {
    let json = try Self.members(object, known: topLevel)
    let method = json["quant_method"]?.stringValue ?? "none"
    guard method == "compressed-tensors" else {
      throw Unreadable("quant_method \"\(method)\" is not read; \"compressed-tensors\" is")
    }
    // The status says nothing: older checkpoints with compressed weights call themselves frozen. How keys and values are
    // kept changes no weight.
    for key in ["sparsity_config", "transform_config", "moe_sparsity_config"] {
      guard let found = json[key], found.objectValue?.members.isEmpty != true, found["format"] != "dense" else {
        continue
      }
      throw Unreadable("\(key) \(found.compactText) is not read")
    }
    guard let groups = json["config_groups"]?.objectValue?.members, !groups.isEmpty else {
      throw Unreadable("config_groups is missing")
    }
    let scales = json["scale_fmt"] ?? .null
    guard scales.isNull || scales == "ue8m0" || scales == "float" else {
      throw Unreadable("scale_fmt \(scales.compactText) is not read, \"ue8m0\" is")
    }
    let format = json["format"] ?? .null
    var result: [Group] = []
    for member in groups {
      do throws(Unreadable) {
        result.append(try group(member.value, format: format, hasPowers: scales == "ue8m0"))
      } catch {
        throw Unreadable("\(member.name): \(error.reason)")
      }
    }
    return result
  }

  private static func group(
    _ value: JSONValue, format inherited: JSONValue, hasPowers: Bool
  ) throws(Unreadable) -> Group {
    guard let object = value.objectValue else { throw Unreadable("is \(value.compactText), expected an object") }
    let json = try Self.members(
      object, known: ["format", "input_activations", "output_activations", "targets", "weights"])
    let targets = try strings(json["targets"] ?? .null, key: "targets")
    guard !targets.isEmpty else { throw Unreadable("has no targets") }
    guard let weights = json["weights"] else { throw Unreadable("has no weights") }
    if json["output_activations"] != nil { throw Unreadable("output_activations are not read") }
    let stored = try Self.weights(weights, hasPowers: hasPowers)
    let activations = try json["input_activations"].map { json throws(Unreadable) in try Self.activations(json) }
    let readable = formats(of: stored)
    var found: CompressedTensorsConfiguration.Format?
    // What says nothing, or that groups differ, leaves it to the weights.
    for format in [inherited == "mixed-precision" ? .null : inherited, json["format"] ?? .null] where !format.isNull {
      guard let known = readable.first(where: { .string($0.rawValue) == format }) else {
        let names = readable.map { "\"\($0.rawValue)\"" }.joined(separator: " or ")
        throw Unreadable("format \(format.compactText) is not read for these weights; \(names) is")
      }
      found = known
    }
    if case .perTensor = stored.granularity, case .int = stored.format, found == nil || found == .packQuantized {
      throw Unreadable("strategy \"tensor\" is not read for packed integers")
    }
    return Group(
      scheme: QuantizationScheme(stored, activations ?? .none), targets: targets,
      format: found ?? (stored.scales != .real ? readable[0] : nil))
  }

  /// The layouts that weights may be in, the usual one first.
  private static func formats(of weights: WeightQuantization) -> [Format] {
    switch weights.format {
    case .int: [.packQuantized, .intQuantized, .naiveQuantized]
    case .float8E4M3: weights.isMicroscaled ? [.microscaledFloat8] : [.floatQuantized, .naiveQuantized]
    case .float4E2M1: [weights.isMicroscaled ? .microscaledFloat4 : .nvidiaFloat4]
    }
  }

  // MARK: Weights and activations

  private static let arguments: Set<String> = [
    "actorder", "block_structure", "dynamic", "group_size", "num_bits", "observer", "observer_kwargs", "scale_dtype",
    "strategy", "symmetric", "type", "zp_dtype",
  ]

  /// The arguments of weights or activations, under one of the three types that numbers have.
  private static func arguments(
    _ json: JSONValue
  ) throws(Unreadable) -> (members: JSONObject, format: NumberFormat, isSymmetric: Bool) {
    guard let object = json.objectValue else { throw Unreadable("\(json.compactText) are not arguments") }
    let members = try Self.members(object, known: arguments)
    let bits = members["num_bits"]?.intValue ?? 0
    let symmetric = members["symmetric"] ?? true
    guard let isSymmetric = symmetric.boolValue else {
      throw Unreadable("symmetric is \(symmetric.compactText), expected true or false")
    }
    switch members["type"]?.stringValue {
    case "int" where (2...8).contains(bits): return (members, .int(bits: bits), isSymmetric)
    case "float" where bits == 8: return (members, .float8E4M3, isSymmetric)
    case "float" where bits == 4: return (members, .float4E2M1, isSymmetric)
    default: throw Unreadable("type \(members["type"]?.compactText ?? "none") of \(bits) bits is not read")
    }
  }

  /// - Parameter hasPowers: whether the scales of blocks are declared to be powers of two.
  private static func weights(_ value: JSONValue, hasPowers: Bool) throws(Unreadable) -> WeightQuantization {
    let (json, format, isSymmetric) = try arguments(value)
    if let dynamic = json["dynamic"], dynamic != false {
      throw Unreadable("dynamic \(dynamic.compactText) is not read for weights")
    }
    let granularity: Granularity
    let strategy = json["strategy"]?.stringValue ?? "none"
    switch strategy {
    case "tensor": granularity = .perTensor
    case "channel": granularity = .perChannel
    case "tensor_group" where format != .float4E2M1: throw Unreadable("strategy \"tensor_group\" is not read")
    case "group", "tensor_group":
      guard let size = json["group_size"]?.intValue, size > 0 || size == -1 else {
        throw Unreadable("group_size \(json["group_size"]?.compactText ?? "none") is not a size")
      }
      granularity = size == -1 ? .perChannel : .perGroup(size: size)
    case "block":
      guard let sides = json["block_structure"]?.arrayValue?.compactMap(\.intValue), sides.count == 2,
        sides.allSatisfy({ $0 > 0 })
      else { throw Unreadable("block_structure is not two numbers") }
      granularity = .perBlock(rows: sides[0], columns: sides[1])
    default: throw Unreadable("strategy \"\(strategy)\" is not read")
    }
    if format.isFloat, !isSymmetric { throw Unreadable("symmetric false is not read for float weights") }
    // Exponents of eight bits; another type of scales says nothing, the tensors have one of their own.
    let isMicroscaled = json["scale_dtype"].map { $0.stringValue?.hasSuffix("int8") != false } ?? false
    switch (format, granularity, isMicroscaled) {
    case (.int, .perBlock, _): throw Unreadable("strategy \"\(strategy)\" is not read for integers")
    case (.float8E4M3, .perGroup(32), true), (.float4E2M1, .perGroup(32), true):
      return WeightQuantization(format, granularity, scales: .powerOfTwo)
    case (_, _, true): throw Unreadable("scale_dtype \(json["scale_dtype"]?.compactText ?? "none") is not read")
    case (.float4E2M1, .perGroup(16), false): return WeightQuantization(format, granularity, scales: .float8)
    case (.float4E2M1, _, false):
      throw Unreadable("type \"float\" of 4 bits is read in groups of 16, and of 32 with scale_dtype torch.uint8")
    case (.float8E4M3, .perBlock, false) where hasPowers:
      return WeightQuantization(format, granularity, scales: .powerOfTwo)
    default: break
    }
    return WeightQuantization(format, granularity, isSymmetric: isSymmetric)
  }

  private static func activations(_ value: JSONValue) throws(Unreadable) -> ActivationQuantization {
    let (json, format, _) = try arguments(value)
    // "local": scales of groups come from a token's own values, above one that calibration fixed.
    let isDynamic = json["dynamic"] == "local" || json["dynamic"]?.boolValue ?? false
    switch (json["strategy"]?.stringValue, isDynamic) {
    case ("tensor", false): return .staticPerTensor(format)
    case ("token", true): return .dynamicPerToken(format)
    case ("group", true), ("tensor_group", true):
      guard let size = json["group_size"]?.intValue, size > 0 else {
        throw Unreadable("group_size \(json["group_size"]?.compactText ?? "none") is not a size")
      }
      return .dynamicPerGroup(format, size: size)
    default: throw Unreadable("input_activations \(value.compactText) are not read")
    }
  }
}
