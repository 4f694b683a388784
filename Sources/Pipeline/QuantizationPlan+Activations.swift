internal import Checkpoints
internal import Models
internal import Quantization

extension QuantizationPlan {
  /// The file that will say which inputs are worth rounding to int8; `nil` where nothing is measured.
  ///
  /// - Parameter isCalibrated: whether texts run through the layers.
  func activationChoiceFile(_ model: LanguageModel, isCalibrated: Bool) -> ArtifactPlan.LateMember? {
    let kept = keptActivationChoice(model)
    let names = kept.floats + (isCalibrated ? measurableLinears : [])
    let measured = kept.measured + names.count - kept.floats.count
    guard measured > 0 else { return nil }
    return .init(
      name: ActivationChoice.fileName, byteCount: ActivationChoice.byteCount(measured: measured, floats: names))
  }

  /// What the file says once all is measured.
  func activationChoice(_ model: LanguageModel, _ outcomes: [UnitOutcome]) -> ActivationChoice {
    let kept = keptActivationChoice(model)
    let inputs = outcomes.flatMap(\.activations)
    let floats = Set(kept.floats + inputs.filter { !$0.isInt8 }.map(\.linear))
    return ActivationChoice(
      measured: kept.measured + inputs.count, floats: linears.map(\.name).filter(floats.contains))
  }

  /// Linears whose inputs calibration can measure.
  private var measurableLinears: [String] {
    units.filter { $0.layer != nil }.flatMap(\.steps).compactMap { step in
      guard case .quantize(let plan) = step, let weights = plan.scheme?.weights,
        weights.hasIntegerProduct(outFeatures: plan.outFeatures, inFeatures: plan.inFeatures)
      else { return nil }
      return plan.name
    }
  }

  /// What the source says of linears whose codes stay.
  private func keptActivationChoice(_ model: LanguageModel) -> (measured: Int, floats: [String]) {
    guard let quantization = model.quantization, let choice = quantization.activationChoice else { return (0, []) }
    let kept = units.flatMap(\.steps).compactMap { step -> String? in
      guard case .recode(let plan) = step, let weights = quantization.scheme(of: plan.name)?.weights,
        weights.hasIntegerProduct(outFeatures: plan.outFeatures, inFeatures: plan.inFeatures)
      else { return nil }
      return plan.name
    }
    return (min(choice.measured, kept.count), kept.filter(quantization.keepsInputFloat))
  }
}
