import StrictJSON

/// What a split looks for.
enum SplitPattern: Sendable {
  /// These scalars, one after another.
  case literal([Unicode.Scalar])
  /// Each single scalar of a kind.
  case each(Kind)
  /// Runs of word characters, and runs of neither word characters nor white space: `\w+|[^\w\s]+`.
  case words
  /// A well-known regular expression, matched by hand.
  case known(KnownPattern)
  /// Any other regular expression.
  case regex(ForeignPattern)

  /// A kind of scalar.
  enum Kind { case number, punctuation, space }

  /// Reads `"pattern": {"String": …}` or `{"Regex": …}`.
  init(_ component: Component) throws(TokenizerError) {
    guard let pattern = try component.child("pattern") else {
      throw component.malformed("pattern", expected: "a String or a Regex", found: "nothing")
    }
    if let text = try pattern.optionalString("String") {
      guard !text.isEmpty else { throw pattern.malformed("String", expected: "some text", found: "none") }
      self = .literal(Array(text.unicodeScalars))
    } else if let text = try pattern.optionalString("Regex") {
      if let known = KnownPattern(text) {
        self = .known(known)
      } else {
        self = .regex(try ForeignPattern(text, file: component.file, place: pattern.place("Regex")))
      }
    } else {
      throw component.malformed(
        "pattern", expected: "a String or a Regex", found: pattern.object.members.first?.name ?? "nothing")
    }
  }

  /// Whether the matching wants the classes of the text's scalars.
  var needsClasses: Bool { if case .known = self { true } else { false } }

  /// Appends the matches within a piece and the stretches between them, which together cover it.
  func appendSegments(
    of text: [Unicode.Scalar], _ classes: [ScalarClass], in range: Range<Int>, to segments: inout [Segment]
  ) {
    switch self {
    case .literal(let literal):
      Self.appendSegments(in: range, to: &segments) { index in
        guard range.upperBound - index >= literal.count else { return nil }
        for offset in literal.indices where text[index + offset] != literal[offset] { return nil }
        return index + literal.count
      }
    case .each(let kind):
      Self.appendSegments(in: range, to: &segments) { index in
        let scalar = text[index]
        let isMatch =
          switch kind {
          case .number: ScalarClass.of(scalar).contains(.number)
          case .punctuation: scalar.isPunctuation
          case .space: scalar.isSpace
          }
        return isMatch ? index + 1 : nil
      }
    case .words:
      Self.appendSegments(in: range, to: &segments) { index in
        if text[index].isSpace { return nil }
        let isWord = text[index].isWord
        var end = index + 1
        while end < range.upperBound, text[end].isWord == isWord, isWord || !text[end].isSpace { end += 1 }
        return end
      }
    case .known(let pattern):
      pattern.appendSegments(of: text, classes, in: range, to: &segments)
    case .regex(let pattern):
      pattern.appendSegments(of: text, in: range, to: &segments)
    }
  }

  /// Walks through a piece with a function that gives the end of the match that starts at a place.
  @inline(__always)
  static func appendSegments(in range: Range<Int>, to segments: inout [Segment], matchEnd: (Int) -> Int?) {
    var index = range.lowerBound
    var gap = index
    while index < range.upperBound {
      guard let end = matchEnd(index) else {
        index += 1
        continue
      }
      if gap < index { segments.append(Segment(range: gap..<index, isMatch: false)) }
      segments.append(Segment(range: index..<end, isMatch: true))
      index = end
      gap = end
    }
    if gap < range.upperBound { segments.append(Segment(range: gap..<range.upperBound, isMatch: false)) }
  }

  /// The text with every match replaced, and whether its start was one.
  func replacing(
    in text: [Unicode.Scalar], by content: [Unicode.Scalar]
  ) -> (text: [Unicode.Scalar], isStartMatched: Bool) {
    guard !text.isEmpty else { return (text, false) }
    var segments: [Segment] = []
    appendSegments(of: text, needsClasses ? ScalarClass.all(of: text) : [], in: text.indices, to: &segments)
    var result: [Unicode.Scalar] = []
    result.reserveCapacity(text.count)
    for segment in segments {
      if segment.isMatch { result += content } else { result += text[segment.range] }
    }
    return (result, segments.first.map { $0.isMatch && !$0.range.isEmpty } ?? false)
  }
}
