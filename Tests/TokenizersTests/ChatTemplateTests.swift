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

/// What is refused, and what becomes of rendered dialogues.
@Suite struct ChatTemplateRefusalTests {
  private static let loop =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    + "{% endfor %}"
  private static let prompt = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

  private static func message(_ template: String, eos: String? = nil) -> String {
    do {
      return try ChatTemplate(recognizing: template, bos: nil, eos: eos, file: "t").name
    } catch { return "\(error)" }
  }

  @Test func `a template that prints more than its form is refused`() {
    let (loop, prompt) = (Self.loop, Self.prompt)
    #expect(Self.message(loop + prompt) == "ChatML")
    #expect(
      Self.message("{{ messages }}\nand so on")
        == "t: the chat template is of no form that is known here (it starts \"{{ messages }} and so on\"); give texts "
        + "that are already rendered, as lines with \"text\" in a .jsonl file or as plain text")
    #expect(Self.message("{{ 'x").contains("a tag or a string that never ends"))
    #expect(Self.message(loop + "{{ '<|think|>' }}" + prompt).contains("looks like ChatML, but has <|think|>"))
    #expect(
      Self.message("{{ 'You are always very polite.' }}" + loop + prompt).contains("but prints \"You are always very"))
    #expect(Self.message("\n" + loop + "x" + prompt).contains("but prints text between its tags"))
    #expect(
      Self.message("{% set x = messages[0]['content'] | upper %}" + loop + prompt).contains("what is said (upper)"))
    #expect(
      Self.message(loop + prompt + "{{ eos_token }}").contains("prints the end token, and the tokenizer names none"))
    #expect(Self.message("").contains("no form that is known"))
  }

  @Test func `dialogues that a form does not take are refused`() throws {
    func words(_ form: String, _ messages: [ChatMessage]) throws -> String {
      let entry = try #require(
        Vectors.load("chats")["templates"]?.arrayValue?.first { $0["name"]?.stringValue == form })
      let template = try ChatTemplate(
        recognizing: try #require(entry["template"]?.stringValue), bos: "<s>", eos: "</s>")
      do {
        return try template.render(messages, addGenerationPrompt: true)
      } catch { return "\(error)" }
    }
    #expect(try words("gemma 2", [ChatMessage(.system, "x")]).contains("system message, and Gemma takes none"))
    #expect(
      try words("gemma 3", [ChatMessage(.user, "x"), ChatMessage(.user, "y")])
        == "the dialogue has turn 2 from the user; Gemma wants user and assistant in turn")
    #expect(try words("mistral 1", [ChatMessage(.system, "x")]).contains("takes none"))
    #expect(try words("gpt-oss", [ChatMessage(.assistant, "<|channel|>final<|message|>")]).contains("channels"))
    #expect(try words("chatml", []) == "the dialogue has no messages")
  }

  @Test func `no damaged template makes the reader trap`() throws {
    let texts = (Vectors.load("chats")["templates"]?.arrayValue ?? []).compactMap { $0["template"]?.stringValue }
    var generator = SeededGenerator(seed: 11)
    for _ in 0..<1500 {
      var text = Array(try #require(texts.randomElement(using: &generator)).unicodeScalars)
      for _ in 0..<Int.random(in: 1...4, using: &generator) where !text.isEmpty {
        let place = Int.random(in: text.indices, using: &generator)
        switch Int.random(in: 0..<3, using: &generator) {
        case 0: text.remove(at: place)
        case 1:
          text.insert(["{", "}", "%", "\"", "\\", "-", "#", "["].randomElement(using: &generator) ?? "{", at: place)
        default: text.removeSubrange(place..<min(text.count, place + Int.random(in: 1...40, using: &generator)))
        }
      }
      if let template = try? ChatTemplate(recognizing: String(scalars: text), bos: "<s>", eos: "</s>") {
        _ = try? template.render([ChatMessage(.user, "a"), ChatMessage(.assistant, "b")], addGenerationPrompt: true)
      }
    }
  }

  @Test(.enabled(if: SharedFolder.exists, "needs the shared folder's tokenizers"))
  func `a rendered dialogue holds the special tokens, the begin token once`() throws {
    let folder = try #require(SharedFolder.path) + "/tokenizers/"
    func data(_ path: String) throws -> Data { try Data(contentsOf: URL(filePath: folder + path)) }
    let tokenizer = try Tokenizer(json: data("llama3.1/tokenizer.json"), file: "llama3.1")
    let source = String(decoding: try data("chat-templates/meta-llama-Llama-3.1-8B-Instruct.jinja"), as: UTF8.self)
    let template = try ChatTemplate(recognizing: source, bos: "<|begin_of_text|>", eos: "<|eot_id|>")
    let text = try template.render(
      [ChatMessage(.user, "Hi"), ChatMessage(.assistant, "Yo")], addGenerationPrompt: false)
    let ids = tokenizer.encode(text, addingSpecialTokens: false)
    #expect(ids.first == 128000 && ids.count { $0 == 128000 } == 1)
    #expect(ids.count { $0 == 128006 } == 3 && ids.count { $0 == 128007 } == 3 && ids.count { $0 == 128009 } == 3)
    #expect(tokenizer.decode(ids, skippingSpecialTokens: false) == text)
  }
}
