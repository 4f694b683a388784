public import Calibration
public import Checkpoints
public import Quantization
public import StrictJSON

/// What to do to a model: which scheme and method for which linears, and what to calibrate with.
///
/// `formats/recipe.md` describes the file.
public struct Recipe: Sendable {
  /// An exception for some linears; the last rule that matches decides.
  public struct Rule: Sendable, Equatable {
    /// Names, or `re:` and a regular expression for the whole name.
    public var targets: [String]
    /// How the linears are stored; `nil` keeps them as they are.
    public var scheme: QuantizationScheme?
    /// How they are prepared; `nil` is the recipe's method.
    public var method: Method?

    /// A rule.
    public init(targets: [String], scheme: QuantizationScheme?, method: Method? = nil) {
      self.targets = targets
      self.scheme = scheme
      self.method = method
    }
  }

  /// How linears are stored.
  public var scheme: QuantizationScheme
  /// How they are prepared.
  public var method: Method
  /// What is wanted of entropy-coded weights; `nil` is 4 bits a weight.
  public var rate: Rate?
  /// Linears that stay as they are, patterns as in rules.
  public var ignore: [String]
  /// `lm_head` or `model.embed_tokens`, to be quantized as well.
  public var include: [String]
  /// Exceptions.
  public var rules: [Rule]
  /// Names or files of calibration texts.
  public var calibration: [String]
  /// The most windows of calibration text; `nil` takes as many as lower the error of the first layer.
  public var samples: Int?
  /// Tokens of a window; the model's positions bound it.
  public var sequenceLength: Int
  /// Tokens below which an expert gets further samples.
  public var expertTokens: Int
  /// How keys and values are to be kept; `nil` leaves them floats.
  public var kvCache: CacheQuantization.Format?

  /// A recipe; by default AWQ and GPTQ to 4-bit integers with zero points.
  public init(
    scheme: QuantizationScheme = .w4a16Asymmetric, method: Method = .awqGPTQ, rate: Rate? = nil, ignore: [String] = [],
    include: [String] = [], rules: [Rule] = [], calibration: [String] = ["builtin"], samples: Int? = nil,
    sequenceLength: Int = 512, expertTokens: Int = 128
  ) {
    self.scheme = scheme
    self.method = method
    self.rate = rate
    self.ignore = ignore
    self.include = include
    self.rules = rules
    self.calibration = calibration
    self.samples = samples
    self.sequenceLength = sequenceLength
    self.expertTokens = expertTokens
  }

  /// Whether anything needs texts: a search, static activation scales, or scales of keys and values.
  public var needsCalibration: Bool {
    if kvCache != nil { return true }
    let schemes = [scheme] + rules.compactMap(\.scheme)
    if usesEntropyCoding { return true }
    let methods = [method] + rules.compactMap(\.method)
    if methods.contains(where: { $0 != .roundToNearest }) { return true }
    return schemes.contains(where: \.hasStaticActivationScales)
  }

  /// Whether some linears are entropy-coded.
  public var usesEntropyCoding: Bool { ([scheme] + rules.compactMap(\.scheme)).contains { $0.isEntropyCoded } }

  /// All that decides the artifact's bytes, in a fixed order.
  public var json: JSONValue {
    var object: JSONObject = [
      "scheme": .string(scheme.name), "group_size": Self.groupSize(scheme), "method": .string(method.rawValue),
      "ignore": .array(ignore.map { .string($0) }), "include": .array(include.map { .string($0) }),
      "rules": .array(
        rules.map { rule in
          [
            "targets": .array(rule.targets.map { .string($0) }),
            "scheme": rule.scheme.map { .string($0.name) } ?? "none",
            "group_size": rule.scheme.map(Self.groupSize) ?? .null,
            "method": rule.method.map { .string($0.rawValue) } ?? .null,
          ]
        }),
    ]
    if usesEntropyCoding {
      switch rate ?? Self.usualRate {
      case .bits(let bits): object["bits"] = .real(bits)
      case .bytes(let bytes): object["target_size"] = .integer(bytes)
      case .divergence(let limit): object["max_kl"] = .real(limit)
      }
    }
    if let kvCache { object["kv_cache"] = .string(kvCache.rawValue) }
    if needsCalibration {
      object["calibration"] = [
        "texts": .array(calibration.map { .string(String($0.split(separator: "/").last ?? "")) }),
        "samples": samples.map { .integer($0) } ?? .string(Self.automatic), "sequence_length": .integer(sequenceLength),
        "expert_tokens": .integer(expertTokens),
      ]
    }
    return .object(object)
  }

  /// The most samples that are taken where a recipe does not say how many.
  public static let mostSamples = SampleConvergence.limit

  /// What a recipe says in place of a number of samples that is to be found.
  static let automatic = "auto"

  /// The rate of entropy-coded weights unless another is given.
  static let usualRate = Rate.bits(4)

  private static func groupSize(_ scheme: QuantizationScheme) -> JSONValue {
    switch scheme.weights.granularity {
    case .perGroup(let size): .integer(size)
    case .perChannel where QuantizationScheme.named(scheme.name)?.hasGroups == true: .integer(-1)
    default: .null
    }
  }
}

extension QuantizationScheme {
  /// Whether scales of activations are part of the artifact: the largest activation is looked for in a text.
  var hasStaticActivationScales: Bool {
    if case .staticPerTensor = activations { return true }
    return activations == QuantizationScheme.nvfp4.activations
  }
}
