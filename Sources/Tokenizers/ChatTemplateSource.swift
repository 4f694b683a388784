/// A Jinja template taken apart far enough to be recognised: what it prints, in a normal form.
///
/// Nothing is evaluated. Tags lose their blanks, `x['y']` becomes `x.y`, strings get one kind of quotation mark, and
/// what is printed in a row is joined: `{{ '<a>' }}{{- '\n' + x }}` and `{{ "<a>" + "\n" + x }}` are the same.
struct ChatTemplateSource {
  /// The whole template in its normal form.
  let normalForm: String
  /// The strings in it, unescaped, those of conditions too.
  let strings: [String]
  /// The names in it.
  let names: Set<String>
  /// What it prints between its tags; nothing in templates written with care.
  let strayText: String

  /// Reads a template as Jinja does with `trim_blocks` and `lstrip_blocks`; `nil` where a tag or string never ends.
  init?(_ template: String) {
    var reader = Reader(text: Array(template.unicodeScalars))
    guard reader.run() else { return nil }
    normalForm = String(scalars: reader.output)
    strings = reader.strings
    names = reader.names
    strayText = reader.stray
  }

  /// Whether the normal form has some text, byte for byte.
  func has(_ fragment: String) -> Bool { place(of: fragment) != nil }

  /// Whether the normal form has all of some texts.
  func has(all fragments: String...) -> Bool { fragments.allSatisfy(has) }

  /// Where some text first is in the normal form, in bytes.
  func place(of fragment: String) -> Int? {
    let (needle, hay) = (Array(fragment.utf8), Array(normalForm.utf8))
    guard let first = needle.first, needle.count <= hay.count else { return nil }
    return (0...(hay.count - needle.count)).first { start in
      hay[start] == first && hay[start..<start + needle.count].elementsEqual(needle)
    }
  }

  /// What the normal form has between some text and another, where no string ends in between.
  func text(after start: String, before end: String) -> String? {
    let stop = Array(end.utf8)
    for rest in normalForm.components(around: start).dropFirst() {
      // The quotation mark that ends the string may be part of what is looked for.
      let bytes = Array(rest.utf8)
      let quotation = bytes.firstIndex(of: UInt8(ascii: "\"")) ?? bytes.count
      for index in bytes[..<min(quotation + 1, bytes.count)].indices where bytes[index...].starts(with: stop) {
        return String(decoding: bytes[..<index], as: UTF8.self)
      }
    }
    return nil
  }

  /// The strings that look like marks of a dialogue: `<|…|>`, `<｜…｜>`, `<word>`, `[WORD]`.
  var marks: Set<String> {
    var marks: Set<String> = []
    for string in strings {
      let text = Array(string.unicodeScalars)
      for start in text.indices where text[start] == "<" || text[start] == "[" {
        let close: Unicode.Scalar = text[start] == "<" ? ">" : "]"
        guard let end = text[(start + 1)...].firstIndex(of: close), end - start < 40, end > start + 1 else { continue }
        let inner = text[(start + 1)..<end]
        let isMark =
          text[start] == "["
          ? inner.allSatisfy { ("A"..."Z").contains($0) || $0 == "_" || $0 == "/" }
          : inner.allSatisfy { !$0.isSpace && $0 != "<" && $0 != "-" }
        if isMark { marks.insert(String(scalars: text[start...end])) }
      }
    }
    return marks
  }

  /// Sentences that the template prints of its own, other than those about tools and those of its complaints.
  var sentences: [String] {
    let others = ["tool", "Tool", "function", "argument", "alternate", "support", "must", "Invalid", "Cannot"]
    return strings.filter { string in
      string.utf8.count { $0 == UInt8(ascii: " ") } >= 4 && !others.contains { string.contains($0) }
    }
  }
}

/// Walks through a template's text and tags.
private struct Reader {
  let text: [Unicode.Scalar]
  var index = 0
  var output: [Unicode.Scalar] = []
  var strings: [String] = []
  var names: Set<String> = []
  var stray = ""

  private func starts(_ word: String, at place: Int) -> Bool {
    text.count - place >= 2 && text[place...].starts(with: word.unicodeScalars)
  }

  mutating func run() -> Bool {
    var swallowsSpace = false
    var swallowsLine = false
    while index < text.count {
      var end = index
      while end < text.count, !["{{", "{%", "{#"].contains(where: { starts($0, at: end) }) { end += 1 }
      addText(index..<end, swallowsSpace: swallowsSpace, swallowsLine: swallowsLine)
      index = end
      guard index < text.count else { break }
      let kind = text[index + 1]
      index += 2
      if index < text.count, text[index] == "-" || text[index] == "+" { index += 1 }
      let close: Unicode.Scalar = kind == "{" ? "}" : kind
      var tokens: [Token] = []
      if kind == "#" {
        while index < text.count, !starts("#}", at: index) { index += 1 }
      } else {
        guard let found = readTokens(until: close) else { return false }
        tokens = found
      }
      guard index + 1 < text.count else { return false }
      swallowsSpace = text[index - 1] == "-"
      swallowsLine = kind != "{"
      index += 2
      if kind != "#" { append(tokens, isOutput: kind == "{") }
    }
    return true
  }

