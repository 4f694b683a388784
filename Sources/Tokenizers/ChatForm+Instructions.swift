/// Mistral's and Llama 2's forms: `[INST]` around what the user says, the instructions within one of those.
struct InstructionForm: ChatForm {
  /// Which user turn the instructions go into.
  private enum Placement: Sendable {
    case nowhere
    case first
    /// The last message, if it is the user's.
    case last
    /// The user's last message, wherever it is, and those that say the same.
    case lastOfUser
    /// A turn of its own in front; the text that stands in for missing instructions.
    case own(standard: String?)
  }

  let name: String
  let marks: Set<String>
  private(set) var sentences: [String] = []
  private(set) var rewritingNames: Set<String> = []
  private var begin = ""
  /// Before and after each user turn.
  private var open: String
  private var close: String
  private var answerStart: String
  private var answerEnd: String
  private var placement = Placement.nowhere
  private var systemStart = ""
  private var systemEnd = ""
  private var trimsUser = false
  private var trimsAnswer = false
  private var alternates: Bool

  /// Mistral: versions 1, 3, Tekken (Nemo) and 7 (with `[SYSTEM_PROMPT]`), which differ in spaces.
  init?(mistral source: ChatTemplateSource, bos: String, eos: String) {
    func turn(_ said: String) -> (open: String, close: String)? {
      for open in ["[INST]", "[INST] ", " [INST] "] {
        for close in ["[/INST]", " [/INST]"] where source.has("{{\"\(open)\"+\(said)+\"\(close)\"}}") {
          return (open, close)
        }
      }
      return nil
    }
    func answer() -> (start: String, isTrimmed: Bool, end: String)? {
      for start in ["", " "] {
        for (isTrimmed, content) in [(false, "message.content"), (true, "message.content|trim")] {
          for end in ["", " "] {
            let said = (start.isEmpty ? "" : "\"\(start)\"+") + content
            if source.has("{{\(said)+eos_token\(end.isEmpty ? "" : "+\"\(end)\"")}}") { return (start, isTrimmed, end) }
          }
        }
      }
      return nil
    }
    guard let turn = turn("message.content"), let answer = answer(), let beginPlace = source.place(of: "{{bos_token}}")
    else { return nil }
    name = "Mistral"
    begin = bos
    (open, close) = turn
    (answerStart, trimsAnswer, answerEnd) = (answer.start, answer.isTrimmed, eos + answer.end)
    rewritingNames = answer.isTrimmed ? ["trim"] : []
    alternates = source.has("roles must alternate")
    var marks: Set<String> = ["[INST]", "[/INST]"]
    let own = "{{\"[SYSTEM_PROMPT]\"+system_message+\"[/SYSTEM_PROMPT]\"}}"
    if let place = source.place(of: own) {
      guard place > beginPlace else { return nil }
      marks.formUnion(["[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"])
      (systemStart, systemEnd) = ("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]")
      placement = .own(standard: nil)
      if source.has("system_message=default_system_message") {
        guard let standard = Self.standardInstructions(source) else { return nil }
        placement = .own(standard: standard.joined(separator: ChatDate.numeric))
        sentences = standard
      }
    } else if let merged = Self.mergedInstructions(source, turn) {
      placement = merged
      systemEnd = "\n\n"
    } else if source.has("system_message") {
      return nil
    }
    self.marks = marks
  }

  /// The two parts of Mistral Small's instructions around the day's date.
  private static func standardInstructions(_ source: ChatTemplateSource) -> [String]? {
    guard source.has(all: "today=strftime_now(\"%Y-%m-%d\")", "\"+today+\"", "{%set default_system_message=\""),
      let index = source.strings.firstIndex(where: { $0.hasSuffix("current date is ") || $0.hasSuffix("date is ") }),
      index + 1 < source.strings.count,
      source.has("{%set default_system_message=\"\(source.strings[index])\"+today+\"\(source.strings[index + 1])\"%}")
    else { return nil }
    return [source.strings[index], source.strings[index + 1]]
  }

  private static func mergedInstructions(
    _ source: ChatTemplateSource, _ turn: (open: String, close: String)
  ) -> Placement? {
    let conditions: [(String, Placement)] = [
      ("loop.last and system_message is defined", .last), ("loop.first and system_message is defined", .first),
      ("(message==user_messages[-1])and system_message is defined", .lastOfUser),
    ]
    for (condition, placement) in conditions
    where source.has(
      "{%if \(condition)%}{{\"\(turn.open)\"+system_message+\"\n\n\"+message.content+\"\(turn.close)\"}}{%else%}")
      || source.has(
        "{%if\(condition)%}{{\"\(turn.open)\"+system_message+\"\n\n\"+message.content+\"\(turn.close)\"}}{%else%}")
    {
      return placement
    }
    return nil
  }

  /// Llama 2.
  init?(llama2 source: ChatTemplateSource, bos: String, eos: String) {
    guard
      source.has(
        all: "content=\"<<SYS>>\n\"+system_message+\"\n<</SYS>>\n\n\"+message.content%}",
        "system_message=messages[0].content%}", "{{bos_token+\"[INST] \"+content.strip()+\" [/INST]\"}}",
        "{{\" \"+content.strip()+\" \"+eos_token}}")
    else { return nil }
    name = "Llama 2"
    marks = ["[INST]", "[/INST]", "<SYS>", "</SYS>"]
    rewritingNames = ["strip"]
    (open, close) = (bos + "[INST] ", " [/INST]")
    (answerStart, answerEnd) = (" ", " " + eos)
    (trimsUser, trimsAnswer) = (true, true)
    placement = .first
    (systemStart, systemEnd) = ("<<SYS>>\n", "\n<</SYS>>\n\n")
    alternates = source.has("roles must alternate")
  }

  func render(_ messages: [ChatMessage], addGenerationPrompt: Bool) throws(TokenizerError) -> String {
    let system = messages[0].role == .system ? messages[0] : nil
    if system != nil, case .nowhere = placement {
      throw .dialogue(problem: "has a system message, and this template takes none")
    }
    let turns = system == nil ? messages[...] : messages.dropFirst()
    if alternates { try checkAlternation(turns) }
    var text = begin
    if case .own(let standard) = placement, let said = system?.content ?? standard {
      text += systemStart + said + systemEnd
    }
    let lastOfUser = turns.last { $0.role == .user }
    for (index, message) in turns.enumerated() {
      switch message.role {
      case .system: throw .dialogue(problem: "has a system message that is not the first")
      case .assistant:
        text += answerStart + (trimsAnswer ? message.content.trimmed() : message.content) + answerEnd
      case .user:
        let takesSystem =
          switch placement {
          case .nowhere, .own: false
          case .first: index == 0
          case .last: index == turns.count - 1
          case .lastOfUser: message == lastOfUser
          }
        var said = message.content
        if takesSystem, let system { said = systemStart + system.content + systemEnd + said }
        text += open + (trimsUser ? said.trimmed() : said) + close
      }
    }
    return text
  }
}
