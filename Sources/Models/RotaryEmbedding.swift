internal import Foundation
public import Kernels
internal import StrictJSON

/// Rotary position embedding of a model: base, rotated channels, and how frequencies are stretched for long texts.
public struct RotaryEmbedding: Hashable, Sendable {
  /// How frequencies are stretched.
  public enum Scaling: Hashable, Sendable {
    /// As trained.
    case none
    /// All frequencies divided by a factor.
    case linear(factor: Double)
    /// Frequencies below a band divided by a factor, those above kept (Llama 3.1).
    case llama3(factor: Double, lowFrequency: Double, highFrequency: Double, originalPositions: Double)
    /// Frequencies blended over a ramp of channels (YaRN, Peng et al., 2023).
    case yarn(YaRN)
    /// Each frequency divided by a factor of its own, others for long texts than for short ones (Phi-3).
    case longRope(LongRope)
  }

  /// The numbers of YaRN scaling.
  public struct YaRN: Hashable, Sendable {
    /// How much longer texts may be.
    public var factor: Double
    /// Positions before stretching.
    public var originalPositions: Double
    /// Rotations above which a channel is kept.
    public var betaFast = 32.0
    /// Rotations below which a channel is divided.
    public var betaSlow = 1.0
    /// Whether the ramp's ends are whole channels.
    public var truncates = true
    /// Factor of cosines and sines.
    public var attentionFactor: Double
    /// Factor of queries and of keys that DeepSeek's attention takes into its scale; 1 elsewhere.
    public var scoreMagnitude = 1.0
  }

  /// The numbers of LongRoPE scaling.
  public struct LongRope: Hashable, Sendable {
    /// Divisors for texts of at most ``originalPositions``, one a pair of channels.
    public var short: [Double]
    /// Divisors for longer texts.
    public var long: [Double]
    /// Positions before stretching.
    public var originalPositions: Int
    /// Factor of cosines and sines.
    public var attentionFactor: Double
  }

  /// θ: channel pair i turns by θ^(−2i/d) radians a position.
  public let base: Double
  /// d, the rotated channels of a head; even.
  public let dimension: Int
  /// How frequencies are stretched.
  public let scaling: Scaling

  /// A rotary embedding.
  public init(base: Double, dimension: Int, scaling: Scaling = .none) {
    self.base = base
    self.dimension = dimension
    self.scaling = scaling
  }

  /// Radians a position for each pair of channels, in texts of so many tokens.
  public func frequencies(positions: Int) -> [Double] {
    let half = dimension / 2
    let plain = (0..<half).map { pow(base, -2 * Double($0) / Double(dimension)) }
    switch scaling {
    case .none: return plain
    case .linear(let factor): return plain.map { $0 / factor }
    case .llama3(let factor, let low, let high, let original):
      return plain.map { frequency in
        let wavelength = 2 * Double.pi / frequency
        if wavelength > original / low { return frequency / factor }
        if wavelength < original / high { return frequency }
        let blend = (original / wavelength - low) / (high - low)
        return (1 - blend) * frequency / factor + blend * frequency
      }
    case .longRope(let rope):
      let divisors = positions > rope.originalPositions ? rope.long : rope.short
      return zip(plain, divisors).map { $0 / $1 }
    case .yarn(let yarn):
      func channel(rotations: Double) -> Double {
        Double(dimension) * log(yarn.originalPositions / (rotations * 2 * .pi)) / (2 * log(base))
      }
      var low = channel(rotations: yarn.betaFast)
      var high = channel(rotations: yarn.betaSlow)
      if yarn.truncates { (low, high) = (low.rounded(.down), high.rounded(.up)) }
      low = max(low, 0)
      high = min(high, Double(dimension - 1))
      if low == high { high += 0.001 }
      return plain.enumerated().map { index, frequency in
        let ramp = min(max((Double(index) - low) / (high - low), 0), 1)
        return frequency / yarn.factor * ramp + frequency * (1 - ramp)
      }
    }
  }

  /// Factor of cosines and sines.
  public var amplitude: Double {
    switch scaling {
    case .yarn(let yarn): yarn.attentionFactor
    case .longRope(let rope): rope.attentionFactor
    case .none, .linear, .llama3: 1
    }
  }

  /// Cosines and sines for positions `0..<positions`, for texts of at most so many tokens.
  ///
  /// LongRoPE turns otherwise in long texts than in short ones; the longest text of a run decides for all of it.
  public func table(positions: Int) -> RotaryTable {
    RotaryTable(
      frequencies: frequencies(positions: positions).map { Float($0) }, amplitude: Float(amplitude),
      positions: positions)
  }
}

extension ConfigurationReader {
  private static let understood: Set<String> = [
    "rope_theta", "rope_type", "type", "factor", "low_freq_factor", "high_freq_factor",
    "original_max_position_embeddings", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "attention_factor",
    "truncate", "partial_rotary_factor", "short_factor", "long_factor", "mrope_section", "mrope_interleaved",
  ]

