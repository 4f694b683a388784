import Foundation
import StrictJSON
import TestSupport
import Testing

@testable import Tokenizers

/// Rendered dialogues against Jinja itself; `Vectors/make_chats.py` says how they were made.
@Suite struct ChatTemplateTests {
  private static let vectors = Vectors.load("chats")
  private static let texts = vectors["texts"]?.arrayValue?.compactMap(\.stringValue) ?? []
  private static let templates = vectors["templates"]?.arrayValue ?? []
  private static let own: [String] = templates.filter { $0["template"] != nil }.compactMap { $0["name"]?.stringValue }
  private static let shared: [String] = templates.filter { $0["template"] == nil }.compactMap {
    $0["name"]?.stringValue
  }
  /// Templates for tools, which are refused.
  private static let refused = ["Hermes"]

  private static func dialogues(_ vectors: JSONValue) -> [[ChatMessage]] {
    (vectors["dialogues"]?.arrayValue ?? []).map { dialogue in
      (dialogue.arrayValue ?? []).compactMap { message in
        guard let pair = message.arrayValue?.compactMap(\.stringValue), pair.count == 2,
          let role = ChatMessage.Role(rawValue: pair[0])
        else { return nil }
        return ChatMessage(role, pair[1])
      }
    }
  }

  /// Compares every dialogue; returns how many both gave a text for.
  private static func compare(_ template: ChatTemplate, _ entry: JSONValue, _ vectors: JSONValue, _ texts: [String])
    -> Int
  {
    var count = 0
    let rows = entry["rows"]?.arrayValue ?? []
    let dialogues = dialogues(vectors)
    #expect(rows.count == 2 * dialogues.count)
    for (index, row) in rows.enumerated() {
      let found = try? template.render(dialogues[index / 2], addGenerationPrompt: index % 2 == 1)
      let expected = row.intValue.map { texts[$0] }
      if found != nil, expected != nil { count += 1 }
      // Refusing more than the template is allowed, giving another text is not.
      guard let found else { continue }
      #expect(
        expected.map { sameScalars($0, found) } == true,
        "dialogue \(index): \(found.debugDescription) \(expected.debugDescription)")
    }
    return count
  }

  @Test(arguments: own) func `a template of each form gives what Jinja gives`(_ name: String) throws {
    let entry = try #require(Self.templates.first { $0["name"]?.stringValue == name })
    let text = try #require(entry["template"]?.stringValue)
    let template = try ChatTemplate(
      recognizing: text, bos: entry["bos"]?.stringValue, eos: entry["eos"]?.stringValue)
    #expect(template.name == entry["form"]?.stringValue)
    #expect(Self.compare(template, entry, Self.vectors, Self.texts) >= 8)
  }

  @Test(.enabled(if: SharedFolder.exists, "needs the shared folder's chat templates"), arguments: shared)
  func `published templates give what Jinja gives, or are refused`(_ name: String) throws {
    let entry = try #require(Self.templates.first { $0["name"]?.stringValue == name })
    let folder = try #require(SharedFolder.path) + "/tokenizers/chat-templates/"
    let text = String(decoding: try Data(contentsOf: URL(filePath: folder + name)), as: UTF8.self)
    if Self.refused.contains(where: name.contains) {
      #expect(throws: TokenizerError.self) { try ChatTemplate(recognizing: text, bos: "<BOS>", eos: "<EOS>") }
      return
    }
    let template = try ChatTemplate(recognizing: text, bos: "<BOS>", eos: "<EOS>")
    #expect(Self.compare(template, entry, Self.vectors, Self.texts) >= 8)
  }

  /// For templates that cannot be in the repository: a file that `make_chats.py --check` wrote.
  @Test(.enabled(if: ProcessInfo.processInfo.environment["QUANTIZE_CHATS"] != nil, "needs QUANTIZE_CHATS"))
  func `templates of a file give what Jinja gives`() throws {
    let path = try #require(ProcessInfo.processInfo.environment["QUANTIZE_CHATS"])
    let vectors = try JSONValue(parsing: Data(contentsOf: URL(filePath: path)))
    let texts = vectors["texts"]?.arrayValue?.compactMap(\.stringValue) ?? []
    for entry in vectors["templates"]?.arrayValue ?? [] {
      let name = entry["name"]?.stringValue ?? ""
      do {
        let template = try ChatTemplate(
          recognizing: entry["template"]?.stringValue ?? "", bos: entry["bos"]?.stringValue,
          eos: entry["eos"]?.stringValue)
        let count = Self.compare(template, entry, vectors, texts)
        print("\(name): \(template.name), \(count) dialogues")
      } catch { print("\(name): \(error)") }
    }
  }
}
