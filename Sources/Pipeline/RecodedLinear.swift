internal import Checkpoints
internal import Models
internal import Quantization
internal import Tensors

/// A linear that the source holds quantized, spelled as compressed-tensors: its codes and scales stay bit for bit.
struct RecodedLinear {
  private let plan: LinearPlan
  private let model: LanguageModel
  private let quantization: StoredQuantization
  private let stored: QuantizationScheme

  /// - Precondition: the source holds the linear quantized.
  init(_ plan: LinearPlan, _ model: LanguageModel) {
    guard let quantization = model.quantization, let scheme = quantization.scheme(of: plan.name) else {
      preconditionFailure("\(plan.name) is in full precision")
    }
    (self.plan, self.model, self.quantization, stored) = (plan, model, quantization, scheme)
  }

  /// How runtimes read it; scales of activations that the source declares and does not hold are none.
  var scheme: QuantizationScheme {
    let needsScale: Bool =
      switch stored.activations {
      case .staticPerTensor, .dynamicPerGroup(.float4E2M1, 16): true
      case .none, .dynamicPerToken, .dynamicPerGroup: false
      }
    guard needsScale, inputScale == nil else { return stored }
    return QuantizationScheme(name: stored.name, weights: stored.weights, activations: .none)
  }

  // MARK: What cannot be spelled

  /// Why the codes cannot stay, as a clause for a person; `nil` where they can.
  func problem() throws -> String? {
    if (model.checkpoint.weights as? AdaptedSource)?.deferredModules.contains(plan.name) ?? false {
      return "the adapter changes them"
    }
    let weights = stored.weights
    switch (weights.format, weights.granularity) {
    case (.float4E2M1, _): return nil
    case (.int, .perTensor) where scheme.multipliesIntegers: break
    case (.int, .perTensor), (.int, .perBlock), (.int, .perRowAndColumn):
      return "packed integers have a scale for each row or group, theirs is \(weights.granularity.phrase)"
    default: break
    }
    return try opened().codes == nil
      ? "their columns are out of order (desc_act), which packed codes and scales do not say" : nil
  }

  /// What is not the same bit for bit although the codes stay; `nil` where all is.
  func remark() throws -> String? {
    guard stored.weights.format == .float4E2M1,
      try !quantization.hasExactFloat4(plan.name, in: model.checkpoint.weights, file: model.checkpoint.name)
    else { return nil }
    return "their scales are divided by one number instead of multiplied by it: "
      + "some differ by one unit in the last place of F32"
  }

  // MARK: Tensors

  /// The tensors to be written, known before any weight is read.
  var infos: [TensorInfo] {
    var infos = CompressedTensorsLayout.plan(
      linear: plan.name, stored.weights, outFeatures: plan.outFeatures, inFeatures: plan.inFeatures,
      scaleType: scaleType, asBytes: scheme.multipliesIntegers)
    if let inputScale { infos.append(TensorInfo(name: inputScale.name, dtype: inputScale.type, shape: [1])) }
    return infos
  }

  /// The tensors, in the order of ``infos``.
  func tensors() throws -> [(name: String, tensor: Tensor)] {
    var result: [(name: String, tensor: Tensor)]
    if stored.weights.format == .float4E2M1 {
      result = try quantization.float4Tensors(
        of: plan.name, outFeatures: plan.outFeatures, inFeatures: plan.inFeatures, from: model.checkpoint.weights,
        file: model.checkpoint.name)
    } else {
      guard let found = try opened().codes?() else { preconditionFailure("the plan asked whether there are codes") }
      let codes = QuantizedTensor(
        found.quantization, outFeatures: found.outFeatures, inFeatures: found.inFeatures, codes: found.codes,
        scales: found.scales, scaleType: scaleType, zeroPoints: found.zeroPoints)
      result = CompressedTensorsLayout.encode(codes, linear: plan.name, asBytes: scheme.multipliesIntegers)
    }
    if let inputScale {
      let value = try model.tensor(inputScale.source).floats()[0]
      guard value.isFinite, value > 0 else {
        throw PipelineError.input(
          "\(model.checkpoint.name): \(inputScale.source) is \(value), expected a positive number")
      }
      result.append(
        (inputScale.name, Tensor([1], floats: [inputScale.isInverted ? 1 / value : value], as: inputScale.type)))
    }
    return result
  }

  private func opened() throws -> StoredWeight {
    try quantization.weight(
      of: plan.name, outFeatures: plan.outFeatures, inFeatures: plan.inFeatures, from: model.checkpoint.weights,
      file: model.checkpoint.name)
  }

  private var parts: [TensorInfo] { quantization.storedTensors(of: plan.name, in: model.checkpoint.weights) }

  /// The type of the scales as they are stored; powers of two and products become F32.
  private var scaleType: DType {
    let scales = parts.first { info in
      info.dtype.isFullPrecision && ["weight_scale", "weight_scale_inv", "scales"].contains { info.name.hasSuffix($0) }
    }
    return scales?.dtype ?? .float32
  }

  /// The calibrated scale of the linear's input, if runtimes want one and the source has it.
  private var inputScale: (name: String, source: String, type: DType, isInverted: Bool)? {
    let (part, others, type): (String, [String], DType?)
    switch stored.activations {
    case .staticPerTensor: (part, others, type) = (".input_scale", [".activation_scale"], nil)
    case .dynamicPerGroup(.float4E2M1, 16): (part, others, type) = (".input_global_scale", [".input_scale"], .float32)
    case .none, .dynamicPerToken, .dynamicPerGroup: return nil
    }
    for name in [part] + others {
      guard let info = model.checkpoint.weights.info(plan.name + name), info.dtype.isFullPrecision,
        info.shape.elementCount == 1
      else { continue }
      // ModelOpt's is the reciprocal of compressed-tensors' of float4.
      return (plan.name + part, info.name, type ?? info.dtype, part == ".input_global_scale" && name != part)
    }
    return nil
  }
}

extension WeightQuantization {
  /// Whether weights stored so are what was asked for: powers of two are ordinary scales too.
  func serves(as wanted: WeightQuantization) -> Bool {
    guard case .perBlock = granularity, scales == .powerOfTwo, wanted.scales == .real else { return self == wanted }
    return format == wanted.format && granularity == wanted.granularity
  }
}
