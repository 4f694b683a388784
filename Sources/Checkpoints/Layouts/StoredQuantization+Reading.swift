internal import StrictJSON
internal import Tensors

extension StoredQuantization {
  /// What reads the tensors of a method.
  static func storage(_ declaration: QuantizationDeclaration) throws(CheckpointError) -> any StorageMethod {
    switch declaration.method {
    case "compressed-tensors": return try CompressedTensorsMethod(declaration)
    case EntropyCodedConfiguration.method: return try EntropyCodedMethod(declaration)
    case "fp8" where declaration.value("quant_algo") != nil: return try ModelOptMethod(declaration)
    case "fp8", "fbgemm_fp8": return try Float8Method(declaration)
    case "modelopt", "modelopt_fp4": return try ModelOptMethod(declaration)
    case "awq": return try AutoAWQMethod(declaration)
    case "gptq": return try GPTQMethod(declaration)
    case "mxfp4": return try StackedExpertsMethod(declaration)
    default:
      throw declaration.refusal(
        "quant_method \"\(declaration.method)\" is not read; give the model in full precision, or quantized as "
          + "compressed-tensors, fp8, fbgemm_fp8, awq, gptq, mxfp4 or modelopt")
    }
  }

  /// Modules with a tensor that only quantized ones have, in file order, and that tensor.
  ///
  /// - Parameter hasStacks: whether `_blocks` and `_scales` are such tensors.
  static func quantizedModules(
    of source: any WeightSource, hasStacks: Bool
  ) -> [(module: String, evidence: String)] {
    var seen: Set<String> = []
    var result: [(module: String, evidence: String)] = []
    for info in source.tensors {
      guard let module = quantizedModule(info, hasStacks), seen.insert(module).inserted else { continue }
      result.append((module, info.name))
    }
    return result
  }

  private static let parts: Set<String> = [
    "weight_packed", "weight_scale", "weight_scale_inv", "weight_scale_2", "weight_global_scale", "weight_zero_point",
    "qweight", "qzeros", "scales", "weight_codes", "weight_column_class", "weight_row_gain", "weight_column_gain",
    "weight_split_source",
  ]

  private static func quantizedModule(_ info: TensorInfo, _ hasStacks: Bool) -> String? {
    for suffix in ["_blocks", "_scales"] where hasStacks && info.name.hasSuffix(suffix) {
      return String(info.name.dropLast(7))
    }
    guard let dot = info.name.lastIndex(of: ".") else { return nil }
    let part = info.name[info.name.index(after: dot)...]
    let isCodes = part == "weight" && ![.float16, .bfloat16, .float32, .float64].contains(info.dtype)
    return isCodes || parts.contains(String(part)) ? String(info.name[..<dot]) : nil
  }

  /// `torch_dtype` or `dtype`, of the whole or of the text model.
  static func storedType(_ configuration: JSONObject) -> DType {
    for object in [configuration, configuration["text_config"]?.objectValue].compactMap({ $0 }) {
      for key in ["torch_dtype", "dtype"] {
        switch object[key]?.stringValue {
        case "float16", "torch.float16", "half": return .float16
        case "float32", "torch.float32", "float": return .float32
        case "bfloat16", "torch.bfloat16": return .bfloat16
        default: continue
        }
      }
    }
    return .bfloat16
  }
}
