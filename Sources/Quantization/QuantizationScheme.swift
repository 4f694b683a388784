public import Tensors

/// How one number is stored.
public enum NumberFormat: Hashable, Sendable {
  /// A signed integer of 2 to 8 bits.
  case int(bits: Int)
  /// float8 E4M3FN: no infinity, largest 448 (OCP FP8 specification).
  case float8E4M3
  /// float4 E2M1: 0, ½, 1, 1½, 2, 3, 4, 6 and their negatives (OCP MX specification).
  case float4E2M1

  /// Bits a number.
  public var bitWidth: Int {
    switch self {
    case .int(let bits): bits
    case .float8E4M3: 8
    case .float4E2M1: 4
    }
  }

  /// Whether numbers have an exponent; such formats are symmetric.
  public var isFloat: Bool { if case .int = self { false } else { true } }
}

/// Which weights of a linear share a scale.
public enum Granularity: Hashable, Sendable {
  /// All of them.
  case perTensor
  /// Those of one output feature.
  case perChannel
  /// Runs of `size` along the input features of one output feature; the last run may be shorter.
  case perGroup(size: Int)
  /// Rectangles of the weight matrix; those at the edges may be smaller.
  case perBlock(rows: Int, columns: Int)
  /// A scale is the product of one of the output feature and one of the input feature.
  case perRowAndColumn
}

/// What numbers scales may be.
public enum ScaleFormat: Hashable, Sendable {
  /// Those of an ordinary element type.
  case real
  /// Powers of two: UE8M0, eight bits of exponent and nothing else (OCP MX specification).
  case powerOfTwo
  /// float8 E4M3, divided by one float32 for the whole matrix (NVFP4).
  case float8
}

/// How the weights of a linear are stored.
public struct WeightQuantization: Hashable, Sendable {
  /// How one weight is stored.
  public let format: NumberFormat
  /// Which weights share a scale.
  public let granularity: Granularity
  /// Whether zero is at code 0; otherwise each scale has a zero point.
  public let isSymmetric: Bool
  /// What numbers the scales may be.
  public let scales: ScaleFormat

  /// Weights with ordinary scales; float formats are always symmetric.
  public init(_ format: NumberFormat, _ granularity: Granularity, isSymmetric: Bool = true) {
    precondition(isSymmetric || !format.isFloat, "float weights have no zero point")
    self.format = format
    self.granularity = granularity
    self.isSymmetric = isSymmetric
    scales = .real
  }

  /// Symmetric weights whose scales are of a format.
  public init(_ format: NumberFormat, _ granularity: Granularity, scales: ScaleFormat) {
    precondition(format.isFloat || scales == .real, "integers have ordinary scales")
    self.format = format
    self.granularity = granularity
    isSymmetric = true
    self.scales = scales
  }

  /// The element type that scales are stored in, where ordinary ones are of a type.
  public func scaleType(ordinary type: DType) -> DType {
    switch (scales, granularity) {
    case (.float8, _): .float8E4M3
    case (.powerOfTwo, .perGroup): .float8E8M0
    case (.real, _), (.powerOfTwo, _): type
    }
  }
}

/// What a runtime does to the activations.
///
/// It is recorded in the artifact; our kernels multiply with floats, which ``ActivationRounding`` rounds alike.
public enum ActivationQuantization: Hashable, Sendable {
  /// Activations stay as they are.
  case none
  /// One scale for a linear's input, fixed by calibration.
  case staticPerTensor(NumberFormat)
  /// A scale a token, taken from its own values.
  case dynamicPerToken(NumberFormat)
  /// A scale for each run of `size` channels of a token.
  case dynamicPerGroup(NumberFormat, size: Int)
}

/// What the numbers of a linear look like, by the name the field uses.
public struct QuantizationScheme: Hashable, Sendable {
  /// Such as `W4A16_ASYM`.
  public let name: String
  /// How the weights are stored.
  public let weights: WeightQuantization
  /// What a runtime does to the activations.
  public let activations: ActivationQuantization

  /// A scheme of one's own; the presets are in ``all``.
  public init(name: String, weights: WeightQuantization, activations: ActivationQuantization = .none) {
    self.name = name
    self.weights = weights
    self.activations = activations
  }
}

extension QuantizationScheme {
  /// Bits of the integers that there are presets of.
  public static let integerBits = [2, 3, 4, 5, 6, 8]

  /// Integers in groups of 128; symmetric ones of 8 bits have one scale an output feature.
  public static func integers(bits: Int, isSymmetric: Bool = true) -> QuantizationScheme {
    QuantizationScheme(
      name: "W\(bits)A16" + (isSymmetric ? "" : "_ASYM"),
      weights: WeightQuantization(
        .int(bits: bits), bits == 8 && isSymmetric ? .perChannel : .perGroup(size: 128), isSymmetric: isSymmetric))
  }

