internal import Quantization
internal import StrictJSON
internal import Tensors

/// `compressed-tensors`: groups of modules, each with a layout.
struct CompressedTensorsMethod: StorageMethod {
  private let targets: CompressedTensorsTargets

  init(_ declaration: QuantizationDeclaration) throws(CheckpointError) {
    var json = declaration.json
    // Implied by the groups where it is not said.
    if declaration.value("quant_method") == nil { json["quant_method"] = .string(declaration.method) }
    targets = CompressedTensorsTargets(
      try CompressedTensorsConfiguration(reading: .object(json), file: declaration.place, key: ""))
  }

  func rule(of module: String, _ tensors: LinearTensors) -> StorageRule? {
    guard let group = targets.group(of: module) else { return nil }
    return StorageRule(scheme: group.scheme, layout: Self.layout(group, tensors))
  }

  private static func layout(
    _ group: CompressedTensorsConfiguration.Group, _ tensors: LinearTensors
  ) -> StoredLayout {
    switch group.format {
    case .packQuantized: return .packedIntegers
    case .intQuantized: return .plainIntegers
    case .floatQuantized: return .float8(scale: ".weight_scale")
    case .microscaledFloat8: return .microscaledFloat8
    case .microscaledFloat4: return .microscaledFloat4
    case .nvidiaFloat4: return .float4(codes: ".weight_packed", whole: .divisor(".weight_global_scale"))
    case .naiveQuantized: return group.scheme.weights.format.isFloat ? .float8(scale: ".weight_scale") : .plainIntegers
    case nil:
      if group.scheme.weights.format.isFloat { return .float8(scale: ".weight_scale") }
      return tensors.info(".weight")?.dtype == .int8 ? .plainIntegers : .packedIntegers
    }
  }
}
