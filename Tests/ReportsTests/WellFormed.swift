import Testing

/// Checks that markup is well formed: tags close in order, attributes are quoted, references are complete.
enum WellFormed {
  struct Problem: Error { let reason: String }

  /// The names of all elements, in order.
  @discardableResult
  static func check(_ markup: String, at location: SourceLocation = #_sourceLocation) throws -> [String] {
    let text = Array(markup.unicodeScalars)
    var open: [String] = []
    var seen: [String] = []
    var index = 0
    func find(_ end: String, from start: Int) throws -> Int {
      let wanted = Array(end.unicodeScalars)
      var place = start
      while place + wanted.count <= text.count {
        if Array(text[place..<place + wanted.count]) == wanted { return place }
        place += 1
      }
      throw Problem(reason: "no \(end) after \(start)")
    }
    func string(_ range: Range<Int>) -> String { String(String.UnicodeScalarView(text[range])) }
    while index < text.count {
      guard text[index] == "<" else {
        if text[index] == "&" {
          let end = try find(";", from: index)
          guard ["&amp", "&lt", "&gt", "&quot", "&#39"].contains(string(index..<end)) else {
            throw Problem(reason: "reference \(string(index..<end))")
          }
        }
        if text[index] == ">" { throw Problem(reason: "a bare > at \(index)") }
        index += 1
        continue
      }
      let end = try find(">", from: index)
      let tag = string(index + 1..<end)
      index = end + 1
      if tag.hasPrefix("!") || tag.hasPrefix("?") { continue }
      if tag.hasPrefix("/") {
        guard open.popLast() == String(tag.dropFirst()) else { throw Problem(reason: "</\(tag)> closes nothing") }
        continue
      }
      let name = String(tag.prefix { $0 != " " && $0 != "/" })
      seen.append(name)
      guard tag.count(where: { $0 == "\"" }).isMultiple(of: 2) else { throw Problem(reason: "quotes in <\(tag)>") }
      if tag.hasSuffix("/") { continue }
      open.append(name)
      if name == "script" || name == "style" { index = try find("</\(name)>", from: index) }
    }
    #expect(open.isEmpty, "not closed: \(open)", sourceLocation: location)
    return seen
  }
}
