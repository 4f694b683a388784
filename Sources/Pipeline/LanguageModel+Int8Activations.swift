internal import Checkpoints
internal import Models
internal import Quantization

extension LanguageModel {
  /// What linears do to their input, in a few words, such as `activations int8, float in 3 of 168 linears`.
  var activationWords: String {
    guard rounding.products != .float, hasIntegerProducts else { return "activations float" }
    guard rounding.products == .chosen else { return "activations int8" }
    guard let choice = quantization?.activationChoice else { return "activations int8, not measured" }
    return choice.floats.isEmpty
      ? "activations int8, as measured"
      : "activations int8, float in \(choice.floats.count) of \(choice.measured) linears"
  }

  /// Whether some linear of the decoder layers can be multiplied with activations in int8.
  var hasIntegerProducts: Bool {
    guard let quantization else { return false }
    return linearNames.contains { name in
      guard let weights = quantization.scheme(of: name)?.weights else { return false }
      let (rows, columns) = shape(ofLinear: name)
      return weights.hasIntegerProduct(outFeatures: rows, inFeatures: columns)
    }
  }

  /// Refuses a model without such a linear.
  func requireIntegerProducts() throws(PipelineError) {
    guard !hasIntegerProducts else { return }
    throw .input(
      "\(checkpoint.name) has no linear whose weights are integers in groups of a multiple of 32, so activations cannot be int8"
    )
  }
}
