import StrictJSON

/// What is done to the text before it is split.
indirect enum Normalizer: Sendable {
  case form(NormalForm)
  case prepend([Unicode.Scalar])
  case replace(SplitPattern, by: [Unicode.Scalar])
  case lowercase
  case strip(left: Bool, right: Bool)
  /// SentencePiece's: no spaces at the start, and never two together; only U+0020 counts.
  case singleSpaces
  /// Drops all of a scalar that the text ends with.
  case dropEnd(Unicode.Scalar)
  case sequence([Normalizer])

  private static let supported = ["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Prepend", "Replace", "Strip", "Sequence"]

  init(_ component: Component) throws(TokenizerError) {
    switch try component.string("type") {
    case "NFC": self = .form(.composed)
    case "NFD": self = .form(.decomposed)
    case "NFKC": self = .form(.compatibilityComposed)
    case "NFKD": self = .form(.compatibilityDecomposed)
    case "Lowercase": self = .lowercase
    case "Prepend": self = .prepend(Array(try component.string("prepend").unicodeScalars))
    case "Replace":
      self = .replace(try SplitPattern(component), by: Array(try component.string("content").unicodeScalars))
    case "Strip":
      self = .strip(left: try component.flag("strip_left"), right: try component.flag("strip_right"))
    case "Sequence":
      var steps: [Normalizer] = []
      for child in try component.children("normalizers") { steps.append(try Normalizer(child)) }
      self = .sequence(steps)
    default: throw try component.unsupported(Self.supported)
    }
  }

  /// The normalized text.
  ///
  /// - Parameter keepsStart: becomes false where the text loses what it starts with.
  func apply(to text: [Unicode.Scalar], keepsStart: inout Bool) -> [Unicode.Scalar] {
    switch self {
    case .form(let form): return form.apply(to: text)
    case .prepend(let prefix): return text.isEmpty ? text : prefix + text
    case .replace(let pattern, let content):
      let (result, isStartMatched) = pattern.replacing(in: text, by: content)
      if isStartMatched && content.isEmpty { keepsStart = false }
      return result
    case .lowercase:
      // Each scalar for itself: no final sigma, as in the reference.
      return text.flatMap { scalar in
        scalar.isASCII && !("A"..."Z").contains(scalar)
          ? [scalar] : Array(scalar.properties.lowercaseMapping.unicodeScalars)
      }
    case .strip(let left, let right):
      var slice = text[...]
      if left { slice = slice.drop(while: \.isSpace) }
      if slice.startIndex > 0 { keepsStart = false }
      if right {
        while let last = slice.last, last.isSpace { slice.removeLast() }
      }
      return Array(slice)
    case .singleSpaces:
      var result: [Unicode.Scalar] = []
      for scalar in text where scalar != " " || (result.last ?? " ") != " " { result.append(scalar) }
      if text.first == " " { keepsStart = false }
      return result
    case .dropEnd(let scalar):
      return Array(text.prefix(through: text.lastIndex { $0 != scalar } ?? -1))
    case .sequence(let steps):
      return steps.reduce(text) { $1.apply(to: $0, keepsStart: &keepsStart) }
    }
  }

  /// The normalized text.
  func apply(to text: [Unicode.Scalar]) -> [Unicode.Scalar] {
    var keepsStart = true
    return apply(to: text, keepsStart: &keepsStart)
  }
}
