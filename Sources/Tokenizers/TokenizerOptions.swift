import StrictJSON

/// What a `tokenizer_config.json` says beside the tokenizer itself; all of it optional.
///
/// ``Tokenizer`` does nothing of this by itself: who builds a prompt decides.
public struct TokenizerOptions: Sendable, Equatable {
  /// The begin-of-text token.
  public let bosToken: String?
  /// The end-of-text token.
  public let eosToken: String?
  /// Whether texts start with ``bosToken``; `nil` where the file does not say.
  public let addsBOSToken: Bool?
  /// Whether texts end with ``eosToken``; `nil` where the file does not say.
  public let addsEOSToken: Bool?
  /// The class that Python's transformers would use.
  public let tokenizerClass: String?
  /// The chat template's source; of several, the one named `default`.
  public let chatTemplate: String?
  /// The tokens of `added_tokens_decoder`, by id; a `tokenizer.json` has them too, a `tokenizer.model` has not.
  public let addedTokens: [AddedToken]
  /// Whether SentencePiece's leading ▁ is put before the text after an added token too; `nil` where the file does
  /// not say.
  public let isLegacy: Bool?

  /// Reads a `tokenizer_config.json`.
  ///
  /// - Parameters:
  ///   - json: the file's bytes; Python's `Infinity` and `NaN` are taken.
  ///   - file: its name, for messages.
  public init(json: some Sequence<UInt8>, file: String) throws(TokenizerError) {
    let value: JSONValue
    do { value = try JSONValue(parsing: json, pythonLiterals: true) } catch { throw .notJSON(file: file, error) }
    let root = try Component(value, file: file, path: "")
    bosToken = try Self.token("bos_token", root)
    eosToken = try Self.token("eos_token", root)
    addsBOSToken = root.value("add_bos_token") == nil ? nil : try root.flag("add_bos_token")
    addsEOSToken = root.value("add_eos_token") == nil ? nil : try root.flag("add_eos_token")
    tokenizerClass = try root.optionalString("tokenizer_class")
    isLegacy = root.value("legacy") == nil ? nil : try root.flag("legacy")
    var tokens: [AddedToken] = []
    if let entries = try root.child("added_tokens_decoder") {
      for entry in entries.object.members {
        let component = try Component(entry.value, file: file, path: entries.place(entry.name))
        tokens.append(try AddedToken(component, id: entry.name))
      }
    }
    addedTokens = tokens.sorted { $0.id < $1.id }
    chatTemplate = try Self.chatTemplate(root)
  }

  /// A template is a string, or one of a list of objects with `name` and `template`.
  private static func chatTemplate(_ root: Component) throws(TokenizerError) -> String? {
    guard let value = root.value("chat_template") else { return nil }
    guard value.arrayValue != nil else { return try root.string("chat_template") }
    for entry in try root.children("chat_template") where try entry.string("name") == "default" {
      return try entry.string("template")
    }
    return nil
  }

  /// A token is a string, or an object with a `content`.
  private static func token(_ name: String, _ root: Component) throws(TokenizerError) -> String? {
    guard let value = root.value(name) else { return nil }
    if value.objectValue != nil { return try root.child(name)?.string("content") }
    return try root.string(name)
  }
}
