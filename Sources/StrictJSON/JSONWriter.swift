extension JSONValue {
  /// The value as UTF-8 text without spaces, members in their order.
  public var compactText: String {
    var out = ""
    write(into: &out, indent: nil, level: 0)
    return out
  }

  /// The value as UTF-8 text with an indent of two spaces and a newline at the end.
  public var prettyText: String {
    var out = ""
    write(into: &out, indent: 2, level: 0)
    return out + "\n"
  }

  private func write(into out: inout String, indent: Int?, level: Int) {
    switch self {
    case .null: out += "null"
    case .bool(let value): out += value ? "true" : "false"
    case .number(let text): out += text
    case .string(let text): Self.write(text, into: &out)
    case .array(let elements):
      // Short lists of numbers read better on one line.
      let flat = elements.allSatisfy { if case .number = $0 { true } else { false } }
      Self.writeList(elements, "[", "]", into: &out, indent: flat ? nil : indent, level: level) { element, out in
        element.write(into: &out, indent: indent, level: level + 1)
      }
    case .object(let object):
      Self.writeList(object.members, "{", "}", into: &out, indent: indent, level: level) { member, out in
        Self.write(member.name, into: &out)
        out += indent == nil ? ":" : ": "
        member.value.write(into: &out, indent: indent, level: level + 1)
      }
    }
  }

  private static func writeList<Element>(
    _ elements: [Element], _ open: String, _ close: String, into out: inout String, indent: Int?, level: Int,
    each: (Element, inout String) -> Void
  ) {
    out += open
    for (index, element) in elements.enumerated() {
      if index > 0 { out += "," }
      if let indent { out += "\n" + String(repeating: " ", count: indent * (level + 1)) }
      each(element, &out)
    }
    if let indent, !elements.isEmpty { out += "\n" + String(repeating: " ", count: indent * level) }
    out += close
  }

  private static func write(_ text: String, into out: inout String) {
    out += "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      case "\t": out += "\\t"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: out.unicodeScalars.append(scalar)
      }
    }
    out += "\""
  }
}
