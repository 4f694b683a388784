import StrictJSON

/// The steps from tokens back to text.
struct TokenDecoder: Sendable {
  /// One step; all but `fuse` and `byteLevel` work token by token.
  enum Step: Sendable {
    /// Bytes from the byte alphabet; makes one token of all.
    case byteLevel
    case replace(SplitPattern, by: [Unicode.Scalar])
    /// Runs of tokens like `<0x0A>` become text.
    case byteFallback
    /// Makes one token of all.
    case fuse
    /// Takes up to so many of a scalar from a token's start and end.
    case strip(Unicode.Scalar, start: Int, stop: Int)
    case metaspace(Metaspace)
    /// A space between tokens: what happens where a file has no decoder.
    case spaces
  }

  let steps: [Step]

  private static let supported = ["ByteFallback", "ByteLevel", "Fuse", "Metaspace", "Replace", "Sequence", "Strip"]

  init(steps: [Step]) { self.steps = steps }

  /// A decoder from its description, or the plain one where there is none.
  init(_ component: Component?) throws(TokenizerError) {
    guard let component else {
      steps = [.spaces]
      return
    }
    var steps: [Step] = []
    try Self.append(component, to: &steps)
    self.steps = steps
  }

  private static func append(_ component: Component, to steps: inout [Step]) throws(TokenizerError) {
    switch try component.string("type") {
    case "ByteLevel": steps.append(.byteLevel)
    case "Replace":
      steps.append(
        .replace(try SplitPattern(component), by: Array(try component.string("content").unicodeScalars)))
    case "ByteFallback": steps.append(.byteFallback)
    case "Fuse": steps.append(.fuse)
    case "Strip":
      steps.append(
        .strip(
          try component.scalar("content"), start: try component.count("start"), stop: try component.count("stop")))
    case "Metaspace": steps.append(.metaspace(try Metaspace(component)))
    case "Sequence":
      for child in try component.children("decoders") { try append(child, to: &steps) }
    default: throw try component.unsupported(supported)
    }
  }
}
