/// Llama 3.1, 3.2 and 3.3: the instructions always come first and name two dates.
struct Llama31Form: ChatForm {
  let name = "Llama 3.1"
  let marks: Set<String> = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
  let sentences: [String]
  let rewritingNames: Set<String> = ["trim"]
  private let begin: String
  private let cutoff: String

  init?(_ source: ChatTemplateSource, bos: String) {
    let (start, end) = ("<|start_header_id|>", "<|end_header_id|>\n\n")
    guard
      source.has(
        all: "\"\(start)\"+message.role+\"\(end)\"+message.content|trim+\"<|eot_id|>\"",
        "{{\"\(start)system\(end)\"}}", "system_message=messages[0].content|trim%}",
        "Today Date: \"+date_string+\"\n\n\"",
        "{{system_message+\"<|eot_id|>\"}}", "{%set date_string=\"\(ChatDate.short)\"%}",
        "{{\"\(start)assistant\(end)\"}}"),
      let cutoff = source.text(after: "{{\"Cutting Knowledge Date: ", before: "\nToday Date: ")
    else { return nil }
    begin = source.has("{{bos_token}}") ? bos : ""
    self.cutoff = cutoff
    sentences = ["Cutting Knowledge Date: \(cutoff)\n"]
  }

  func render(_ messages: [ChatMessage], addGenerationPrompt: Bool) throws(TokenizerError) -> String {
    let hasSystem = messages[0].role == .system
    func turn(_ role: String, _ content: String) -> String {
      "<|start_header_id|>\(role)<|end_header_id|>\n\n\(content)<|eot_id|>"
    }
    var text = begin
    let dates = "Cutting Knowledge Date: \(cutoff)\nToday Date: \(ChatDate.short)\n\n"
    text += turn("system", dates + (hasSystem ? messages[0].content.trimmed() : ""))
    for message in messages.dropFirst(hasSystem ? 1 : 0) {
      text += turn(message.role.rawValue, message.content.trimmed())
    }
    return addGenerationPrompt ? text + "<|start_header_id|>assistant<|end_header_id|>\n\n" : text
  }
}
