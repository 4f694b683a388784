/// DeepSeek V3, V3.1 and R1, and the models distilled from it.
struct DeepSeekForm: ChatForm {
  /// How an answer follows what came before.
  private enum Answer: Sendable {
    /// Each answer has the mark in front.
    case marked
    /// The question's turn ended with the mark.
    case afterQuestion
    /// The mark and a closed thought stand in front of an answer to a question (V3.1).
    case closingThought
  }

  let name = "DeepSeek V3"
  let marks: Set<String> = ["<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "<think>", "</think>"]
  let rewritingNames: Set<String>
  private let begin: String
  /// Between several system messages; `nil` where the last one counts.
  private let systemSeparator: String?
  private let answer: Answer
  /// Whether only what follows the first, or the last, `</think>` of an answer is kept; `nil` for all of it.
  private let dropsThoughtsToLast: Bool?
  private let prompt: String
  private static let mark = "<｜Assistant｜>"
  private static let end = "<｜end▁of▁sentence｜>"

  init?(_ source: ChatTemplateSource, bos: String) {
    let (mark, end) = (Self.mark, Self.end)
    guard source.has("{{bos_token+ns.system_prompt}}") else { return nil }
    begin = bos
    if source.has("{%set ns.system_prompt=message.content%}") {
      systemSeparator = nil
    } else {
      guard source.has("{%set ns.system_prompt=ns.system_prompt+message.content%}"),
        let separator = source.text(after: "ns.system_prompt=ns.system_prompt+\"", before: "\"")
      else { return nil }
      systemSeparator = separator
    }
    let drops = source.has("{%set content=content.split(\"</think>\")[-1]%}")
    let said = source.has("{%set content=message.content%}") ? "content" : "message.content"
    let ifAsked = "{%if add_generation_prompt and"
    if source.has(
      all: "{{\"<｜User｜>\"+message.content}}", "{{\"\(mark)\"+\(said)+\"\(end)\"}}", "\(ifAsked) not ns.is_tool%}"),
      let prompt = source.text(after: "\(ifAsked) not ns.is_tool%}{{\"", before: "\"")
    {
      (answer, self.prompt) = (.marked, prompt)
      dropsThoughtsToLast = drops ? true : nil
    } else if source.has(
      all: "{{\"<｜User｜>\"+message.content+\"\(mark)\"}}", "{{\(said)+\"\(end)\"}}",
      "\(ifAsked) not ns.is_last_user and not ns.is_tool%}{{\"\(mark)\"}}")
    {
      (answer, prompt) = (.afterQuestion, mark)
      dropsThoughtsToLast = drops ? true : nil
    } else if source.has(
      all: "{{\"<｜User｜>\"+message.content}}", "{%if ns.is_last_user%}{{\"\(mark)\"}}{%if message.prefix",
      "{{\"<think>\"}}{%else%}{{\"</think>\"}}{%endif%}", "{%set content=content.split(\"</think>\",1)[1]%}",
      "{{content+\"\(end)\"}}", "{%set thinking=false%}",
      "\(ifAsked) ns.is_last_user and not ns.is_tool%}{{\"\(mark)\"}}{%if not thinking%}{{\"</think>\"}}")
    {
      (answer, prompt) = (.closingThought, mark + "</think>")
      dropsThoughtsToLast = false
    } else {
      return nil
    }
    rewritingNames = dropsThoughtsToLast == nil ? [] : ["split"]
  }

  func render(_ messages: [ChatMessage], addGenerationPrompt: Bool) throws(TokenizerError) -> String {
    let systems = messages.filter { $0.role == .system }.map(\.content)
    var text = begin + (systemSeparator.map { systems.joined(separator: $0) } ?? systems.last ?? "")
    var isAfterQuestion = false
    for message in messages {
      switch message.role {
      case .system: continue
      case .user:
        text += "<｜User｜>" + message.content
        if case .afterQuestion = answer { text += Self.mark }
        isAfterQuestion = true
      case .assistant:
        switch answer {
        case .marked: text += Self.mark
        case .afterQuestion: break
        case .closingThought: if isAfterQuestion { text += Self.mark + "</think>" }
        }
        isAfterQuestion = false
        text += spoken(message.content) + Self.end
      }
    }
    guard addGenerationPrompt else { return text }
    return switch answer {
    case .marked: text + prompt
    case .afterQuestion: isAfterQuestion ? text : text + prompt
    case .closingThought: isAfterQuestion ? text + prompt : text
    }
  }

  private func spoken(_ content: String) -> String {
    guard let dropsThoughtsToLast else { return content }
    let parts = content.components(around: "</think>")
    guard parts.count > 1 else { return content }
    return dropsThoughtsToLast ? parts[parts.count - 1] : parts.dropFirst().joined(separator: "</think>")
  }
}
