extension Architecture {
  /// Qwen 2 and 2.5, and MiMo, whose further layers predict tokens: biases on q, k and v, no key says so.
  public static let qwen2 = Architecture(modelTypes: ["qwen2", "qwen2_5_vl_text", "qwen2_vl_text", "mimo"]) {
    reader throws(ModelError) in
    var attention = try reader.groupedAttention()
    attention.hasQueryKeyValueBias = true
    let windows = try reader.qwenWindows()
    let style = try reader.normStyle()
    let feedForward = try reader.denseFeedForward()
    return try reader.model(
      understood: ConfigurationReader.qwenKeys,
      rotaries: [try reader.rotaryEmbedding(dimension: attention.headDimension)], style: style
    ) { index throws(ModelError) in
      attention.window = windows[index]
      return LayerConfiguration(
        attention: .grouped(attention), feedForward: .dense(feedForward), norms: LayerNorms(style: style))
    }
  }
}

extension ConfigurationReader {
  /// Keys that all Qwen families read.
  static let qwenKeys: Set<String> = ["sliding_window", "use_sliding_window", "max_window_layers"]

  /// The window of each layer: layers from `max_window_layers` on slide one, if `use_sliding_window` says so.
  ///
  /// `sliding_window` holds a number even where it is switched off.
  func qwenWindows() throws(ModelError) -> [Int?] {
    let isUsed = try flag("use_sliding_window", default: false)
    let first = try countOrZero("max_window_layers", default: 28)
    let slides = try slidingLayers { isUsed && $0 >= first }
    guard slides.contains(true) else { return slides.map { _ in nil } }
    guard isUsed else { throw refusal("layer_types", "has \"sliding_attention\", but use_sliding_window is not true") }
    let window = try count("sliding_window", default: 4096)
    return slides.map { $0 ? window : nil }
  }
}