  /// Keeps what whitespace control leaves of the text between two tags.
  private mutating func addText(_ range: Range<Int>, swallowsSpace: Bool, swallowsLine: Bool) {
    var part = text[range]
    if swallowsSpace {
      part = part.drop(while: \.isSpace)
    } else if swallowsLine, part.first == "\n" {
      part.removeFirst()
    }
    if range.upperBound < text.count {
      if range.upperBound + 2 < text.count, text[range.upperBound + 2] == "-" {
        while let last = part.last, last.isSpace { part.removeLast() }
      } else if text[range.upperBound + 1] != "{" {
        // Blanks before a block at the start of its line.
        let line = part.reversed().prefix { $0 != "\n" }
        if line.allSatisfy(\.isSpace), part.count > line.count || range.lowerBound == 0 || swallowsLine {
          part.removeLast(line.count)
        }
      }
    } else if part.last == "\n" {
      part.removeLast()
    }
    guard !part.isEmpty else { return }
    stray += String(scalars: part)
    output += part
  }

  private enum Token {
    case string([Unicode.Scalar])
    case name([Unicode.Scalar])
    case sign(Unicode.Scalar)
  }

  private mutating func readTokens(until close: Unicode.Scalar) -> [Token]? {
    var tokens: [Token] = []
    while index < text.count {
      let scalar = text[index]
      if starts("-", at: index), index + 2 < text.count, text[index + 1] == close, text[index + 2] == "}" { index += 1 }
      if text[index] == close, index + 1 < text.count, text[index + 1] == "}" { return tokens }
      if scalar == "'" || scalar == "\"" {
        guard let string = readString(scalar) else { return nil }
        strings.append(String(scalars: string))
        tokens.append(.string(string))
      } else if scalar.isWord {
        let start = index
        while index < text.count, text[index].isWord { index += 1 }
        names.insert(String(scalars: text[start..<index]))
        tokens.append(.name(Array(text[start..<index])))
      } else {
        if !scalar.isSpace { tokens.append(.sign(scalar)) }
        index += 1
      }
    }
    return nil
  }

  private mutating func readString(_ quote: Unicode.Scalar) -> [Unicode.Scalar]? {
    var string: [Unicode.Scalar] = []
    index += 1
    while index < text.count, text[index] != quote {
      if text[index] == "\\", index + 1 < text.count {
        index += 1
        switch text[index] {
        case "n": string.append("\n")
        case "t": string.append("\t")
        case "r": string.append("\r")
        case "\n": break
        case "\\", "'", "\"": string.append(text[index])
        default: string += ["\\", text[index]]
        }
      } else {
        string.append(text[index])
      }
      index += 1
    }
    guard index < text.count else { return nil }
    index += 1
    return string
  }

  private mutating func append(_ tokens: [Token], isOutput: Bool) {
    if isOutput, output.suffix(2).elementsEqual("}}".unicodeScalars) {
      output.removeLast(2)
      output.append("+")
    } else {
      output += ["{", isOutput ? "{" : "%"]
    }
    for (place, token) in tokens.enumerated() {
      switch token {
      case .name(let name):
        if let last = output.last, last.isWord { output.append(" ") }
        output += name
      case .sign(let sign): output.append(sign)
      case .string(let string):
        let word =
          string.allSatisfy { $0.isWord && $0.isASCII } && string.first.map { !("0"..."9").contains($0) } == true
        let after = place + 1 < tokens.count ? tokens[place + 1] : nil
        if word, output.last == "[", place > 1, case .name = tokens[place - 2], case .sign("]") = after {
          output.removeLast()
          output += ["."] + string
        } else if word, output.last == "[", place > 1, case .sign("]") = tokens[place - 2], case .sign("]") = after {
          output.removeLast()
          output += ["."] + string
        } else if output.suffix(2).elementsEqual("\"+".unicodeScalars) {
          output.removeLast(2)
          output += string + ["\""]
        } else {
          output += ["\""] + string + ["\""]
        }
      }
      // The bracket that closed a member's name.
      if case .sign("]") = token, place > 1, case .string(let string) = tokens[place - 1],
        output.dropLast().suffix(string.count + 1).elementsEqual(["."] + string)
      {
        output.removeLast()
      }
    }
    output += [isOutput ? "}" : "%", "}"]
  }
}
