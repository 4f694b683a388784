extension Architecture {
  /// Qwen 2 and 2.5: biases on q, k and v, no key says so.
  public static let qwen2 = Architecture(modelTypes: ["qwen2"], folds: Fold.gatedDecoder) {
    reader throws(ModelError) in
    // sliding_window holds a number even when use_sliding_window switches it off.
    if try reader.flag("use_sliding_window", default: false) {
      throw reader.refusal("use_sliding_window", "is true, which this family does not know how to compute")
    }
    var configuration = try reader.decoderConfiguration(understood: ["sliding_window", "use_sliding_window"])
    configuration.hasQueryKeyValueBias = true
    return configuration
  }
}