  /// The rotary embedding, in the older spelling (`rope_theta`, `rope_scaling`) or the newer (`rope_parameters`).
  ///
  /// - Parameters:
  ///   - dimension: channels of a head; `partial_rotary_factor`, if the family knows it, takes part of them.
  ///   - layerType: the entry to read where `rope_parameters` has one for each type of layer.
  ///   - isPartial: whether the family knows `partial_rotary_factor`, and its value where it is missing.
  ///   - extra: further keys of the scaling that the family reads itself.
  public func rotaryEmbedding(
    dimension: Int, defaultBase: Double = 10_000, layerType: String? = nil, partial isPartial: Double? = nil,
    understood extra: Set<String> = []
  ) throws(ModelError) -> RotaryEmbedding {
    let base = try positive("rope_theta", default: defaultBase)
    var rope = try ropeParameters()
    if let layerType, let inner = try rope?.nested(layerType) { rope = inner }
    if let rope {
      for member in rope.object.members
      where !Self.understood.union(extra).contains(member.name) && !member.value.isNull {
        throw rope.refusal(member.name, "is not known; it may change the arithmetic")
      }
    }
    let factor: Double
    if let isPartial {
      let outer = try positive("partial_rotary_factor", default: isPartial)
      factor = try rope?.positive("partial_rotary_factor", default: outer) ?? outer
    } else {
      factor = 1
      if let rope, try rope.positive("partial_rotary_factor", default: 1) != 1 {
        throw rope.refusal("partial_rotary_factor", "other than 1 is not computed by this family")
      }
    }
    let turning = Int(Double(dimension) * factor)
    guard factor <= 1, turning > 0, turning % 2 == 0 else {
      throw refusal(
        factor == 1 ? "head_dim" : "partial_rotary_factor",
        "gives \(turning) turning channels of \(dimension), rotation needs an even number")
    }
    guard let rope else { return RotaryEmbedding(base: base, dimension: turning) }
    return RotaryEmbedding(
      base: try rope.positive("rope_theta", default: base), dimension: turning,
      scaling: try scaling(rope, dimension: turning))
  }

  /// What is said of the rotation; both spellings may be there, and an explicit `rope_scaling` wins, as in the
  /// reference implementation.
  func ropeParameters() throws(ModelError) -> ConfigurationReader? {
    try nested(value("rope_scaling") != nil ? "rope_scaling" : "rope_parameters")
  }

  private func scaling(_ rope: ConfigurationReader, dimension: Int) throws(ModelError) -> RotaryEmbedding.Scaling {
    let kind = try rope.string("rope_type", default: try rope.string("type", default: "default"))
    switch kind {
    // Dynamic stretching begins beyond the positions a model was made for, and longer texts are refused.
    case "default", "dynamic", "mrope": return .none
    case "linear": return .linear(factor: try rope.positive("factor"))
    case "llama3":
      let low = try rope.positive("low_freq_factor")
      let high = try rope.positive("high_freq_factor")
      guard high > low else {
        throw rope.refusal("high_freq_factor", "is \(high), expected more than low_freq_factor, which is \(low)")
      }
      return .llama3(
        factor: try rope.positive("factor"), lowFrequency: low, highFrequency: high,
        originalPositions: try rope.positive("original_max_position_embeddings"))
    case "longrope", "su": return .longRope(try longRope(rope, pairs: dimension / 2))
    // Early files of Phi-3 call LongRoPE so.
    case "yarn" where rope.value("short_factor") != nil: return .longRope(try longRope(rope, pairs: dimension / 2))
    case "yarn":
      let factor = try rope.positive("factor")
      let original = try rope.positive(
        "original_max_position_embeddings", default: Double(try count("max_position_embeddings", default: 2048)))
      func magnitude(_ scale: Double) -> Double { factor <= 1 ? 1 : 0.1 * scale * log(factor) + 1 }
      let mscale = try rope.value("mscale")?.doubleValue == 0 ? 0 : rope.positive("mscale", default: 0)
      let mscaleAll =
        try rope.value("mscale_all_dim")?.doubleValue == 0 ? 0 : rope.positive("mscale_all_dim", default: 0)
      let implied = mscale != 0 && mscaleAll != 0 ? magnitude(mscale) / magnitude(mscaleAll) : magnitude(1)
      return .yarn(
        RotaryEmbedding.YaRN(
          factor: factor, originalPositions: original, betaFast: try rope.positive("beta_fast", default: 32),
          betaSlow: try rope.positive("beta_slow", default: 1), truncates: try rope.flag("truncate", default: true),
          attentionFactor: try rope.positive("attention_factor", default: implied),
          scoreMagnitude: mscaleAll != 0 ? magnitude(mscaleAll) : 1))
    default:
      throw rope.refusal(
        "rope_type", "\"\(kind)\" is not known; known are default, dynamic, linear, llama3, longrope, yarn")
    }
  }

  private func longRope(
    _ rope: ConfigurationReader, pairs: Int
  ) throws(ModelError) -> RotaryEmbedding.LongRope {
    func factors(_ key: String) throws(ModelError) -> [Double] {
      let values = rope.value(key)?.arrayValue?.compactMap(\.doubleValue) ?? []
      guard values.count == pairs, values.allSatisfy({ $0 > 0 && $0.isFinite }) else {
        throw rope.refusal(key, "has \(values.count) positive numbers, expected \(pairs)")
      }
      return values
    }
    let positions = try count("max_position_embeddings", default: 2048)
    let original =
      try rope.value("original_max_position_embeddings") != nil
      ? rope.count("original_max_position_embeddings") : count("original_max_position_embeddings")
    let stretch = try rope.positive("factor", default: Double(positions) / Double(original))
    guard original > 1 || stretch <= 1 else {
      throw rope.refusal("original_max_position_embeddings", "is 1, expected more to be stretched by \(stretch)")
    }
    let implied = stretch <= 1 ? 1 : (1 + log(stretch) / log(Double(original))).squareRoot()
    return RotaryEmbedding.LongRope(
      short: try factors("short_factor"), long: try factors("long_factor"), originalPositions: original,
      attentionFactor: try rope.positive("attention_factor", default: implied))
  }
}
