public import Quantization
internal import Tensors

extension StoredQuantization {
  /// What a runtime does to the input of a linear before it multiplies; `nil` where it stays as it is.
  ///
  /// A scheme that wants a calibrated scale which the checkpoint does not hold leaves activations as they are, as runtimes
  /// do that read the weights alone.
  ///
  /// - Parameter file: for messages.
  public func activationRounding(
    of linear: String, inFeatures: Int, from source: any WeightSource, file: String
  ) throws(CheckpointError) -> ActivationRounding? {
    guard let (name, rule) = place(of: linear) else { return nil }
    let tensors = LinearTensors(linear: name, source: source, file: file)
    return ActivationRounding(
      rule.scheme, width: inFeatures, inputScale: try Self.inputScale(rule.scheme, tensors))
  }

  /// The calibrated scale of a linear's input, or the divisor of the scales of its groups.
  private static func inputScale(
    _ scheme: QuantizationScheme, _ tensors: LinearTensors
  ) throws(CheckpointError) -> Float? {
    switch scheme.activations {
    case .none, .dynamicPerToken: return nil
    case .staticPerTensor:
      for part in [".input_scale", ".activation_scale"] where tensors.info(part) != nil {
        return try tensors.number(part)
      }
      return nil
    case .dynamicPerGroup:
      guard scheme.weights.scales == .float8 else { return nil }
      if tensors.info(".input_global_scale") != nil { return try tensors.number(".input_global_scale") }
      // ModelOpt's is the reciprocal.
      return tensors.info(".input_scale") == nil ? nil : 1 / (try tensors.number(".input_scale"))
    }
  }
}
