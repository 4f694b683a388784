public import StrictJSON

/// Everything that was measured and done, as plain values; report.json, the page, the comment and the JUnit file are
/// renderings of it.
///
/// Holds no clock and no user: two runs that measure the same write the same bytes, but for `time`, `peakMemory` and
/// `machine`.
public struct Report: Sendable, Equatable {
  /// The program's version, such as `quantize 0.1.0`.
  public var version: String
  /// The seed of every random choice of the run.
  public var seed: UInt64
  /// The full-precision model.
  public var reference: Reference
  /// What it was compared with.
  public var candidate: Candidate
  /// The accuracy; `nil` when nothing was compared.
  public var accuracy: ComparisonSummary?
  /// How large the candidate is; `nil` where no candidate was written or read.
  public var size: Size?
  /// Every limit and its verdict.
  public var gate: [GateCheck]
  /// Whether the artifact is what was written.
  public var integrity: Integrity
  /// Every quantized linear, in checkpoint order.
  public var layers: [Layer]
  /// Every folding of scales that was tried, in checkpoint order.
  public var folds: [Fold]
  /// How many calibration tokens each expert saw; `nil` for dense models and methods that need no calibration.
  public var experts: Experts?
  /// What became of every tensor of the source; `nil` where nothing was quantized, as in `verify`.
  public var ledger: Ledger?
  /// The recipe of the run; `.null` where there is none.
  public var recipe: JSONValue
  /// The calibration text; `nil` for methods that need none.
  public var calibration: Calibration?
  /// The text that accuracy was measured on; `nil` when nothing was compared.
  public var text: Text?
  /// What was rounded besides the weights; `nil` when nothing was compared.
  public var arithmetic: Arithmetic?
  /// The machine of the run.
  public var machine: Machine
  /// Time per stage, in the order of the stages.
  public var time: [Stage]
  /// The most memory held at once, bytes.
  public var peakMemory: Int
  /// What a person should know although the run went on, one sentence each.
  public var warnings: [String]

  /// A report of the parts every report has; the rest is set afterwards.
  public init(version: String, seed: UInt64, reference: Reference, candidate: Candidate, machine: Machine) {
    self.version = version
    self.seed = seed
    self.reference = reference
    self.candidate = candidate
    self.machine = machine
    accuracy = nil
    size = nil
    gate = []
    integrity = .notChecked
    layers = []
    folds = []
    experts = nil
    ledger = nil
    recipe = .null
    calibration = nil
    text = nil
    arithmetic = nil
    time = []
    peakMemory = 0
    warnings = []
  }

  /// The report in one word.
  public enum Verdict: String, Sendable {
    /// Every limit is kept and nothing is corrupt.
    case passed
    /// A limit is not kept, or the artifact failed its checks.
    case failed
    /// No limit was set and nothing is corrupt: numbers for a person to judge.
    case unlimited
  }

  /// Failed when any limit or the artifact failed; unlimited when there was no limit.
  public var verdict: Verdict {
    if gate.contains(where: { $0.verdict == .failed }) || integrity.isCorrupt { return .failed }
    return gate.isEmpty ? .unlimited : .passed
  }
}
