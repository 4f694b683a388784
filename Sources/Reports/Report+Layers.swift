extension Report {
  /// What quantization did to one linear.
  public struct Layer: Sendable, Equatable {
    /// The linear's name in the checkpoint, without `.weight`.
    public var name: String
    /// Its scheme, such as `W4A16_ASYM`.
    public var scheme: String
    /// Stored bits over the number of weights, scales and zero points included.
    public var bitsPerWeight: Double
    /// 10·log₁₀(Σ y² / Σ (y − ŷ)²) of its outputs, dB; `nil` where it was not measured; 200 and
    /// more stands for no noise at all.
    public var sqnr: Double?
    /// Cosine of the angle between its outputs before and after; `nil` where it was not measured.
    public var cosine: Double?
    /// The same SQNR when the weights are rounded to nearest, dB: what the method had to beat.
    public var roundToNearestSqnr: Double?

    /// A quantized linear.
    public init(
      name: String, scheme: String, bitsPerWeight: Double, sqnr: Double?, cosine: Double?,
      roundToNearestSqnr: Double? = nil
    ) {
      self.name = name
      self.scheme = scheme
      self.bitsPerWeight = bitsPerWeight
      self.sqnr = sqnr
      self.cosine = cosine
      self.roundToNearestSqnr = roundToNearestSqnr
    }
  }

  /// One attempt to move scales from weights into the operation before them.
  public struct Fold: Sendable, Equatable {
    /// The operation that takes the scales, such as `model.layers.0.input_layernorm`.
    public var name: String
    /// From where to where, such as `norm→q,k,v`.
    public var kind: String
    /// The decoder layer.
    public var layer: Int
    /// Whether it was kept.
    public var kept: Bool
    /// The exponent α that was found best.
    public var alpha: Double
    /// The loss without folding: mean squared error of the outputs, relative.
    public var lossWithout: Double
    /// The loss with it.
    public var lossWith: Double
    /// Why it was dropped, or what else there is to say.
    public var reason: String?

    /// An attempt and what came of it.
    public init(
      name: String, kind: String, layer: Int, kept: Bool, alpha: Double, lossWithout: Double, lossWith: Double,
      reason: String? = nil
    ) {
      self.name = name
      self.kind = kind
      self.layer = layer
      self.kept = kept
      self.alpha = alpha
      self.lossWithout = lossWithout
      self.lossWith = lossWith
      self.reason = reason
    }
  }

  /// How large the candidate is.
  public struct Size: Sendable, Equatable {
    /// The artifact, everything in it, bytes.
    public var bytes: Int
    /// The artifact's bits over the number of all parameters.
    public var bitsPerWeight: Double
    /// Bits over weights of the quantized linears alone; `nil` where nothing is quantized.
    public var weightsBitsPerWeight: Double?
    /// The reference checkpoint, bytes.
    public var referenceBytes: Int

    /// Sizes.
    public init(bytes: Int, bitsPerWeight: Double, weightsBitsPerWeight: Double?, referenceBytes: Int) {
      self.bytes = bytes
      self.bitsPerWeight = bitsPerWeight
      self.weightsBitsPerWeight = weightsBitsPerWeight
      self.referenceBytes = referenceBytes
    }
  }

  /// Whether the artifact on disk is what was written.
  public enum Integrity: Sendable, Equatable {
    /// Nobody looked.
    case notChecked
    /// Every digest is right; the number of parts checked.
    case intact(parts: Int)
    /// What is wrong, one sentence each.
    case corrupt(problems: [String])

    /// Whether something is wrong.
    public var isCorrupt: Bool { if case .corrupt = self { true } else { false } }
  }
}
