import Foundation
import TestSupport
import Testing
import Tokenizers

@testable import Pipeline

/// Dialogues in `.jsonl` files.
@Suite struct ChatLineTests {
  private static func read(_ line: String) throws -> ChatLine { try ChatLine(line.utf8, place: "a.jsonl line 7") }

  private static func message(_ line: String) -> String {
    do {
      return "\(try read(line))"
    } catch { return "\(error)" }
  }

  @Test func `every spelling of a dialogue is read`() throws {
    let dialogue = ChatLine.dialogue([ChatMessage(.user, "a"), ChatMessage(.assistant, "b")])
    let instructed = ChatLine.dialogue([
      ChatMessage(.system, "s"), ChatMessage(.user, "a"), ChatMessage(.assistant, "b"),
    ])
    #expect(try Self.read(#"{"text":"x","messages":3}"#) == .text("x"))
    #expect(
      try Self.read(#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}"#) == dialogue)
    #expect(
      try Self.read(
        #"{"messages":[{"role":"developer","content":"s"},{"role":"user","content":[{"type":"text","text":"a"}]},"#
          + #"{"role":"model","content":"b","tool_calls":null}]}"#) == instructed)
    #expect(
      try Self.read(#"{"conversations":[{"from":"human","value":"a"},{"from":"gpt","value":"b"}],"id":1}"#) == dialogue)
    #expect(
      try Self.read(#"{"system":"s","conversations":[{"from":"user","value":"a"},{"role":"assistant","content":"b"}]}"#)
        == instructed)
    #expect(try Self.read(#"{"prompt":"a","completion":"b"}"#) == dialogue)
    #expect(
      try Self.read(#"{"prompt":[{"role":"user","content":"a"}],"completion":[{"role":"assistant","content":"b"}]}"#)
        == dialogue)
    #expect(try Self.read(#"{"instruction":"a","input":"","output":"b"}"#) == dialogue)
    #expect(
      try Self.read(#"{"instruction":"a","input":"i","output":"b","system":null}"#)
        == .dialogue([ChatMessage(.user, "a\n\ni"), ChatMessage(.assistant, "b")]))
  }

  @Test(arguments: [
    ("{", "a.jsonl line 7: expected a line of JSON"),
    ("[1]", "a.jsonl line 7: expected an object, found an array"),
    (#"{"text":1}"#, #"a.jsonl line 7: expected a string "text", found a number"#),
    (#"{"a":1}"#, #"or "instruction" and "output", found "a""#),
    (#"{"prompt":"x"}"#, #"found "prompt""#),
    (#"{"messages":[]}"#, #"expected a list of messages "messages", found an empty one"#),
    (#"{"messages":"x"}"#, #"expected a list of messages "messages", found a string"#),
    (
      #"{"messages":[{"role":"user","content":"a"},3]}"#,
      "a.jsonl line 7, message 2: expected an object, found a number"
    ),
    (
      #"{"messages":[{"role":"tool","content":"a"}]}"#,
      #"message 1: expected the role system, user (human) or assistant"#
    ),
    (#"{"messages":[{"role":"assistant","content":null}]}"#, #"expected a string "content", found null"#),
    (#"{"messages":[{"role":"assistant","content":"","tool_calls":[{}]}]}"#, "message 1: calls tools"),
    (#"{"messages":[{"role":"user","content":[{"type":"image"}]}]}"#, "expected parts of the type text, found image"),
    (#"{"conversations":[{"from":"human"}]}"#, #"expected a string "value", found nothing"#),
    (#"{"instruction":"x","input":3,"output":"y"}"#, #"expected a string "input", found a number"#),
  ])
  func `a bad line is refused by its number`(_ line: String, _ words: String) {
    #expect(Self.message(line).contains(words), "\(Self.message(line))")
  }

  private static let template =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    + "message['content'] + '<|im_end|>\\n' }}{% endfor %}"
    + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

  @Test func `dialogues are rendered, texts are not, and empty lines count`() throws {
    let folder = try TestFolder()
    let file = try folder.write(
      "a.jsonl", "{\"text\":\"plain\"}\r\n\r\n{\"prompt\":\"a\",\"completion\":\"b\"}\r\n")
    var asked = 0
    let source = try TextSource([file, file]) {
      asked += 1
      return try ChatTemplate(recognizing: Self.template, bos: nil, eos: nil)
    }
    let rendered = "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
    #expect(source.documents == ["plain", rendered, "plain", rendered])
    #expect(source.chatForm == "ChatML" && asked == 1)
    let texts = try folder.write("t.jsonl", "{\"text\":\"plain\"}\n")
    #expect(try TextSource([texts]) { throw PipelineError.input("never asked") }.chatForm == nil)

    let bad = try folder.write("b.jsonl", "\n\n{\"prompt\":\"a\",\"completion\":2}\n")
    #expect(refusal { _ = try TextSource([bad]) }.contains("b.jsonl line 3: expected a string \"completion\""))
    #expect(refusal { _ = try TextSource([file]) }.contains("a.jsonl line 3: a dialogue needs a model's chat template"))
  }

  @Test func `a dialogue that the template does not take is refused by its line`() throws {
    let folder = try TestFolder()
    let file = try folder.write("a.jsonl", "{\"messages\":[{\"role\":\"system\",\"content\":\"x\"}]}\n")
    let gemma =
      "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
      + "{% endif %}{% for message in messages %}{% if message['role'] == 'assistant' %}{% set role = 'model' %}"
      + "{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' + "
      + "message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}"
      + "{{ '<start_of_turn>model\\n' }}{% endif %}"
    let words = refusal {
      _ = try TextSource([file]) { try ChatTemplate(recognizing: gemma, bos: "<bos>", eos: nil) }
    }
    #expect(words.contains("a.jsonl line 1: the dialogue has a system message, and Gemma takes none"))
  }
}
