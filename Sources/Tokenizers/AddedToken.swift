import StrictJSON

/// A token that is found in the text before any splitting, such as `<|im_start|>`.
public struct AddedToken: Sendable, Equatable {
  /// The token's id.
  public let id: Int
  /// The text that stands for it.
  public let content: String
  /// Whether decoding can leave it out.
  public let isSpecial: Bool
  /// Whether it is found in the normalized text, in its own normalized form, rather than in the text as given.
  public let isNormalized: Bool
  /// Whether it must not touch a word character on either side.
  public let isSingleWord: Bool
  /// Whether it takes the white space on its left with it.
  public let stripsLeft: Bool
  /// Whether it takes the white space on its right with it.
  public let stripsRight: Bool

  /// Equal byte for byte: composed and decomposed letters are two contents.
  public static func == (a: AddedToken, b: AddedToken) -> Bool {
    a.id == b.id && a.bytes == b.bytes && a.isSpecial == b.isSpecial && a.isNormalized == b.isNormalized
      && a.isSingleWord == b.isSingleWord && a.stripsLeft == b.stripsLeft && a.stripsRight == b.stripsRight
  }

  /// The content's UTF-8.
  var bytes: [UInt8] { Array(content.utf8) }

  /// A token that only its content and kind describe.
  init(id: Int, _ content: [UInt8], isSpecial: Bool, isNormalized: Bool) {
    self.id = id
    self.content = String(decoding: content, as: UTF8.self)
    self.isSpecial = isSpecial
    self.isNormalized = isNormalized
    (isSingleWord, stripsLeft, stripsRight) = (false, false, false)
  }

  /// - Parameter name: the id where it is the entry's name, as in a `tokenizer_config.json`.
  init(_ entry: Component, id name: String? = nil) throws(TokenizerError) {
    if let name {
      guard let number = Int(name), number >= 0, String(number) == name else {
        throw entry.malformed("id", expected: "an id as the name of the entry", found: "\"\(name)\"")
      }
      id = number
    } else {
      id = try entry.count("id")
    }
    guard id < Vocabulary.idLimit else {
      throw entry.malformed("id", expected: "an id below \(Vocabulary.idLimit)", found: "\(id)")
    }
    content = try entry.string("content")
    isSpecial = try entry.flag("special")
    isNormalized = try entry.flag("normalized")
    isSingleWord = try entry.flag("single_word")
    stripsLeft = try entry.flag("lstrip")
    stripsRight = try entry.flag("rstrip")
  }

  /// The `added_tokens` of a file; contents and ids that occur twice are refused.
  static func all(in file: Component) throws(TokenizerError) -> [AddedToken] {
    guard file.value("added_tokens") != nil else { return [] }
    var tokens: [AddedToken] = []
    var contents: Set<[UInt8]> = []
    var ids: Set<Int> = []
    for entry in try file.children("added_tokens") {
      let token = try AddedToken(entry)
      guard contents.insert(token.bytes).inserted else {
        throw entry.malformed("content", expected: "each content once", found: "\"\(token.content)\" again")
      }
      guard ids.insert(token.id).inserted else {
        throw entry.malformed("id", expected: "each id once", found: "\(token.id) again")
      }
      tokens.append(token)
    }
    return tokens
  }

  /// Refuses a token whose id the model's vocabulary contradicts.
  func check(against vocabulary: Vocabulary, file: String) throws(TokenizerError) {
    if let known = vocabulary[bytes] {
      guard known == id else {
        throw .malformed(
          file: file, component: "added_tokens", expected: "id \(known) of the vocabulary for \"\(content)\"",
          found: "\(id)")
      }
    } else if let other = vocabulary[id] {
      throw .malformed(
        file: file, component: "added_tokens",
        expected: "\"\(String(decoding: other, as: UTF8.self))\" of the vocabulary for id \(id)",
        found: "\"\(content)\"")
    }
  }
}
