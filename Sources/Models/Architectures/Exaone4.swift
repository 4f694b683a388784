internal import StrictJSON

extension Architecture {
  /// EXAONE 4: norms behind each block and over each head; where some layers slide a window, only those turn.
  public static let exaone4 = Architecture(modelTypes: ["exaone4"]) { reader throws(ModelError) in
    var attention = try reader.groupedAttention(keyValueHeads: 32)
    attention.headNorms = .init(.head)
    let window = try reader.window(default: 4096)
    let slides = try reader.exaoneWindows(hasWindow: window != nil)
    let style = try reader.normStyle(default: 1e-5)
    let feedForward = try reader.denseFeedForward()
    return try reader.model(
      understood: ["sliding_window"], rotaries: [try reader.rotaryEmbedding(dimension: attention.headDimension)],
      style: style
    ) { index throws(ModelError) in
      attention.window = try reader.window(window, ofSliding: slides[index])
      attention.rotary = window == nil || slides[index] ? RotaryUse() : nil
      return LayerConfiguration(
        attention: .grouped(attention), feedForward: .dense(feedForward), norms: .behindBlocks(style))
    }
  }
}

extension ConfigurationReader {
  /// Which layers slide: all but every so many-th, or those that have an L in a repeated string.
  fileprivate func exaoneWindows(hasWindow: Bool) throws(ModelError) -> [Bool] {
    guard hasWindow, value("layer_types") == nil else { return try slidingLayers { _ in false } }
    guard let letters = value("sliding_window_pattern")?.stringValue else {
      let pattern = try count("sliding_window_pattern", default: 4)
      return try slidingLayers { ($0 + 1) % pattern != 0 }
    }
    let kinds = Array(letters)
    guard !kinds.isEmpty, kinds.allSatisfy({ $0 == "L" || $0 == "G" }) else {
      throw refusal("sliding_window_pattern", "is \"\(letters)\", expected letters L and G, or a number")
    }
    return try slidingLayers { kinds[$0 % kinds.count] == "L" }
  }
}
