internal import Calibration
internal import Checkpoints
internal import Foundation
internal import Kernels
internal import Models
internal import Quantization
internal import Tensors

/// What was measured of a model's linears before any is coded: what each takes and loses by its step, and how much the
/// model minds.
public struct EntropySurvey: Sendable {
  private let curves: [String: RateCurve]
  private let sensitivities: [String: Double]

  /// Measures; the model is run once for the curves, and once or in part for every sensitivity.
  init(
    _ model: LanguageModel, _ plan: QuantizationPlan, texts: CalibrationTexts, memory: MemoryPlan,
    spillFolder: String, progress: ProgressHandler
  ) throws {
    let coded = plan.linears.filter { $0.scheme?.isEntropyCoded ?? false }
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
  func codings(
    for rate: Rate, _ plan: QuantizationPlan, members: [ArtifactPlan.Member]
  ) throws -> [String: (QuantizationScheme, EntropyCoding)] {
    let coded = plan.linears.compactMap { linear -> RateAllocation.Coded? in
      guard let curve = curves[linear.name] else { return nil }
      return RateAllocation.Coded(
        name: linear.name, curve: curve, sensitivity: sensitivities[linear.name] ?? 0,
        isInLayer: linear.method != .roundToNearest, outFeatures: linear.outFeatures, inFeatures: linear.inFeatures)
    }
    let names = Set(coded.map(\.name))
    let kept = plan.tensors.filter { tensor in
      !names.contains { tensor.info.name.hasPrefix($0 + ".weight_") }
    }
    // Floats lose a fifth, text two thirds (Compression.swift); headers are small beside them.
    let keptBytes = kept.reduce(0) { $0 + $1.info.byteCount } * 4 / 5
    let memberBytes = members.reduce(0) { $0 + $1.bytes.count } / 3
    let allocation = RateAllocation(coded: coded, otherBytes: keptBytes + memberBytes + 64 * plan.tensors.count)
    if case .bytes(let bytes) = rate, bytes <= allocation.otherBytes {
      throw PipelineError.doesNotFit(
        "what is not coded takes about \(allocation.otherBytes) bytes already; a target of \(bytes) cannot be reached")
    }
    let base = allocation.base(for: rate)
    // Coarser than the coarsest step that was measured, next to nothing is left of a model; nobody means that.
    let found = allocation.expected(base)
    let isReached: Bool =
      switch rate {
      case .bits(let bits): found.bits <= bits + 0.05
      case .bytes(let bytes): found.bytes <= 1.01 * Double(bytes) && found.bits >= 1
      case .divergence: true
      }
    guard isReached else {
      throw PipelineError.doesNotFit(
        "the linears of this model cannot be coded so coarsely: at least \(Int(found.bytes)) bytes are left in all")
    }
    return allocation.codings(base).mapValues { ($0.scheme, $0.coding) }
  }
}
