/// The regular expressions of the great model families, matched by hand: 25 times faster than a general engine.
///
/// Each is recognised by its exact text. The scanners work on scalars and their classes; a piece's end counts as
/// the text's end.
enum KnownPattern: Sendable {
  case gpt2
  case llama3
  case qwen2
  /// The three splits of DeepSeek-V3, in order.
  case threeDigits
  case ideographsAndKana
  case deepSeek

  static let all: [KnownPattern] = [.gpt2, .llama3, .qwen2, .threeDigits, .ideographsAndKana, .deepSeek]

  /// The pattern that an expression spells; DeepSeek's files escape a quotation mark that needs none.
  init?(_ source: String) {
    let plain = source.utf8.elementsEqual(Self.escapedDeepSeek.utf8) ? Self.deepSeek.source : source
    guard let known = Self.all.first(where: { $0.source.utf8.elementsEqual(plain.utf8) }) else { return nil }
    self = known
  }

  private static let escapedDeepSeek = #"[!\"# + deepSeek.source.dropFirst(2)

  /// The expression.
  var source: String {
    switch self {
    case .gpt2:
      #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
    case .llama3:
      #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"#
        + #"|\s*[\r\n]+|\s+(?!\S)|\s+"#
    case .qwen2:
      #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"#
        + #"|\s*[\r\n]+|\s+(?!\S)|\s+"#
    case .threeDigits:
      #"\p{N}{1,3}"#
    case .ideographsAndKana:
      "[\u{4E00}-\u{9FA5}\u{3040}-\u{309F}\u{30A0}-\u{30FF}]+"
    case .deepSeek:
      ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##
        + #"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
    }
  }

  /// Appends the matches within a piece and the stretches between them.
  func appendSegments(
    of text: [Unicode.Scalar], _ classes: [ScalarClass], in range: Range<Int>, to segments: inout [Segment]
  ) {
    let scanner = Scanner(text: text, classes: classes, end: range.upperBound)
    switch self {
    case .gpt2: SplitPattern.appendSegments(in: range, to: &segments) { scanner.gpt2(at: $0) }
    case .llama3: SplitPattern.appendSegments(in: range, to: &segments) { scanner.llama3(at: $0, digits: 3) }
    case .qwen2: SplitPattern.appendSegments(in: range, to: &segments) { scanner.llama3(at: $0, digits: 1) }
    case .threeDigits:
      SplitPattern.appendSegments(in: range, to: &segments) { start in
        let end = scanner.run(of: .number, from: start, atMost: 3)
        return end > start ? end : nil
      }
    case .ideographsAndKana:
      SplitPattern.appendSegments(in: range, to: &segments) { start in
        let end = scanner.run(of: .ideographOrKana, from: start)
        return end > start ? end : nil
      }
    case .deepSeek: SplitPattern.appendSegments(in: range, to: &segments) { scanner.deepSeek(at: $0) }
    }
  }
}

/// The alternatives of the known expressions, tried in their order.
private struct Scanner {
  let text: [Unicode.Scalar]
  let classes: [ScalarClass]
  let end: Int

  /// The end of a run of scalars of any of some classes.
  @inline(__always)
  func run(of wanted: ScalarClass, from start: Int, atMost limit: Int = .max) -> Int {
    var index = start
    while index < end, index - start < limit, !classes[index].isDisjoint(with: wanted) { index += 1 }
    return index
  }

  /// The end of a run of scalars of none of some classes.
  @inline(__always)
  func run(ofNone unwanted: ScalarClass, from start: Int) -> Int {
    var index = start
    while index < end, classes[index].isDisjoint(with: unwanted) { index += 1 }
    return index
  }

  @inline(__always)
  func has(_ wanted: ScalarClass, at index: Int) -> Bool { index < end && !classes[index].isDisjoint(with: wanted) }

  /// `'s|'t|'re|'ve|'m|'ll|'d`; where case is folded, ſ is an s.
  func contraction(at start: Int, foldingCase: Bool) -> Int? {
    guard text[start] == "'", start + 1 < end else { return nil }
    func letter(_ index: Int) -> UInt32 {
      guard index < end else { return 0 }
      let value = text[index].value
      guard foldingCase else { return value }
      return (0x41...0x5A).contains(value) ? value + 0x20 : value == 0x17F ? 0x73 : value
    }
    switch (letter(start + 1), letter(start + 2)) {
    case (0x73, _), (0x74, _), (0x6D, _), (0x64, _): return start + 2
    case (0x72, 0x65), (0x76, 0x65), (0x6C, 0x6C): return start + 3
    default: return nil
    }
  }

  /// `\s+(?!\S)|\s+`: all white space but the last before something else, or that last one.
  func space(at start: Int) -> Int? {
    let stop = run(of: .space, from: start)
    if stop == start { return nil }
    return stop < end && stop - start > 1 ? stop - 1 : stop
  }

  /// `\s*[\r\n]+|\s+(?!\S)|\s+`: white space up to its last line end goes first.
  func linesOrSpace(at start: Int) -> Int? {
    var stop = run(of: .space, from: start)
    while stop > start, !classes[stop - 1].contains(.newline) { stop -= 1 }
    return stop > start ? stop : space(at: start)
  }

  func gpt2(at start: Int) -> Int? {
    if let stop = contraction(at: start, foldingCase: false) { return stop }
    let body = text[start] == " " ? start + 1 : start
    if has(.letter, at: body) { return run(of: .letter, from: body) }
    if has(.number, at: body) { return run(of: .number, from: body) }
    let stop = run(ofNone: [.space, .letter, .number], from: body)
    return stop > body ? stop : space(at: start)
  }

  /// Llama 3 and Qwen 2, which differ in how many digits stay together.
  func llama3(at start: Int, digits: Int) -> Int? {
    if let stop = contraction(at: start, foldingCase: true) { return stop }
    if has(.letter, at: start) { return run(of: .letter, from: start) }
    if has(.letter, at: start + 1), !has([.newline, .number], at: start) { return run(of: .letter, from: start + 1) }
    if has(.number, at: start) { return run(of: .number, from: start, atMost: digits) }
    let body = text[start] == " " ? start + 1 : start
    let stop = run(ofNone: [.space, .letter, .number], from: body)
    return stop > body ? run(of: .newline, from: stop) : linesOrSpace(at: start)
  }

  func deepSeek(at start: Int) -> Int? {
    if text[start].isASCII, text[start].isPunctuation {
      var stop = start + 1
      while stop < end, text[stop].isASCII, classes[stop].contains(.letter) { stop += 1 }
      if stop > start + 1 { return stop }
    }
    if has([.letter, .mark], at: start) { return run(of: [.letter, .mark], from: start) }
    if has([.letter, .mark], at: start + 1), !has([.newline, .punctuation, .symbol], at: start) {
      return run(of: [.letter, .mark], from: start + 1)
    }
    let body = text[start] == " " ? start + 1 : start
    let stop = run(of: [.punctuation, .symbol], from: body)
    return stop > body ? run(of: .newline, from: stop) : linesOrSpace(at: start)
  }
}
