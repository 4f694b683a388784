internal import Calibration
public import Checkpoints
internal import Models
public import Reports
internal import StrictJSON

/// What is said of a run when it is done.
extension QuantizationRun {
  /// What a run produced.
  public struct Outcome: Sendable {
    /// The artifact's size and digest.
    public let summary: ArtifactSummary
    /// What became of each fold.
    public let folds: [Report.Fold]
    /// Tokens that came to experts, if the model has some and was calibrated.
    public let experts: Report.Experts?
    /// What became of every tensor of the source.
    public let ledger: Report.Ledger
    /// What it was calibrated with.
    public let calibration: Report.Calibration?
    /// SHA-256 of the source's content.
    public let sourceDigest: String
    /// Time by stage.
    public let stages: [Report.Stage]
    /// What a person should know.
    public let warnings: [String]
    /// The recipe as the artifact holds it: with the number of samples that was found.
    let recipe: JSONValue
    /// How many samples it was calibrated with, where that was to be found.
    let convergence: SampleConvergence?
    /// What was measured of entropy-coded linears before they were coded.
    let survey: EntropySurvey?
    /// Expected bits a weight, where fewer would hold the limit of the divergence, but no fewer are spent.
    public let fewestBits: Double?
  }

  var fewestBitsRemark: [String] {
    guard let fewestBits else { return [] }
    return [
      "the limit of the KL divergence would allow less than the \((fewestBits * 100).rounded() / 100) bits a weight "
        + "that linears have now, the fewest that are spent"
    ]
  }

  /// Mean relative difference of the halves of the text above which more text would change what was found.
  private static let settled = 0.3

  static func unsettled(_ outcomes: [UnitOutcome]) -> [String] {
    let differences = outcomes.compactMap { outcome in outcome.halfDifference.map { (outcome.unit, $0) } }
    guard let (unit, difference) = differences.max(by: { $0.1 < $1.1 }), difference > settled else { return [] }
    return [
      "two halves of the calibration text differ by \(Int((100 * difference).rounded())) % in what \(unit) reads: "
        + "more text, --samples or --seqlen would generalise better"
    ]
  }

  static func int8Activations(_ outcomes: [UnitOutcome]) -> Report.Int8Activations? {
    let inputs = outcomes.flatMap(\.activations)
    guard !inputs.isEmpty else { return nil }
    let rounded = inputs.filter(\.isInt8).map(\.error)
    func shares(_ whole: (ActivationError) -> Double) -> [Double] {
      rounded.compactMap { whole($0) > 0 ? $0.activations / whole($0) : nil }
    }
    return Report.Int8Activations(
      measured: inputs.count, int8: rounded.count, added: .init(shares(\.weights)), noise: .init(shares(\.output)))
  }

  func experts(_ outcomes: [UnitOutcome]) -> Report.Experts? {
    let routed = (texts?.search ?? []).reduce(0) { $0 + $1.count }
    let layers = outcomes.compactMap { outcome -> Report.Experts.Layer? in
      guard let layer = outcome.layer, let use = outcome.experts,
        case .mixture(let mixture) = model.configuration.layers[layer].feedForward
      else { return nil }
      let name = model.layerPrefix(layer) + mixture.prefix.split(separator: ".").dropLast().joined(separator: ".")
      return .init(
        name: name, routedTokens: routed, tokens: use.counts, quota: request.recipe.expertTokens,
        help: use.helped.mapValues { help in
          switch help {
          case .moreSamples(let tokens): .extraSamples(tokens: tokens)
          case .layerInput: .layerStatistics
          }
        })
    }
    return layers.isEmpty ? nil : Report.Experts(layers: layers)
  }
}
