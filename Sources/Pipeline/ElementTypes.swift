internal import Checkpoints
internal import Models
internal import Quantization
internal import Tensors

/// The type in which each tensor in full precision is written.
struct ElementTypes: Sendable {
  /// The type of all; `nil` where each keeps its own.
  let all: DType?
  /// Tensors that are never narrowed.
  private let widest: Set<String>

  /// Each keeps its own.
  static let stored = ElementTypes(all: nil, widest: [])

  private init(all: DType?, widest: Set<String>) {
    self.all = all
    self.widest = widest
  }

  /// One type for all.
  ///
  /// What corrects the choice of experts keeps its own: experts are chosen by small differences, and loaders keep it in
  /// F32 too.
  init(_ type: DType?, of model: LanguageModel) {
    var corrections: Set<String> = []
    for (index, layer) in model.configuration.layers.enumerated() {
      guard case .mixture(let mixture) = layer.feedForward, let name = mixture.routing.correction else { continue }
      corrections.insert(model.layerPrefix(index) + name)
    }
    // Layers behind the last one are as that one is.
    if case .mixture(let mixture) = model.configuration.layers.last?.feedForward, let name = mixture.routing.correction
    {
      for layer in 0..<model.configuration.predictionLayers {
        corrections.insert(model.layerPrefix(model.configuration.layerCount + layer) + name)
      }
    }
    self.init(all: type, widest: corrections)
  }

  /// The type of a tensor that is stored as `stored`.
  func type(of name: String, stored: DType) -> DType {
    guard let all, stored.isFullPrecision else { return stored }
    return widest.contains(name) && stored == .float32 ? stored : all
  }

  /// The tensor as it is written; numbers beyond the type's largest are refused.
  func written(_ tensor: Tensor, _ name: String, of model: LanguageModel) throws -> Tensor {
    let type = type(of: name, stored: tensor.dtype)
    guard type != tensor.dtype else { return tensor }
    return try Self.rounded(tensor.floats(), tensor.shape, as: type, name, of: model)
  }

  /// Floats rounded to a type; those that are not finite then are refused.
  static func rounded(
    _ floats: [Float], _ shape: Shape, as type: DType, _ name: String, of model: LanguageModel
  ) throws -> Tensor {
    let result = Tensor(shape, floats: floats, as: type)
    guard let index = result.firstNonFinite else { return result }
    guard floats[index].isFinite else {
      throw PipelineError.input(
        "\(model.checkpoint.name): tensor \"\(name)\" holds NaN or infinity at element \(index); "
          + "the checkpoint is damaged")
    }
    throw PipelineError.input(
      "\(model.checkpoint.name): tensor \"\(name)\" holds \(floats[index]) at element \(index), beyond what "
        + "\(type.rawValue) can hold; convert to bf16 or float32")
  }
}

extension LanguageModel {
  /// The type in which scales of a linear are stored: that of its layer's first linear, since a layer is quantized in one
  /// type, and the base's where an adapter is merged as F32.
  func scaleBaseType(ofLinear name: String) throws -> DType {
    guard let (layer, _) = names.place(name), layer < layouts.count else { return try baseType(ofLinear: name) }
    return try baseType(ofLinear: layerPrefix(layer) + layouts[layer].linears[0].name)
  }

  private func baseType(ofLinear name: String) throws -> DType {
    let type = try storedType(ofLinear: name)
    guard let adapted = checkpoint.weights as? AdaptedSource, quantization?.scheme(of: name) == nil else { return type }
    return adapted.storedType(weightTensor(ofLinear: name)) ?? type
  }
}
