public import Quantization
public import StrictJSON

/// The `quantization_config` of a compressed-tensors checkpoint: which modules are stored how.
public struct CompressedTensorsConfiguration: Sendable {
  /// One entry of `config_groups`.
  public struct Group: Sendable {
    /// How the group's modules are stored.
    public let scheme: QuantizationScheme
    /// `Linear`, module names, or `re:` and a regular expression that is anchored at the start.
    public let targets: [String]

    /// A group of modules.
    public init(scheme: QuantizationScheme, targets: [String]) {
      self.scheme = scheme
      self.targets = targets
    }
  }

  /// The groups, in file order.
  public let groups: [Group]
  /// Modules that stay in full precision.
  public let ignore: [String]

  /// A configuration to be written.
  public init(groups: [Group], ignore: [String]) {
    self.groups = groups
    self.ignore = ignore
  }

  /// How a linear is stored, or `nil` if it is in full precision.
  ///
  /// As in the library, a target that is the module's name decides before patterns, and patterns, in the order of
  /// their spelling, before classes.
  ///
  /// - Parameter module: such as `model.layers.0.mlp.up_proj`.
  public func scheme(of module: String) -> QuantizationScheme? {
    if ignore.contains(where: { Self.rank($0, module) != nil }) { return nil }
    var best: (rank: Int, target: String, scheme: QuantizationScheme)?
    for group in groups {
      for target in group.targets {
        guard let rank = Self.rank(target, module) else { continue }
        if let best, (best.rank, best.target) < (rank, target) { continue }
        best = (rank, target, group.scheme)
      }
    }
    return best?.scheme
  }

  /// How specific a match is, the lowest most; `nil` for none.
  private static func rank(_ target: String, _ module: String) -> Int? {
    if target == module { return 0 }
    if target.hasPrefix("re:") {
      guard let expression = try? Regex(String(target.dropFirst(3))) else { return nil }
      return module.prefixMatch(of: expression) != nil ? 1 : nil
    }
    return target == "Linear" && module != "model.embed_tokens" ? 2 : nil
  }

  // MARK: Writing

  /// The JSON that `config.json` holds under `quantization_config`.
  public func json() -> JSONValue {
    let packed = groups.contains { if case .int = $0.scheme.weights.format { true } else { false } }
    let floats = groups.contains { $0.scheme.weights.format == .float8E4M3 }
    let format = packed && floats ? "mixed-precision" : packed ? "pack-quantized" : "float-quantized"
    var members = JSONObject()
    for (index, group) in groups.enumerated() {
      let isPacked = group.scheme.weights.format != .float8E4M3
      members["group_\(index)"] = [
        "format": .string(isPacked ? "pack-quantized" : "float-quantized"),
        "input_activations": Self.json(of: group.scheme.activations),
        "output_activations": .null,
        "targets": .array(group.targets.map { .string($0) }),
        "weights": Self.json(of: group.scheme.weights),
      ]
    }
    return [
      "config_groups": .object(members),
      "format": .string(format),
      "global_compression_ratio": .null,
      "ignore": .array(ignore.map { .string($0) }),
      "kv_cache_scheme": .null,
      "quant_method": "compressed-tensors",
      "quantization_status": "compressed",
    ]
  }

  private static func json(of weights: WeightQuantization) -> JSONValue {
    var group: JSONValue = .null
    var block: JSONValue = .null
    let strategy: String
    switch weights.granularity {
    case .perTensor: strategy = "tensor"
    case .perChannel: strategy = "channel"
    case .perGroup(let size): (strategy, group) = ("group", .integer(size))
    case .perBlock(let rows, let columns): (strategy, block) = ("block", [.integer(rows), .integer(columns)])
    }
    return arguments(
      weights.format, symmetric: weights.isSymmetric, strategy: strategy, group: group, block: block, dynamic: false,
      observer: "minmax")
  }

  private static func json(of activations: ActivationQuantization) -> JSONValue {
    switch activations {
    case .none: .null
    case .staticPerTensor(let format):
      arguments(format, symmetric: true, strategy: "tensor", dynamic: false, observer: "minmax")
    case .dynamicPerToken(let format):
      arguments(format, symmetric: true, strategy: "token", dynamic: true, observer: nil)
    case .dynamicPerGroup(let format, let size):
      arguments(format, symmetric: true, strategy: "group", group: .integer(size), dynamic: true, observer: nil)
    }
  }

  private static func arguments(
    _ format: NumberFormat, symmetric: Bool, strategy: String, group: JSONValue = .null, block: JSONValue = .null,
    dynamic: Bool, observer: String?
  ) -> JSONValue {
    [
      "actorder": .null,
      "block_structure": block,
      "dynamic": .bool(dynamic),
      "group_size": group,
      "num_bits": .integer(format.bitWidth),
      "observer": observer.map { .string($0) } ?? .null,
      "observer_kwargs": [:],
      "strategy": .string(strategy),
      "symmetric": .bool(symmetric),
      "type": .string(format == .float8E4M3 ? "float" : "int"),
    ]
  }
}
