internal import Quantization
public import StrictJSON

extension CompressedTensorsConfiguration {
  /// Reads `quantization_config`; what our kernels cannot multiply with is refused by its key.
  ///
  /// - Parameter file: for messages.
  public init(reading json: JSONValue, file: String) throws(CheckpointError) {
    func refuse(_ problem: String) -> CheckpointError {
      .malformed(file: file, offset: nil, tensor: nil, problem: "quantization_config: " + problem)
    }
    let method = json["quant_method"]?.stringValue ?? "none"
    guard method == "compressed-tensors" else {
      throw refuse("quant_method \"\(method)\" is not read; \"compressed-tensors\" is")
    }
    guard let members = json["config_groups"]?.objectValue?.members, !members.isEmpty else {
      throw refuse("config_groups is missing")
    }
    var groups: [Group] = []
    for member in members {
      let group = member.value
      guard let targets = group["targets"]?.arrayValue?.compactMap(\.stringValue), !targets.isEmpty else {
        throw refuse("\(member.name) has no targets")
      }
      guard let weights = group["weights"], !weights.isNull else { throw refuse("\(member.name) has no weights") }
      let stored: WeightQuantization
      let activations: ActivationQuantization
      do throws(Unreadable) {
        stored = try Self.weights(weights)
        activations = try Self.activations(group["input_activations"] ?? .null)
      } catch { throw refuse("\(member.name): \(error.reason)") }
      groups.append(
        Group(
          scheme: QuantizationScheme(name: Self.name(stored, activations), weights: stored, activations: activations),
          targets: targets))
    }
    self.init(groups: groups, ignore: json["ignore"]?.arrayValue?.compactMap(\.stringValue) ?? [])
    for pattern in ignore + groups.flatMap(\.targets) where pattern.hasPrefix("re:") {
      do { _ = try Regex(String(pattern.dropFirst(3))) } catch {
        throw refuse("the pattern \"\(pattern)\" is not a regular expression")
      }
    }
  }

  private struct Unreadable: Error { let reason: String }

  private static func format(_ json: JSONValue) throws(Unreadable) -> NumberFormat {
    let bits = json["num_bits"]?.intValue ?? 0
    switch json["type"]?.stringValue {
    case "int" where (2...8).contains(bits): return .int(bits: bits)
    case "float" where bits == 8: return .float8E4M3
    default: throw Unreadable(reason: "type \(json["type"]?.compactText ?? "none") of \(bits) bits is not read")
    }
  }

  private static func weights(_ json: JSONValue) throws(Unreadable) -> WeightQuantization {
    let format = try format(json)
    if let order = json["actorder"], order.stringValue == "group" || order.stringValue == "dynamic" {
      throw Unreadable(reason: "actorder \(order.compactText) (columns out of order) is not read")
    }
    let granularity: Granularity
    let strategy = json["strategy"]?.stringValue ?? "none"
    switch strategy {
    case "tensor": granularity = .perTensor
    case "channel": granularity = .perChannel
    case "group":
      guard let size = json["group_size"]?.intValue, size > 0 || size == -1 else {
        throw Unreadable(reason: "group_size is missing")
      }
      granularity = size == -1 ? .perChannel : .perGroup(size: size)
    case "block":
      guard let sides = json["block_structure"]?.arrayValue?.compactMap(\.intValue), sides.count == 2,
        sides.allSatisfy({ $0 > 0 })
      else { throw Unreadable(reason: "block_structure is not two numbers") }
      granularity = .perBlock(rows: sides[0], columns: sides[1])
    default: throw Unreadable(reason: "strategy \"\(strategy)\" is not read")
    }
    let symmetric = json["symmetric"]?.boolValue ?? true
    switch (format, granularity) {
    case (.float8E4M3, _) where !symmetric: throw Unreadable(reason: "float weights with zero points are not read")
    case (.int, .perTensor), (.int, .perBlock): throw Unreadable(reason: "integers by \(strategy) are not read")
    default: return WeightQuantization(format, granularity, isSymmetric: symmetric)
    }
  }

  private static func activations(_ json: JSONValue) throws(Unreadable) -> ActivationQuantization {
    if json.isNull { return .none }
    let format = try format(json)
    switch (json["strategy"]?.stringValue, json["dynamic"]?.boolValue) {
    case ("tensor", false): return .staticPerTensor(format)
    case ("token", true): return .dynamicPerToken(format)
    case ("group", true): return .dynamicPerGroup(format, size: json["group_size"]?.intValue ?? 128)
    default: throw Unreadable(reason: "input_activations \(json.compactText) are not read")
    }
  }

  /// The preset's name where there is one, otherwise a description.
  private static func name(_ weights: WeightQuantization, _ activations: ActivationQuantization) -> String {
    let preset = QuantizationScheme.all.first { preset in
      guard preset.activations == activations, preset.weights.format == weights.format,
        preset.weights.isSymmetric == weights.isSymmetric
      else { return false }
      if case .perGroup = weights.granularity { return preset.hasGroups }
      return preset.weights.granularity == weights.granularity || preset.hasGroups && weights.granularity == .perChannel
    }
    return preset?.name ?? "W\(weights.format.bitWidth)"
  }
}
