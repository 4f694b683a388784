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
    /// How tensors are spelled; `nil` leaves it to the weights: packed for integers, plain for floats.
    public let format: Format?

    /// A group of modules.
    public init(scheme: QuantizationScheme, targets: [String], format: Format? = nil) {
      self.scheme = scheme
      self.targets = targets
      self.format = format
    }
  }

  /// The library's names of layouts.
  public enum Format: String, Sendable {
    case packQuantized = "pack-quantized"
    case intQuantized = "int-quantized"
    case naiveQuantized = "naive-quantized"
    case floatQuantized = "float-quantized"
    case microscaledFloat8 = "mxfp8-quantized"
    case microscaledFloat4 = "mxfp4-pack-quantized"
    case nvidiaFloat4 = "nvfp4-pack-quantized"
  }

  /// The groups, in file order.
  public let groups: [Group]
  /// Modules that stay in full precision.
  public let ignore: [String]
  /// How keys and values are kept; `nil` leaves them floats.
  public let cache: CacheQuantization?

  /// A configuration to be written.
  public init(groups: [Group], ignore: [String], cache: CacheQuantization? = nil) {
    self.groups = groups
    self.ignore = ignore
    self.cache = cache
  }

  /// How a linear is stored, or `nil` if it is in full precision.
  ///
  /// As in the library, a target that is the module's name decides before patterns, and patterns, in the order of
  /// their spelling, before classes.
  ///
  /// - Parameter module: such as `model.layers.0.mlp.up_proj`.
  public func scheme(of module: String) -> QuantizationScheme? {
    CompressedTensorsTargets(self).group(of: module)?.scheme
  }

  // MARK: Writing

  /// `kv_cache_scheme`.
  static func json(of cache: CacheQuantization) -> JSONValue {
    arguments(cache.format.number, symmetric: true, strategy: "tensor", dynamic: false, observer: "minmax")
  }

  /// The JSON that `config.json` holds under `quantization_config`.
  public func json() -> JSONValue {
    let formats = groups.map { Self.format(of: $0.scheme).rawValue }
    let format = Set(formats).count > 1 ? "mixed-precision" : formats.first ?? Format.floatQuantized.rawValue
    var members = JSONObject()
    for (index, group) in groups.enumerated() {
      members["group_\(index)"] = [
        "format": .string(formats[index]),
        "input_activations": Self.json(of: group.scheme.activations),
        "output_activations": .null,
        "targets": .array(group.targets.map { .string($0) }),
        "weights": Self.json(of: group.scheme.weights),
      ]
    }
    var result: JSONObject = [
      "config_groups": .object(members),
      "format": .string(format),
      "global_compression_ratio": .null,
      "ignore": .array(ignore.map { .string($0) }),
      "kv_cache_scheme": cache.map(Self.json(of:)) ?? .null,
      "quant_method": "compressed-tensors",
      "quantization_status": "compressed",
    ]
    // DeepSeek-V3.1's key: runtimes then scale activations by powers of two as well. It speaks of all blocks.
    let blocks = groups.map(\.scheme.weights).filter { if case .perBlock = $0.granularity { true } else { false } }
    if !blocks.isEmpty, blocks.allSatisfy({ $0.scales == .powerOfTwo }) { result["scale_fmt"] = "ue8m0" }
    return .object(result)
  }

  /// How weights are spelled; float4 with scales of float8 is NVIDIA's, groups with a power of two are OCP's.
  private static func format(of scheme: QuantizationScheme) -> Format {
    let weights = scheme.weights
    return switch weights.format {
    case .int: scheme.multipliesIntegers ? .intQuantized : .packQuantized
    case .float8E4M3: weights.isMicroscaled ? .microscaledFloat8 : .floatQuantized
    case .float4E2M1: weights.scales == .float8 ? .nvidiaFloat4 : .microscaledFloat4
    }
  }

  private static func json(of weights: WeightQuantization) -> JSONValue {
    var group: JSONValue = .null
    var block: JSONValue = .null
    let strategy: String
    switch weights.granularity {
    case .perTensor: strategy = "tensor"
    case .perChannel: strategy = "channel"
    case .perGroup(let size):
      strategy = weights.scales == .float8 ? "tensor_group" : "group"
      group = .integer(size)
    case .perBlock(let rows, let columns): (strategy, block) = ("block", [.integer(rows), .integer(columns)])
    case .perRowAndColumn: preconditionFailure("compressed-tensors has no gains of columns")
    }
    return arguments(
      weights.format, symmetric: weights.isSymmetric, strategy: strategy, group: group, block: block, dynamic: false,
      observer: "minmax",
      scaleType: weights.scales == .float8 ? "torch.float8_e4m3fn" : weights.isMicroscaled ? "torch.uint8" : nil)
  }

  private static func json(of activations: ActivationQuantization) -> JSONValue {
    switch activations {
    case .none: .null
    case .staticPerTensor(let format):
      arguments(format, symmetric: true, strategy: "tensor", dynamic: false, observer: "minmax")
    case .dynamicPerToken(let format):
      arguments(format, symmetric: true, strategy: "token", dynamic: true, observer: nil)
    case .dynamicPerGroup(.float4E2M1, 16):
      // Scales of groups come from a token's own values, above one that calibration fixed.
      arguments(
        .float4E2M1, symmetric: true, strategy: "tensor_group", group: 16, dynamic: "local", observer: "minmax",
        scaleType: "torch.float8_e4m3fn")
    case .dynamicPerGroup(let format, 32) where format.isFloat:
      arguments(
        format, symmetric: true, strategy: "group", group: 32, dynamic: true, observer: nil, scaleType: "torch.uint8")
    case .dynamicPerGroup(let format, let size):
      arguments(format, symmetric: true, strategy: "group", group: .integer(size), dynamic: true, observer: nil)
    }
  }

  private static func arguments(
    _ format: NumberFormat, symmetric: Bool, strategy: String, group: JSONValue = .null, block: JSONValue = .null,
    dynamic: JSONValue, observer: String?, scaleType: String? = nil
  ) -> JSONValue {
    var result: JSONObject = [
      "actorder": .null,
      "block_structure": block,
      "dynamic": dynamic,
      "group_size": group,
      "num_bits": .integer(format.bitWidth),
      "observer": observer.map { .string($0) } ?? .null,
      "observer_kwargs": [:],
      "strategy": .string(strategy),
      "symmetric": .bool(symmetric),
      "type": .string(format.isFloat ? "float" : "int"),
    ]
    if let scaleType { result["scale_dtype"] = .string(scaleType) }
    return .object(result)
  }
}
