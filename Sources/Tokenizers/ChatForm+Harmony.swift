/// gpt-oss: every message names its channel, and the instructions come from the developer.
struct HarmonyForm: ChatForm {
  let name = "gpt-oss (harmony)"
  let marks: Set<String> = [
    "<|start|>", "<|message|>", "<|end|>", "<|channel|>", "<|return|>", "<|call|>", "<|final|>",
  ]
  /// Nearly all of its sentences are about tools; those that are printed are required one by one.
  let sentences: [String]
  let strayText: String
  private let prompt: String

  private static let start = "<|start|>assistant"
  private static let final = "<|channel|>final<|message|>"
  private static let identity = "You are ChatGPT, a large language model trained by OpenAI."
  private static let channels =
    "# Valid channels: analysis, commentary, final. Channel must be included for every message."

  init?(_ source: ChatTemplateSource) {
    guard
      source.has(
        all: "{%set model_identity=\"\(Self.identity)\"%}",
        "{{model_identity+\"\nKnowledge cutoff: 2024-06\nCurrent date: \"+strftime_now(\"%Y-%m-%d\")+\"\n\n\"}}",
        "{%set reasoning_effort=\"medium\"%}", "{{\"Reasoning: \"+reasoning_effort+\"\n\n\"}}",
        "{{\"\(Self.channels)\"}}",
        "{{\"<|start|>system<|message|>\"+build_system_message()+\"<|end|>\"}}",
        "{{\"<|start|>developer<|message|>\"}}", "{{\"# Instructions\n\n\"+developer_message+\"\n\n\"}}",
        "{{\"<|start|>user<|message|>\"+message.content+\"<|end|>\"}}",
        "{{\"<|start|>assistant<|channel|>final<|message|>\"+message.content+\"<|return|>\"}}",
        "{{\"<|start|>assistant<|channel|>final<|message|>\"+message.content+\"<|end|>\"}}"),
      source.has("{%if add_generation_prompt%}\(Self.start){%endif%}")
        || source.has("{%if add_generation_prompt%}\(Self.start)\(Self.final){%endif%}")
    else { return nil }
    // The tools' macros print blanks.
    strayText = source.strayText
    prompt = source.strayText.trimmed()
    guard prompt == Self.start || prompt == Self.start + Self.final else { return nil }
    sentences = source.sentences
  }

  func render(_ messages: [ChatMessage], addGenerationPrompt: Bool) throws(TokenizerError) -> String {
    var text = "<|start|>system<|message|>\(Self.identity)\nKnowledge cutoff: 2024-06\n"
    text += "Current date: \(ChatDate.numeric)\n\nReasoning: medium\n\n\(Self.channels)<|end|>"
    var turns = messages[...]
    if messages[0].role == .system {
      turns.removeFirst()
      if !messages[0].content.isEmpty {
        text += "<|start|>developer<|message|># Instructions\n\n\(messages[0].content)\n\n<|end|>"
      }
    }
    for (index, message) in turns.enumerated() {
      switch message.role {
      case .system: break
      case .user: text += "<|start|>user<|message|>\(message.content)<|end|>"
      case .assistant:
        for channel in ["analysis", "final"] where message.content.contains("<|channel|>\(channel)<|message|>") {
          throw .dialogue(problem: "has an answer that spells out its channels; gpt-oss wants what was said only")
        }
        let isLast = index == turns.count - 1 && !addGenerationPrompt
        text += "<|start|>assistant<|channel|>final<|message|>\(message.content)\(isLast ? "<|return|>" : "<|end|>")"
      }
    }
    return addGenerationPrompt ? text + prompt : text
  }
}
