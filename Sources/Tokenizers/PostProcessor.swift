import StrictJSON

/// The tokens that are put around a text, such as a begin-of-text token.
struct PostProcessor: Sendable {
  private(set) var prefix: [Int] = []
  private(set) var suffix: [Int] = []

  private var hasTemplate = false

  private static let supported = ["ByteLevel", "Sequence", "TemplateProcessing"]

  init(prefix: [Int] = [], suffix: [Int] = []) {
    self.prefix = prefix
    self.suffix = suffix
  }

  /// - Parameter isKnown: whether an id is a token's.
  init(_ component: Component, isKnown: (Int) -> Bool) throws(TokenizerError) {
    switch try component.string("type") {
    case "ByteLevel": break  // Only changes offsets, which nobody asks for here.
    case "TemplateProcessing":
      hasTemplate = true
      try readTemplate(component, isKnown)
    case "Sequence":
      for child in try component.children("processors") {
        let inner = try PostProcessor(child, isKnown: isKnown)
        // The reference quietly drops what a second template would add.
        guard !hasTemplate || !inner.hasTemplate else {
          throw component.malformed("processors", expected: "at most one template", found: "another one")
        }
        if inner.hasTemplate { self = inner }
      }
    default: throw try component.unsupported(Self.supported)
    }
  }

  /// Reads the template for one text; the one for pairs is not needed.
  private mutating func readTemplate(_ component: Component, _ isKnown: (Int) -> Bool) throws(TokenizerError) {
    var hasText = false
    for piece in try component.children("single") {
      if let sequence = try piece.child("Sequence") {
        let name = try sequence.string("id")
        guard name == "A", !hasText else {
          throw component.malformed("single", expected: "sequence A once", found: hasText ? "another one" : name)
        }
        hasText = true
      } else if let token = try piece.child("SpecialToken") {
        let ids = try Self.ids(of: try token.string("id"), in: component, isKnown)
        if hasText { suffix += ids } else { prefix += ids }
      } else {
        throw .unsupported(
          file: component.file, component: piece.path, found: piece.object.members.first?.name ?? "nothing",
          supported: ["Sequence", "SpecialToken"])
      }
    }
    guard hasText else { throw component.malformed("single", expected: "sequence A once", found: "none") }
  }

  private static func ids(
    of name: String, in component: Component, _ isKnown: (Int) -> Bool
  ) throws(TokenizerError) -> [Int] {
    let tokens = try component.object("special_tokens").members
    guard let member = tokens.first(where: { $0.name.utf8.elementsEqual(name.utf8) }) else {
      throw component.malformed("special_tokens", expected: "a definition of \"\(name)\"", found: "none")
    }
    let definition = try Component(member.value, file: component.file, path: component.place("special_tokens"))
    var ids: [Int] = []
    for value in try definition.array("ids") {
      guard let id = value.intValue, isKnown(id) else {
        throw component.malformed(
          "special_tokens", expected: "a token's id for \"\(name)\"",
          found: value.intValue.map(String.init) ?? value.typeName)
      }
      ids.append(id)
    }
    return ids
  }
}
