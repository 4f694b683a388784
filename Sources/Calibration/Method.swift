/// How a linear is prepared before its weights are rounded.
public enum Method: String, Sendable, CaseIterable {
  /// Not at all.
  case roundToNearest = "rtn"
  /// Activation-aware channel scales and clipping.
  case awq
  /// Rounding with feedback: columns make good what columns before them lost.
  case gptq
  /// Channel scales and clipping, then rounding with feedback.
  case awqGPTQ = "awq+gptq"

  /// Whether channel scales are searched.
  public var searchesScales: Bool { self == .awq || self == .awqGPTQ }
  /// Whether errors are fed back.
  public var feedsBack: Bool { self == .gptq || self == .awqGPTQ }
}

/// What became of one fold.
public struct FoldOutcome: Sendable, Equatable {
  /// Such as `input_layernorm → q_proj, k_proj, v_proj`.
  public let title: String
  /// Whether the scales are in the artifact.
  public let isKept: Bool
  /// The exponent of the scales.
  public let alpha: Double
  /// Squared error of the block's output on held-out text without the fold, relative to the output's square; with weights
  /// of few bits, activations are rounded to int8 as well.
  public let lossWithout: Double
  /// The same with it.
  public let lossWith: Double
  /// Why it was not kept.
  public let reason: String?

  /// An outcome.
  public init(
    title: String, isKept: Bool, alpha: Double, lossWithout: Double, lossWith: Double, reason: String?
  ) {
    self.title = title
    self.isKept = isKept
    self.alpha = alpha
    self.lossWithout = lossWithout
    self.lossWith = lossWith
    self.reason = reason
  }
}
