internal import Checkpoints
internal import Models
public import Reports

extension Report {
  /// Adds what only the run that made the artifact knows.
  public mutating func add(_ outcome: QuantizationRun.Outcome) {
    folds = outcome.folds
    calibration = outcome.calibration
    recipe = outcome.recipe
    time = outcome.stages + time
    peakMemory = SystemFacts.peakMemory
    warnings = outcome.warnings + warnings
    ledger = outcome.ledger
    experts = outcome.experts
  }
}
