/// How a model's dialogues become text, as its Jinja chat template says.
///
/// Templates are recognised, not run: a template is read into a normal form, and each of the published forms is known
/// by the very expressions that print its turns. A template that prints anything beyond its form's is refused.
/// Tools, images and named variants are out of reach. Templates that print today's date get a fixed one, the date
/// that Llama 3.1 falls back to (26 July 2024), so that the same dialogues always give the same text.
public struct ChatTemplate: Sendable {
  /// The form, such as `ChatML` or `Llama 3.1`.
  public let name: String
  private let form: any ChatForm

  /// Recognises a template.
  ///
  /// - Parameters:
  ///   - template: the source: `chat_template.jinja`, else ``TokenizerOptions/chatTemplate``.
  ///   - bos: the begin token's text, for templates that print it.
  ///   - eos: the end token's text, for templates that print it.
  ///   - file: the template's file, for messages.
  public init(
    recognizing template: String, bos: String?, eos: String?, file: String = "tokenizer_config.json"
  ) throws(TokenizerError) {
    func refusal(_ problem: String) -> TokenizerError {
      let start = template.split(whereSeparator: \.isNewline).joined(separator: " ").prefix(60)
      return .unknownTemplate(file: file, start: String(start), problem: problem)
    }
    guard let source = ChatTemplateSource(template) else { throw refusal("has a tag or a string that never ends") }
    guard let found = Self.known.lazy.compactMap({ $0(source, bos ?? "", eos ?? "") }).first else {
      throw refusal("is of no form that is known here")
    }
    if eos == nil, source.has("eos_token") { throw refusal("prints the end token, and the tokenizer names none") }
    let marks = source.marks.subtracting(found.marks).subtracting(Self.toolMarks).sorted()
    if let mark = marks.first { throw refusal("looks like \(found.name), but has \(mark)") }
    if let sentence = source.sentences.first(where: { sentence in !found.sentences.contains { $0.contains(sentence) } })
    {
      throw refusal("looks like \(found.name), but prints \"\(sentence.prefix(40))\"")
    }
    guard source.strayText == found.strayText else {
      throw refusal("looks like \(found.name), but prints text between its tags")
    }
    let strange = source.names.intersection(Self.rewritingNames).subtracting(found.rewritingNames).sorted()
    if let name = strange.first { throw refusal("looks like \(found.name), but rewrites what is said (\(name))") }
    name = found.name
    form = found
  }

  private static let known: [@Sendable (ChatTemplateSource, String, String) -> (any ChatForm)?] = [
    { source, _, _ in SmolLM3Form(source) },
    { source, _, _ in Qwen3Form(source) },
    { source, bos, eos in ChatTurns(chatML: source, bos: bos, eos: eos) },
    { source, bos, _ in Llama31Form(source, bos: bos) },
    { source, bos, _ in ChatTurns(llama3: source, bos: bos) },
    { source, bos, _ in ChatTurns(gemma: source, bos: bos) },
    { source, bos, eos in InstructionForm(mistral: source, bos: bos, eos: eos) },
    { source, bos, eos in InstructionForm(llama2: source, bos: bos, eos: eos) },
    { source, bos, _ in DeepSeekForm(source, bos: bos) },
    { source, bos, eos in ChatTurns(deepSeek2: source, bos: bos, eos: eos) },
    { source, bos, eos in ChatTurns(phi: source, bos: bos, eos: eos) },
    { source, bos, eos in ChatTurns(olmo: source, bos: bos, eos: eos) },
    { source, _, _ in ChatTurns(granite: source) },
    { source, _, _ in HarmonyForm(source) },
  ]

  /// What templates use for tools and pictures, which dialogues of plain text never reach.
  private static let toolMarks: Set<String> = [
    "<tools>", "</tools>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<code>", "</code>",
    "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[IMG]",
    "<audio_soft_token>", "<image_soft_token>", "<|python_tag|>", "<|eom_id|>", "<|tool_call|>", "<|tool|>",
    "<|/tool|>", "<｜tool▁sep｜>", "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>", "<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>", "<｜tool▁output▁begin｜>",
    "<｜tool▁output▁end｜>",
  ]

  /// Filters and methods that change what is said.
  private static let rewritingNames: Set<String> = [
    "trim", "strip", "lstrip", "rstrip", "split", "replace", "capitalize", "title", "upper", "lower", "truncate",
    "generation",
  ]

  /// The text of a dialogue.
  ///
  /// - Parameters:
  ///   - messages: the turns; which roles and which order are taken is the template's affair.
  ///   - addGenerationPrompt: ends with what comes before the assistant's next turn.
  /// - Returns: text in which special tokens are spelled out, the begin token among them where the template prints
  ///   it: encode it with special-token matching and without adding special tokens.
  public func render(_ messages: [ChatMessage], addGenerationPrompt: Bool) throws(TokenizerError) -> String {
    guard !messages.isEmpty else { throw .dialogue(problem: "has no messages") }
    return try form.render(messages, addGenerationPrompt: addGenerationPrompt)
  }
}

/// A form of chat templates.
protocol ChatForm: Sendable {
  /// Such as `ChatML`.
  var name: String { get }
  /// The marks in its strings.
  var marks: Set<String> { get }
  /// Sentences that it prints of its own.
  var sentences: [String] { get }
  /// The filters and methods that its rendering takes into account.
  var rewritingNames: Set<String> { get }
  /// What it prints between its tags.
  var strayText: String { get }

  func render(_ messages: [ChatMessage], addGenerationPrompt: Bool) throws(TokenizerError) -> String
}

extension ChatForm {
  var sentences: [String] { [] }
  var rewritingNames: Set<String> { [] }
  var strayText: String { "" }

  /// Refuses turns that do not go from user to assistant and back, the user first.
  func checkAlternation(_ messages: some Sequence<ChatMessage>) throws(TokenizerError) {
    for (index, message) in messages.enumerated() where (message.role == .user) != (index % 2 == 0) {
      throw .dialogue(
        problem: "has turn \(index + 1) from the \(message.role.rawValue); \(name) wants user and assistant in turn")
    }
  }
}

/// The day that templates print which print today's.
enum ChatDate {
  /// As `%d %b %Y` gives it.
  static let short = "26 Jul 2024"
  /// As `%d %B %Y` gives it.
  static let long = "26 July 2024"
  /// As `%Y-%m-%d` gives it.
  static let numeric = "2024-07-26"
}