  /// 4-bit integers, symmetric, groups of 128.
  public static let w4a16 = integers(bits: 4)
  /// 4-bit integers with zero points, groups of 128.
  public static let w4a16Asymmetric = integers(bits: 4, isSymmetric: false)
  /// 8-bit integers, one scale an output feature.
  public static let w8a16 = integers(bits: 8)
  /// 8-bit integers, one scale an output feature, activations too, scaled token by token.
  public static let w8a8 = QuantizationScheme(
    name: "W8A8", weights: w8a16.weights, activations: .dynamicPerToken(.int(bits: 8)))
  /// float8, one scale a matrix, activations with one calibrated scale.
  public static let fp8 = QuantizationScheme(
    name: "FP8", weights: WeightQuantization(.float8E4M3, .perTensor), activations: .staticPerTensor(.float8E4M3))
  /// float8, one scale an output feature, activations scaled token by token.
  public static let fp8Dynamic = QuantizationScheme(
    name: "FP8_DYNAMIC", weights: WeightQuantization(.float8E4M3, .perChannel),
    activations: .dynamicPerToken(.float8E4M3))
  /// float8 in blocks of 128 × 128, activations scaled in groups of 128.
  public static let fp8Block = QuantizationScheme(
    name: "FP8_BLOCK", weights: WeightQuantization(.float8E4M3, .perBlock(rows: 128, columns: 128)),
    activations: .dynamicPerGroup(.float8E4M3, size: 128))

  /// float8 in blocks of 128 × 128 with powers of two for scales, as DeepSeek-V3.1 has them.
  public static let fp8BlockPowers = QuantizationScheme(
    name: "FP8_BLOCK_UE8M0",
    weights: WeightQuantization(.float8E4M3, .perBlock(rows: 128, columns: 128), scales: .powerOfTwo),
    activations: .dynamicPerGroup(.float8E4M3, size: 128))
  /// float8 with a power of two for each 32 weights of a row.
  public static let mxfp8A16 = QuantizationScheme(
    name: "MXFP8A16", weights: WeightQuantization(.float8E4M3, .perGroup(size: 32), scales: .powerOfTwo))
  /// The same, activations scaled alike.
  public static let mxfp8 = QuantizationScheme(
    name: "MXFP8", weights: mxfp8A16.weights, activations: .dynamicPerGroup(.float8E4M3, size: 32))
  /// float4 with a power of two for each 32 weights of a row.
  public static let mxfp4A16 = QuantizationScheme(
    name: "MXFP4A16", weights: WeightQuantization(.float4E2M1, .perGroup(size: 32), scales: .powerOfTwo))
  /// The same, activations scaled alike.
  public static let mxfp4 = QuantizationScheme(
    name: "MXFP4", weights: mxfp4A16.weights, activations: .dynamicPerGroup(.float4E2M1, size: 32))
  /// float4 with a float8 scale for each 16 weights of a row, and one number for all.
  public static let nvfp4A16 = QuantizationScheme(
    name: "NVFP4A16", weights: WeightQuantization(.float4E2M1, .perGroup(size: 16), scales: .float8))
  /// The same, activations scaled alike, above one calibrated number.
  public static let nvfp4 = QuantizationScheme(
    name: "NVFP4", weights: nvfp4A16.weights, activations: .dynamicPerGroup(.float4E2M1, size: 16))
  /// Integers of any size with a gain a row and a gain a column, entropy-coded; a code is stored in 8 or 4 bits.
  public static func entropyCoded(bits: Int) -> QuantizationScheme {
    QuantizationScheme(name: "EC", weights: WeightQuantization(.int(bits: bits), .perRowAndColumn))
  }

  /// Whether weights are integers of any size with gains of rows and columns.
  public var isEntropyCoded: Bool { weights.granularity == .perRowAndColumn }

  /// Every preset, in the order they are listed to people.
  public static let all: [QuantizationScheme] = {
    let common: [QuantizationScheme] = [
      .w4a16Asymmetric, .w4a16, .w8a16, .w8a8, .fp8Dynamic, .fp8Block, .fp8BlockPowers, .fp8, .mxfp8A16, .mxfp8,
      .nvfp4A16, .nvfp4, .mxfp4A16, .mxfp4,
    ]
    let others = integerBits.flatMap { [integers(bits: $0, isSymmetric: false), integers(bits: $0)] }
    return common + others.filter { !common.contains($0) }
  }()

  /// The preset of a name, in any case and with hyphens for underscores.
  public static func named(_ name: String) -> QuantizationScheme? {
    let wanted = name.uppercased().map { $0 == "-" ? "_" : $0 }
    if wanted == ["E", "C"] { return .entropyCoded(bits: 8) }
    return all.first { $0.name == String(wanted) }
  }

  /// The same scheme with another group size; `nil` is the whole row.
  ///
  /// Schemes without groups come back as they are.
  public func withGroupSize(_ size: Int?) -> QuantizationScheme {
    guard hasGroups else { return self }
    return QuantizationScheme(
      name: name,
      weights: WeightQuantization(
        weights.format, size.map { .perGroup(size: $0) } ?? .perChannel, isSymmetric: weights.isSymmetric),
      activations: activations)
  }

  /// Whether runtimes multiply 8-bit integers by 8-bit integers, for which they want the weights a byte each.
  public var multipliesIntegers: Bool {
    weights.format == .int(bits: 8) && weights.isSymmetric && activations != .none
  }

  /// The preset of integers of so many bits that is otherwise like this one, in groups of the same size where both have
  /// groups; `nil` for floats and gains.
  public func withBits(_ bits: Int) -> QuantizationScheme? {
    guard case .int = weights.format, weights.granularity != .perRowAndColumn else { return nil }
    let preset = Self.integers(bits: bits, isSymmetric: weights.isSymmetric)
    return switch weights.granularity {
    case .perGroup(let size): preset.withGroupSize(size)
    // A whole row by choice, not because the preset has no groups.
    case .perChannel where Self.named(name)?.hasGroups == true: preset.withGroupSize(nil)
    default: preset
    }
  }

  /// Whether the scheme has groups whose size can be chosen.
  public var hasGroups: Bool { if case .perGroup = weights.granularity { weights.scales == .real } else { false } }
}
