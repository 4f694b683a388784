import StrictJSON

/// How a text is cut into words, and in which alphabet the words are spelled.
indirect enum PreTokenizer: Sendable {
  case split(SplitPattern, SplitBehavior, isInverted: Bool)
  case byteLevel(addsPrefixSpace: Bool, splits: Bool)
  case metaspace(Metaspace)
  case sequence([PreTokenizer])

  private static let supported = [
    "ByteLevel", "Digits", "Metaspace", "Punctuation", "Sequence", "Split", "Whitespace", "WhitespaceSplit",
  ]

  init(_ component: Component) throws(TokenizerError) {
    switch try component.string("type") {
    case "Split":
      self = .split(
        try SplitPattern(component), try Self.behavior(component),
        isInverted: try component.flag("invert", default: false))
    case "ByteLevel":
      self = .byteLevel(
        addsPrefixSpace: try component.flag("add_prefix_space"), splits: try component.flag("use_regex", default: true))
    case "Metaspace": self = .metaspace(try Metaspace(component))
    case "Digits":
      let isEach = try component.flag("individual_digits")
      self = .split(.each(.number), isEach ? .isolated : .contiguous, isInverted: false)
    case "Punctuation":
      let behavior = component.value("behavior") == nil ? .isolated : try Self.behavior(component)
      self = .split(.each(.punctuation), behavior, isInverted: false)
    case "Whitespace": self = .split(.words, .removed, isInverted: true)
    case "WhitespaceSplit": self = .split(.each(.space), .removed, isInverted: false)
    case "Sequence":
      var steps: [PreTokenizer] = []
      for child in try component.children("pretokenizers") { steps.append(try PreTokenizer(child)) }
      self = .sequence(steps)
    default: throw try component.unsupported(Self.supported)
    }
  }

  private static func behavior(_ component: Component) throws(TokenizerError) -> SplitBehavior {
    let name = try component.string("behavior")
    guard let behavior = SplitBehavior(rawValue: name) else {
      throw .unsupported(
        file: component.file, component: component.place("behavior"), found: name,
        supported: SplitBehavior.allCases.map(\.rawValue))
    }
    return behavior
  }

  /// Cuts and respells.
  func apply(to pieces: inout Pieces) {
    switch self {
    case .split(let pattern, let behavior, let isInverted):
      pieces.split(by: pattern, behavior, isInverted: isInverted)
    case .byteLevel(let addsPrefixSpace, let splits):
      if addsPrefixSpace {
        let text = pieces.text
        pieces.rewrite { range, _, output in
          if text[range.lowerBound] != " " { output.append(" ") }
          output += text[range]
        }
      }
      if splits { pieces.split(by: .known(.gpt2), .isolated, isInverted: false) }
      let alphabet = ByteAlphabet.scalars
      let text = pieces.text
      pieces.rewrite { range, _, output in
        for index in range { text[index].forEachByte { output.append(alphabet[Int($0)]) } }
      }
    case .metaspace(let metaspace): metaspace.apply(to: &pieces)
    case .sequence(let steps):
      for step in steps { step.apply(to: &pieces) }
    }
  }
}

/// SentencePiece's way with spaces: each becomes a visible sign, and the text gets one in front.
struct Metaspace: Sendable {
  /// Which pieces get a sign in front, unless they start with one.
  enum PrependScheme: String, CaseIterable {
    case always
    case first
    case never
  }

  let sign: Unicode.Scalar
  let scheme: PrependScheme
  let splits: Bool

  /// The rule that does not split.
  init(sign: Unicode.Scalar, scheme: PrependScheme) {
    (self.sign, self.scheme, splits) = (sign, scheme, false)
  }

  /// Reads the pre-tokenizer's or the decoder's members, in the old or the new spelling.
  init(_ component: Component) throws(TokenizerError) {
    sign = try component.scalar("replacement")
    splits = try component.flag("split", default: true)
    let addsPrefix = component.value("add_prefix_space") == nil ? nil : try component.flag("add_prefix_space")
    if let name = try component.optionalString("prepend_scheme") {
      guard let scheme = PrependScheme(rawValue: name) else {
        throw .unsupported(
          file: component.file, component: component.place("prepend_scheme"), found: name,
          supported: PrependScheme.allCases.map(\.rawValue))
      }
      self.scheme = scheme
      if addsPrefix == false, scheme != .never {
        throw component.malformed(
          "prepend_scheme", expected: "never, as add_prefix_space is false", found: name)
      }
    } else {
      scheme = addsPrefix == false ? .never : .always
    }
  }

  func apply(to pieces: inout Pieces) {
    let text = pieces.text
    pieces.rewrite { range, isFirst, output in
      let start = text[range.lowerBound]
      if scheme == .always || scheme == .first && isFirst, start != " ", start != sign { output.append(sign) }
      for index in range { output.append(text[index] == " " ? sign : text[index]) }
    }
    if splits { pieces.split(by: .literal([sign]), .mergedWithNext, isInverted: false) }
  }
}
