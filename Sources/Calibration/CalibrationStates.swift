public import Models

/// Hidden states of the calibration texts on their way up through the layers.
public struct CalibrationStates {
  /// What scales and clips are searched with.
  public let search: HiddenStates
  /// What folds are judged on; one chunk.
  public let heldOut: HiddenStates
  /// Further samples, for experts that saw too little; `nil` for models without experts.
  public let reserve: HiddenStates?

  /// States of three kinds of texts, after the embedding.
  public init(search: HiddenStates, heldOut: HiddenStates, reserve: HiddenStates?) {
    self.search = search
    self.heldOut = heldOut
    self.reserve = reserve
  }

  /// All of them.
  public var all: [HiddenStates] { [search, heldOut] + (reserve.map { [$0] } ?? []) }
}

/// How many tokens came to the experts of one layer.
public struct ExpertUse: Sendable, Equatable {
  /// What was done for an expert that saw fewer tokens than the quota.
  public enum Help: Sendable, Equatable {
    /// Further samples brought it to so many tokens.
    case moreSamples(tokens: Int)
    /// Further samples did not suffice: the statistics of its layer's input stand in.
    case layerInput(tokens: Int)
  }

  /// Tokens of the calibration text that came to each expert.
  public var counts: [Int]
  /// Experts below the quota.
  public var helped: [Int: Help] = [:]

  /// Counts before any help.
  public init(counts: [Int]) { self.counts = counts }
}
