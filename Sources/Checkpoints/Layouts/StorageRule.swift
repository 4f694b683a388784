internal import Quantization
internal import StrictJSON

/// What a linear of a quantized checkpoint looks like in numbers and in tensors.
struct StorageRule: Sendable {
  let scheme: QuantizationScheme
  let layout: StoredLayout
}

/// One `quant_method`: says how each module with quantized tensors is stored.
///
/// Lives only while a checkpoint is opened, so it may hold compiled expressions.
protocol StorageMethod {
  /// How the module is stored, or `nil` if the declaration says that it is not quantized.
  func rule(of module: String, _ tensors: LinearTensors) throws(CheckpointError) -> StorageRule?
}

extension QuantizationScheme {
  /// The scheme of given parts, under the preset's name where there is one, otherwise described.
  init(_ weights: WeightQuantization, _ activations: ActivationQuantization) {
    let preset = Self.all.first { preset in
      guard preset.activations == activations, preset.weights.format == weights.format,
        preset.weights.isSymmetric == weights.isSymmetric, preset.weights.scales == weights.scales
      else { return false }
      if case .perGroup = weights.granularity, weights.scales == .real { return preset.hasGroups }
      return preset.weights.granularity == weights.granularity || preset.hasGroups && weights.granularity == .perChannel
    }
    self.init(name: preset?.name ?? Self.description(weights, activations), weights: weights, activations: activations)
  }

  private static func description(_ weights: WeightQuantization, _ activations: ActivationQuantization) -> String {
    let bits: Int? =
      switch activations {
      case .none: nil
      case .staticPerTensor(let format), .dynamicPerToken(let format), .dynamicPerGroup(let format, _): format.bitWidth
      }
    switch weights.format {
    case .int(let width): return "W\(width)A\(bits ?? 16)" + (weights.isSymmetric ? "" : "_ASYM")
    case .float8E4M3: return (weights.isMicroscaled ? "MXFP8" : "FP8") + (bits == nil ? "A16" : "")
    case .float4E2M1:
      let name = weights.isMicroscaled ? "MXFP4" : weights.scales == .float8 ? "NVFP4" : "FP4"
      return name + (bits == nil ? "A16" : bits == 4 ? "" : "A8")
    }
  }
}

extension WeightQuantization {
  /// Whether groups of weights have a power of two each.
  var isMicroscaled: Bool {
    if case .perGroup = granularity { scales == .powerOfTwo } else { false }
  }
}

/// Whether a list of modules names a module or one that it lies in.
func names(_ list: Set<String>, _ module: String) -> Bool {
  var rest = module[...]
  while true {
    if list.contains(String(rest)) { return true }
    guard let dot = rest.lastIndex(of: ".") else { return false }
    rest = rest[..<dot]
  }
}
