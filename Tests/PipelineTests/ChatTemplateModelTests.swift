import Foundation
import Pipeline
import TestSupport
import Testing
import Tokenizers

/// Where a model's chat template comes from.
@Suite struct ChatTemplateModelTests {
  private static let chatML =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    + "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

  @Test func `the file goes before the configuration, and what is missing or unknown is named`() throws {
    let bench = try Workbench()
    func name() throws -> String { try ModelInputs(try ModelInputs.openModel(bench.model)).chatTemplate().name }
    #expect(refusal { _ = try name() }.contains("has no chat template (chat_template.jinja"))
    try bench.folder.write("model/tokenizer_config.json", #"{"chat_template":"{{ messages }}"}"#)
    let words = refusal { _ = try name() }
    #expect(words.contains("tokenizer_config.json: the chat template is of no form that is known here"))
    #expect(words.contains(#"(it starts "{{ messages }}")"#))
    try bench.folder.write("model/chat_template.jinja", Self.chatML)
    #expect(try name() == "ChatML")
  }
}
