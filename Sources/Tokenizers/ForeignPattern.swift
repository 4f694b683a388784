import Foundation

/// A regular expression that no scanner knows, handed to Foundation's engine (ICU).
///
/// The reference library uses Oniguruma. What the two read alike is let through, a few spellings are translated,
/// and what would silently mean something else is refused: `\h`, `\R`, possessive intervals, most inline flags.
struct ForeignPattern: Sendable {
  private let expression: NSRegularExpression

  init(_ source: String, file: String, place: String) throws(TokenizerError) {
    func problem(_ text: String) -> TokenizerError {
      .badPattern(file: file, component: place, pattern: source, problem: text)
    }
    var translation = PatternTranslation(source)
    if let refusal = translation.run() { throw problem(refusal) }
    // Oniguruma's ^ and $ are those of lines, and only \n ends one.
    do {
      expression = try NSRegularExpression(
        pattern: String(scalars: translation.output), options: [.anchorsMatchLines, .useUnixLineSeparators])
    } catch {
      throw problem("does not compile")
    }
  }

  /// Appends the matches within a piece and the stretches between them.
  func appendSegments(of text: [Unicode.Scalar], in range: Range<Int>, to segments: inout [Segment]) {
    let string = String(scalars: text[range])
    var gap = range.lowerBound
    // The engine counts UTF-16 units; this cursor walks along with its matches.
    var scalar = range.lowerBound
    var unit = 0
    func place(_ wanted: Int) -> Int {
      while unit < wanted {
        unit += text[scalar].value < 0x10000 ? 1 : 2
        scalar += 1
      }
      return scalar
    }
    let whole = NSRange(location: 0, length: string.utf16.count)
    for match in expression.matches(in: string, options: [], range: whole) {
      let start = place(match.range.location)
      let end = place(match.range.location + match.range.length)
      if gap < start { segments.append(Segment(range: gap..<start, isMatch: false)) }
      segments.append(Segment(range: start..<end, isMatch: true))
      gap = end
    }
    if gap < range.upperBound { segments.append(Segment(range: gap..<range.upperBound, isMatch: false)) }
  }
}

/// Rewrites Oniguruma's spelling of a regular expression in ICU's, or says what stands in the way.
struct PatternTranslation {
  private let source: [Unicode.Scalar]
  private var index = 0
  private var setDepth = 0
  private(set) var output: [Unicode.Scalar] = []

  init(_ source: String) { self.source = Array(source.unicodeScalars) }

  /// Oniguruma's `\w` within a set: ICU's own has the zero-width joiners too.
  private static let wordInSet = #"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}"#
  /// Oniguruma's `\w` on its own takes six numbers of Latin-1 along.
  private static let word = wordInSet + "²³¹¼½¾"
  /// `\b` by that `\w`; ICU's own passes over marks.
  private static let boundary = "(?:(?<=[\(word)])(?![\(word)])|(?<![\(word)])(?=[\(word)]))"

  /// Translates; returns the reason why it cannot be done.
  mutating func run() -> String? {
    while index < source.count {
      let scalar = source[index]
      switch scalar {
      case "\\":
        if let problem = escape() { return problem }
        continue
      case "[":
        if source[(index + 1)...].starts(with: ":".unicodeScalars) { return "uses a POSIX bracket" }
        setDepth += 1
      case "]" where setDepth > 0: setDepth -= 1
      case "-" where setDepth > 0:
        if source[(index + 1)...].first == "-" { return "uses a set difference" }
      case "(" where setDepth == 0:
        if let problem = group() { return problem }
        continue
      case "}" where setDepth == 0:
        if let after = source[(index + 1)...].first, after == "+" || after == "?" {
          return "has an interval followed by \(after)"
        }
      default: break
      }
      output.append(scalar)
      index += 1
    }
    return nil
  }

  private mutating func escape() -> String? {
    guard index + 1 < source.count else { return "ends with a backslash" }
    let letter = source[index + 1]
    switch letter {
    case "w": output += (setDepth > 0 ? Self.wordInSet : "[\(Self.word)]").unicodeScalars
    case "W" where setDepth == 0: output += "[^\(Self.word)]".unicodeScalars
    case "b" where setDepth == 0: output += Self.boundary.unicodeScalars
    case "p", "P":
      guard let end = source[index...].firstIndex(of: "}"), source[index + 2] == "{" else {
        return "has a property without braces"
      }
      output += source[index...end]
      index = end + 1
      return nil
    case "s", "S", "d", "D", "n", "r", "t", "f", "u": output += [source[index], letter]
    case "x":
      guard let end = source[index...].firstIndex(of: "}"), source[index + 2] == "{" else {
        return "has a code point without braces"
      }
      output += source[index...end]
      index = end + 1
      return nil
    case "a"..."z", "A"..."Z", "0"..."9": return "uses \\\(letter), which is not supported"
    default: output += [source[index], letter]
    }
    index += 2
    return nil
  }

  private mutating func group() -> String? {
    let openings = ["(?:", "(?i:", "(?=", "(?!", "(?<=", "(?<!", "(?>"]
    let rest = source[index...]
    let isPlain = !rest.starts(with: "(?".unicodeScalars)
    let opening = isPlain ? "(" : openings.first { rest.starts(with: $0.unicodeScalars) }
    if let opening {
      output += opening.unicodeScalars
      index += opening.unicodeScalars.count
    } else if index == 0, rest.starts(with: "(?i)".unicodeScalars) {
      output += "(?i)".unicodeScalars
      index += 4
    } else {
      return "uses a kind of group that is not supported"
    }
    return nil
  }
}
