/// One turn of a dialogue.
public struct ChatMessage: Sendable, Equatable {
  /// Who speaks.
  public enum Role: String, Sendable, CaseIterable {
    /// Instructions that come before the dialogue.
    case system
    case user
    case assistant
  }

  /// Who speaks.
  public let role: Role
  /// What is said.
  public let content: String

  /// A turn.
  public init(_ role: Role, _ content: String) {
    self.role = role
    self.content = content
  }
}

extension Unicode.Scalar {
  /// What Python's `strip()` takes away.
  var isPythonSpace: Bool { isSpace || (0x1C...0x1F).contains(value) }
}

extension String {
  /// Without the scalars of a kind at either end.
  func trimmed(_ isDropped: (Unicode.Scalar) -> Bool = \.isPythonSpace) -> String {
    trimmedStart(isDropped).trimmedEnd(isDropped)
  }

  /// Without the scalars of a kind at the start.
  func trimmedStart(_ isDropped: (Unicode.Scalar) -> Bool) -> String {
    String(scalars: Array(unicodeScalars.drop(while: isDropped)))
  }

  /// Without the scalars of a kind at the end.
  func trimmedEnd(_ isDropped: (Unicode.Scalar) -> Bool) -> String {
    String(scalars: Array(unicodeScalars.reversed().drop(while: isDropped).reversed()))
  }

  /// The parts between the places where another text stands, scalar for scalar; itself where there is none.
  func components(around separator: String) -> [String] {
    let (text, mark) = (Array(utf8), Array(separator.utf8))
    var parts: [String] = []
    var start = 0
    var index = 0
    while index + mark.count <= text.count {
      if text[index..<index + mark.count].elementsEqual(mark) {
        parts.append(String(decoding: text[start..<index], as: UTF8.self))
        index += mark.count
        start = index
      } else {
        index += 1
      }
    }
    return parts + [String(decoding: text[start...], as: UTF8.self)]
  }
}
