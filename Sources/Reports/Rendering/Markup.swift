/// A text of nested elements, valid as XML and as HTML; everything foreign is escaped.
struct Markup {
  /// What was written so far.
  private(set) var text = ""

  /// An element with content.
  mutating func element(
    _ tag: String, _ attributes: KeyValuePairs<String, String> = [:], _ content: (inout Markup) -> Void
  ) {
    open(tag, attributes)
    text += ">"
    content(&self)
    text += "</\(tag)>"
  }

  /// An element that holds one text.
  mutating func element(_ tag: String, _ attributes: KeyValuePairs<String, String> = [:], text content: String) {
    element(tag, attributes) { $0.write(content) }
  }

  /// An element without content, such as `<meta/>`.
  mutating func empty(_ tag: String, _ attributes: KeyValuePairs<String, String> = [:]) {
    open(tag, attributes)
    text += "/>"
  }

  /// A text, escaped.
  mutating func write(_ content: String) { text += Self.escaped(content) }

  /// Markup made by this program.
  mutating func raw(_ markup: String) { text += markup }

  /// A line break in the source, so that the file can be read and compared.
  mutating func newline() { text += "\n" }

  private mutating func open(_ tag: String, _ attributes: KeyValuePairs<String, String>) {
    text += "<" + tag
    for (name, value) in attributes { text += " \(name)=\"\(Self.escaped(value))\"" }
  }

  /// The text with `& < > " '` as references; control characters, which XML forbids, and marks that turn the
  /// direction of writing, which can make a name look like another, become U+FFFD.
  static func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      case "\n", "\t": result.unicodeScalars.append(scalar)
      case _ where isUnsafe(scalar): result += "\u{FFFD}"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  /// Whether a character may not, or should not, stand in a report.
  static func isUnsafe(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0..<0x20, 0x7F..<0xA0, 0x200E...0x200F, 0x2028...0x202E, 0x2066...0x2069, 0xFFFE...0xFFFF: true
    default: false
    }
  }
}
