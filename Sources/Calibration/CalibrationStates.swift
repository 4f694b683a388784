public import Models

/// Hidden states of the calibration texts on their way up through the layers.
public struct CalibrationStates {
  /// What scales and clips are searched with.
  public let search: HiddenStates
  /// What folds are judged on; one chunk.
  public let heldOut: HiddenStates
  /// Further samples, for experts that saw too little; `nil` for models without experts.
  public let reserve: HiddenStates?
  /// ``search`` and ``heldOut`` as they come up through the layers quantized so far; `nil` if errors are not passed on.
  public let quantized: (search: HiddenStates, heldOut: HiddenStates)?

  /// States of three kinds of texts, after the embedding.
  ///
  /// - Parameter passesErrorsOn: whether layers learn what the quantization of earlier ones did to their inputs.
  public init(
    search: HiddenStates, heldOut: HiddenStates, reserve: HiddenStates?, passesErrorsOn: Bool = false
  ) throws(ModelError) {
    self.search = search
    self.heldOut = heldOut
    self.reserve = reserve
    quantized = passesErrorsOn ? (try search.copy(), try heldOut.copy()) : nil
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
