import StrictJSON

/// Tokens and their ids, one to one.
///
/// Tokens are keyed by their UTF-8, never by `String`: Swift holds é and e + ◌́ for equal, a vocabulary does not.
struct Vocabulary: Sendable {
  /// Ids from here on are refused: the largest published vocabularies have about 2¹⁸ tokens.
  static let idLimit = 1 << 22

  private var ids: [[UInt8]: Int32] = [:]
  private var tokens: [[UInt8]?] = []

  init() {}

  init(_ model: Component) throws(TokenizerError) {
    let members = try model.object("vocab").members
    guard !members.isEmpty else { throw model.malformed("vocab", expected: "at least one token", found: "none") }
    ids.reserveCapacity(members.count)
    tokens.reserveCapacity(members.count)
    for member in members {
      guard let id = member.value.intValue, id >= 0, id < Self.idLimit else {
        throw model.malformed(
          "vocab", expected: "an id from 0 to \(Self.idLimit - 1) for token \"\(member.name)\"",
          found: member.value.intValue.map(String.init) ?? member.value.typeName)
      }
      let bytes = Array(member.name.utf8)
      if let other = self[id] {
        throw model.malformed(
          "vocab", expected: "one token for id \(id)",
          found: "\"\(String(decoding: other, as: UTF8.self))\" and \"\(member.name)\"")
      }
      insert(bytes, id: id)
    }
  }

  /// Adds a token whose content and id are both new.
  mutating func insert(_ token: [UInt8], id: Int) {
    if id >= tokens.count { tokens.append(contentsOf: repeatElement(nil, count: id + 1 - tokens.count)) }
    tokens[id] = token
    ids[token] = Int32(id)
  }

  /// The number of tokens.
  var count: Int { ids.count }

  /// The largest id.
  var largestID: Int { tokens.count - 1 }

  /// The UTF-8 of a token.
  subscript(id: Int) -> [UInt8]? { tokens.indices.contains(id) ? tokens[id] : nil }

  /// The id of a token.
  subscript(token: [UInt8]) -> Int? { ids[token].map(Int.init) }

  /// The id of a token.
  subscript(token: String) -> Int? { self[Array(token.utf8)] }

  /// The tokens of a single scalar.
  var singleScalars: [(scalar: Unicode.Scalar, id: Int32)] {
    ids.compactMap { token, id in
      guard token.count <= 4 else { return nil }
      let scalars = String(decoding: token, as: UTF8.self).unicodeScalars
      guard let scalar = scalars.first, scalars.count == 1 else { return nil }
      return (scalar, id)
    }
  }
}
