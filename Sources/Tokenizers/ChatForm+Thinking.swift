/// Qwen 3: ChatML that keeps an answer's thoughts only after the user's last question.
struct Qwen3Form: ChatForm {
  let name = "Qwen 3"
  let marks: Set<String> = ["<|im_start|>", "<|im_end|>", "<think>", "</think>"]
  let rewritingNames: Set<String> = ["strip", "lstrip", "rstrip", "split"]
  private let prompt: String

  init?(_ source: ChatTemplateSource) {
    let start = "\"<|im_start|>\"+message.role+\"\n"
    let thoughts = ".split(\"</think>\")[0].rstrip(\"\n\").split(\"<think>\")[-1].lstrip(\"\n\")"
    guard
      source.has(
        all: "{{\(start)<think>\n\"+reasoning_content.strip(\"\n\")+\"\n</think>\n\n\"+content.lstrip(\"\n\")}}",
        "{{\(start)\"+content}}", "{%if loop.index0>ns.last_query_index%}", thoughts,
        ".split(\"</think>\")[-1].lstrip(\"\n\")", "{%if loop.last or(not loop.last and reasoning_content)%}"),
      let prompt = source.text(after: "{%if add_generation_prompt%}{{\"", before: "\"")
    else { return nil }
    self.prompt = prompt
  }

  func render(_ messages: [ChatMessage], addGenerationPrompt: Bool) throws(TokenizerError) -> String {
    let lastQuestion =
      messages.lastIndex {
        $0.role == .user
          && !($0.content.hasPrefix("<tool_response>") && $0.content.hasSuffix("</tool_response>"))
      } ?? messages.count - 1
    func isNewline(_ scalar: Unicode.Scalar) -> Bool { scalar == "\n" }
    var text = ""
    for (index, message) in messages.enumerated() {
      text += "<|im_start|>\(message.role.rawValue)\n"
      guard message.role == .assistant else {
        text += message.content + "<|im_end|>\n"
        continue
      }
      var content = message.content
      var thoughts = ""
      let parts = content.components(around: "</think>")
      if parts.count > 1 {
        content = (parts.last ?? "").trimmedStart(isNewline)
        thoughts = (parts[0].trimmedEnd(isNewline).components(around: "<think>").last ?? "").trimmedStart(isNewline)
      }
      if index > lastQuestion, index == messages.count - 1 || !thoughts.isEmpty {
        text += "<think>\n" + thoughts.trimmed(isNewline) + "\n</think>\n\n" + content.trimmedStart(isNewline)
      } else {
        text += content
      }
      text += "<|im_end|>\n"
    }
    return addGenerationPrompt ? text + prompt : text
  }
}

/// SmolLM 3: ChatML with instructions that name dates and how to think.
struct SmolLM3Form: ChatForm {
  let name = "SmolLM 3"
  let marks: Set<String> = ["<|im_start|>", "<|im_end|>", "<think>", "</think>"]
  let sentences: [String]
  let rewritingNames: Set<String> = ["replace", "lstrip", "rstrip"]
  private let cutoff: String
  private let thinking: String
  private let plain: String

  init?(_ source: ChatTemplateSource) {
    let metadata = "{{\"## Metadata\n\nKnowledge Cutoff Date: "
    let standards = source.strings.filter { $0.hasPrefix("You are a helpful AI assistant") }
    guard standards.count == 2, let cutoff = source.text(after: metadata, before: "\n\""),
      source.has(
        all:
          "{%set today=strftime_now(\"%d %B %Y\")%}{{\"Today Date: \"~today~\"\nReasoning Mode: \"+reasoning_mode+\"\n\n",
        "system_message.replace(\"/no_think\",\"\").replace(\"/think\",\"\").rstrip()",
        "{{custom_instructions.replace(\"/system_override\",\"\").rstrip()+\"<|im_end|>\n\"}}",
        "{%elif reasoning_mode==\"/think\"%}{{\"\(standards[0])\"}}{%else%}{{\"\(standards[1])\"}}{%endif%}",
        // The instructions' end is printed with tools only.
        "{{python_tool_string}}{%endif%}{{\"\n\n<|im_end|>\n\"}}{%endif%}{%endif%}",
        "{{\"<|im_start|>assistant\n<think>\n\n</think>\n\"+content.lstrip(\"\n\")+\"<|im_end|>\n\"}}",
        "{%set enable_thinking=true%}")
    else { return nil }
    self.cutoff = cutoff
    (thinking, plain) = (standards[0], standards[1])
    sentences = standards + ["Knowledge Cutoff Date: \(cutoff)\n"]
  }

  func render(_ messages: [ChatMessage], addGenerationPrompt: Bool) throws(TokenizerError) -> String {
    let system = messages[0].role == .system ? messages[0].content : nil
    let thinks = !(system?.contains("/no_think") ?? false)
    let own = (system ?? "").components(around: "/no_think").joined().components(around: "/think").joined()
      .trimmedEnd(\.isPythonSpace)
    var text = "<|im_start|>system\n"
    if let system, system.contains("/system_override") {
      text += own.components(around: "/system_override").joined().trimmedEnd(\.isPythonSpace) + "<|im_end|>\n"
    } else {
      text += "## Metadata\n\nKnowledge Cutoff Date: \(cutoff)\nToday Date: \(ChatDate.long)\n"
      text += "Reasoning Mode: \(thinks ? "/think" : "/no_think")\n\n## Custom Instructions\n\n"
      text += own.isEmpty ? (thinks ? thinking : plain) : own + "\n\n"
    }
    let answer = "<|im_start|>assistant\n" + (thinks ? "" : "<think>\n\n</think>\n")
    for message in messages {
      switch message.role {
      case .system: break
      case .user: text += "<|im_start|>user\n" + message.content + "<|im_end|>\n"
      case .assistant: text += answer + message.content.trimmedStart { $0 == "\n" } + "<|im_end|>\n"
      }
    }
    return addGenerationPrompt ? text + answer : text
  }
}
