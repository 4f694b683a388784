public import StrictJSON
public import Tensors

extension Checkpoint {
  /// Says in `config.json` in which type weights are stored: loaders convert to it.
  ///
  /// `torch_dtype` and `dtype`, of the whole and of the text model, where they are; `torch_dtype`, which every loader
  /// knows, if none is.
  ///
  /// - Parameter type: F32, BF16 or F16.
  public static func declare(_ type: DType, in configuration: inout JSONObject) {
    let name: JSONValue =
      switch type {
      case .float32: "float32"
      case .bfloat16: "bfloat16"
      case .float16: "float16"
      default: preconditionFailure("weights are not stored as \(type)")
      }
    let keys = ["torch_dtype", "dtype"]
    var isDeclared = false
    if var text = configuration["text_config"]?.objectValue {
      for key in keys where text[key] != nil {
        text[key] = name
        isDeclared = true
      }
      configuration["text_config"] = .object(text)
    }
    for key in keys where configuration[key] != nil {
      configuration[key] = name
      isDeclared = true
    }
    if !isDeclared { configuration["torch_dtype"] = name }
  }

  /// Takes out of `config.json` what it says of quantization, under any of the names in use.
  public static func removeQuantization(from configuration: inout JSONObject) {
    let keys = ["quantization_config", "compression_config", "quantization"]
    if var text = configuration["text_config"]?.objectValue {
      for key in keys { text[key] = nil }
      configuration["text_config"] = .object(text)
    }
    for key in keys { configuration[key] = nil }
  }
}
