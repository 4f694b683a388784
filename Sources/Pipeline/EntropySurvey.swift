internal import Calibration
internal import Checkpoints
internal import Foundation
internal import Kernels
internal import Models
internal import Quantization
internal import Tensors

/// What was measured of a model's linears before any is coded: what each takes and loses by its step, and how much the
/// model minds.
struct EntropySurvey: Sendable {
  /// How everything is coded at a rate.
  struct Settlement {
    /// By the linear's name.
    let codings: [String: (QuantizationScheme, EntropyCoding)]
    /// Bits a weight, where the rate is a limit that fewer would hold, but no fewer are spent.
    let fewestBits: Double?
  }

  private let curves: [String: RateCurve]
  private let sensitivities: [String: Double]

  /// Measures; the model is run once for the curves, and once or in part for every sensitivity.
  init(
    _ model: LanguageModel, _ plan: QuantizationPlan, texts: CalibrationTexts, memory: MemoryPlan,
    spillFolder: String, progress: ProgressHandler
  ) throws {
    let coded = plan.entropyCoded
    // Any step will do to mark what is to be measured.
    let marked = try QuantizationPlan(
      model, plan,
      codings: Dictionary(
        uniqueKeysWithValues: coded.map {
          ($0.name, (QuantizationScheme.entropyCoded(bits: 8), EntropyCoding(step: 1, splitColumns: 0)))
        }))
    let pass = try LayerPass(
      model: model, plan: marked, texts: texts, memory: memory, spillFolder: spillFolder, quota: 0, surveys: true)
    var curves: [String: RateCurve] = [:]
    for (index, unit) in marked.units.enumerated() {
      progress(ProgressEvent("measure", done: index, of: marked.units.count, "rates of \(unit.title)"))
      try Interruption.check("stopped while measuring \(unit.title); nothing was written")
      guard let layer = unit.layer else { continue }
      curves.merge(try pass.survey(layer: layer, unit)) { $1 }
    }
    for linear in coded where curves[linear.name] == nil {
      let rows = try model.linear(linear.name).rows
      curves[linear.name] = RateCurve(
        rows, factor: MomentFactor(uncorrelated: [Float](repeating: 1, count: linear.inFeatures)))
    }
    let probe = try SensitivityProbe(model, windows: texts.judged(tokens: memory.heldOutTokens))
    sensitivities = try probe.run(coded, rowWeights: curves.compactMapValues(\.rowWeights)) { done, all in
      progress(ProgressEvent("measure", done: done, of: all, "sensitivities"))
    }
    self.curves = curves
  }

  /// The step of every linear for a rate.
  ///
  /// - Parameter isAsked: whether a person asked for the rate: it is refused where it cannot be reached. What is aimed at
  ///   in search of another rate gives the coarsest there is instead.
  func settlement(
    for rate: Rate, isAsked: Bool, _ plan: QuantizationPlan, members: [ArtifactPlan.Member]
  ) throws -> Settlement {
    let coded = plan.linears.compactMap { linear -> RateAllocation.Coded? in
      guard let curve = curves[linear.name] else { return nil }
      return RateAllocation.Coded(
        name: linear.name, curve: curve, sensitivity: sensitivities[linear.name] ?? 0,
        isInLayer: linear.method != .roundToNearest, outFeatures: linear.outFeatures, inFeatures: linear.inFeatures)
    }
    let allocation = RateAllocation(coded: coded, otherBytes: plan.uncodedByteCount(members: members))
    if isAsked, case .bytes(let bytes) = rate { try RateAllocation.require(bytes, above: allocation.otherBytes) }
    let base = allocation.base(for: rate)
    // Coarser than the coarsest step that was measured, next to nothing is left of a model; nobody means that.
    let found = allocation.expected(base)
    let isReached: Bool =
      switch rate {
      case .bits(let bits): found.bits <= bits + 0.05
      case .bytes(let bytes): found.bytes <= 1.01 * Double(bytes)
      case .divergence: true
      }
    guard isReached || !isAsked else {
      throw PipelineError.doesNotFit(
        "the linears of this model cannot be coded so coarsely: at least \(Int(found.bytes)) bytes are left in all")
    }
    return Settlement(
      codings: allocation.codings(base).mapValues { ($0.scheme, $0.coding) },
      fewestBits: allocation.allowsLess(rate) ? found.bits : nil)
  }
}
