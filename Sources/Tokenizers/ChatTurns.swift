/// The forms that put something before and after what each role says.
struct ChatTurns: ChatForm {
  /// What is put around a turn.
  struct Turn {
    var prefix: String
    var suffix: String
  }

  /// What becomes of the instructions where they have no turn.
  enum Instructions: Sendable {
    case dropped
    case refused
    /// Put before the first user turn, with this in between.
    case merged(String)
  }

  let name: String
  var marks: Set<String>
  var begin = ""
  var system: Turn?
  var user: Turn
  var assistant: Turn
  /// After the last turn, where it is the assistant's.
  var lastAssistantSuffix: String?
  var instructions = Instructions.dropped
  /// Instructions where the dialogue starts without.
  var standardSystem: String?
  var skipsEmptySystem = false
  /// Whether only the last answer keeps its thoughts (QwQ).
  var dropsEarlierThoughts = false
  var trims = false
  /// Whether user and assistant must take turns, after the instructions.
  var alternates = false
  /// What comes before the assistant's next turn.
  var prompt: String
  var isPromptConditional = true
  /// What comes at the end where no turn is asked for.
  var ending = ""

  var sentences: [String] {
    guard let standardSystem, let system else { return [] }
    return [system.prefix + standardSystem + system.suffix]
  }
  var rewritingNames: Set<String> { trims ? ["trim"] : dropsEarlierThoughts ? ["split", "lstrip"] : [] }

  func render(_ messages: [ChatMessage], addGenerationPrompt: Bool) throws(TokenizerError) -> String {
    var messages = messages
    var merged = ""
    if system == nil, messages[0].role == .system {
      switch instructions {
      case .dropped: break
      case .refused: throw .dialogue(problem: "has a system message, and \(name) takes none")
      case .merged(let separator): merged = messages.removeFirst().content + separator
      }
    }
    if alternates { try checkAlternation(messages.drop { $0.role == .system && system != nil }) }
    var text = begin
    if let standardSystem, let system, messages.first?.role != .system {
      text += system.prefix + standardSystem + system.suffix
    }
    for (index, message) in messages.enumerated() {
      let content = trims ? message.content.trimmed() : message.content
      switch message.role {
      case .system:
        guard let system, !(skipsEmptySystem && content.isEmpty) else { continue }
        text += system.prefix + content + system.suffix
      case .user: text += user.prefix + (index == 0 ? merged : "") + content + user.suffix
      case .assistant:
        let isLast = index == messages.count - 1
        var said = content
        if dropsEarlierThoughts, !isLast {
          said = (said.components(around: "</think>").last ?? "").trimmedStart { $0 == "\n" }
        }
        text += assistant.prefix + said + (isLast ? lastAssistantSuffix ?? assistant.suffix : assistant.suffix)
      }
    }
    return text + (addGenerationPrompt || !isPromptConditional ? prompt : ending)
  }
}

extension ChatTurns {
  /// A turn with the same marks whoever speaks.
  private init(
    _ name: String, marks: Set<String>, prompt: String, assistant: String = "assistant", turn: (String) -> Turn
  ) {
    self.init(
      name: name, marks: marks, system: turn("system"), user: turn("user"), assistant: turn(assistant), prompt: prompt)
  }

  /// ChatML, with or without instructions of its own.
  init?(chatML source: ChatTemplateSource, bos: String, eos: String) {
    let start = "\"<|im_start|>\"+message.role+\"\n\"+"
    let isTrimmed = source.has(start + "message.content|trim+\"<|im_end|>\n")
    let isPlain = source.has(start + "message.content+\"<|im_end|>\n\"")
    let isCopied = source.has("{%set content=message.content") && source.has(start + "content")
    let asks = source.has("{%if add_generation_prompt%}")
    guard isTrimmed || isPlain || isCopied && source.has("<|im_end|>\n\"}}"),
      let prompt = source.text(after: (asks ? "{%if add_generation_prompt%}" : "{%endfor%}") + "{{\"", before: "\"}}"),
      prompt.hasPrefix("<|im_start|>assistant\n")
    else { return nil }
    self.init("ChatML", marks: ["<|im_start|>", "<|im_end|>"], prompt: prompt) {
      Turn(prefix: "<|im_start|>\($0)\n", suffix: "<|im_end|>\n")
    }
    trims = isTrimmed
    dropsEarlierThoughts =
      isCopied
      && source.has(
        "{%if not loop.last%}{%set content=message.content.split(\"</think>\")[-1].lstrip(\"\n\")%}{%endif%}")
    if dropsEarlierThoughts || prompt.contains("<think>") { marks.formUnion(["<think>", "</think>"]) }
    begin = source.has("{{bos_token") ? bos : ""
    alternates = source.has("raise_exception(\"Conversation roles must alternate")
    if source.has("messages[0].role") {
      standardSystem = source.text(after: "{{\"<|im_start|>system\n", before: "<|im_end|>\n\"")
    }
    isPromptConditional = asks
  }

  /// Llama 3, the first of its line.
  init?(llama3 source: ChatTemplateSource, bos: String) {
    let (start, end) = ("<|start_header_id|>", "<|end_header_id|>\n\n")
    guard source.has("\"\(start)\"+message.role+\"\(end)\"+message.content|trim+\"<|eot_id|>\""),
      source.has("{{\"\(start)assistant\(end)\"}}"), !source.has("Cutting Knowledge Date")
    else { return nil }
    self.init("Llama 3", marks: [start, "<|end_header_id|>", "<|eot_id|>"], prompt: "\(start)assistant\(end)") {
      Turn(prefix: start + $0 + end, suffix: "<|eot_id|>")
    }
    trims = true
    begin = source.has("{{bos_token}}") || source.has("content=bos_token+content") ? bos : ""
    isPromptConditional = source.has("add_generation_prompt")
  }

  /// Gemma: 1 and 2 refuse instructions, 3 puts them before the first turn.
  init?(gemma source: ChatTemplateSource, bos: String) {
    let (start, end) = ("<start_of_turn>", "<end_of_turn>\n")
    let isSecond =
      source.has("{{\"\(start)\"+role+\"\n\"+message.content|trim+\"\(end)\"}}")
      && source.has("raise_exception(\"System role not supported\")")
    let isThird = source.has(
      all: "{{\"\(start)\"+role+\"\n\"+(first_user_prefix if loop.first else\"\")}}", "{{message.content|trim}}",
      "{{\"\(end)\"}}")
    guard isSecond || isThird, source.has(all: "{%set role=\"model\"%}", "{{\"\(start)model\n\"}}") else { return nil }
    self.init("Gemma", marks: [start, "<end_of_turn>"], prompt: "\(start)model\n", assistant: "model") {
      Turn(prefix: "\(start)\($0)\n", suffix: end)
    }
    system = nil
    trims = true
    alternates = true
    begin = source.has("{{bos_token}}") ? bos : ""
    instructions = .refused
    if isThird {
      guard let separator = source.text(after: "first_user_prefix=messages[0].content+\"", before: "\"") else {
        return nil
      }
      instructions = .merged(separator)
    }
  }

  /// DeepSeek LLM, Coder and V2, which have no marks.
  init?(deepSeek2 source: ChatTemplateSource, bos: String, eos: String) {
    guard
      source.has(
        all: "{{\"User: \"+message.content+\"\n\n\"}}", "{{\"Assistant: \"+message.content+eos_token}}",
        "{{message.content+\"\n\n\"}}", "{{\"Assistant:\"}}", "{{bos_token}}")
    else { return nil }
    self.init(
      name: "DeepSeek V2", marks: [], begin: bos, system: Turn(prefix: "", suffix: "\n\n"),
      user: Turn(prefix: "User: ", suffix: "\n\n"), assistant: Turn(prefix: "Assistant: ", suffix: eos),
      prompt: "Assistant:")
  }

  /// The Phi line.
  init?(phi source: ChatTemplateSource, bos: String, eos: String) {
    let marks: Set<String> = ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
    let begin = source.has("{{bos_token}}") ? bos : ""
    if source.has(
      all: "{{\"<|user|>\n\"+message.content+\"<|end|>\n<|assistant|>\n\"}}", "{{message.content+\"<|end|>\n\"}}")
    {
      // Instructions are left out without a word, or have a turn.
      let hasSystem = source.has("{{\"<|system|>\n\"+message.content+\"<|end|>\n\"}}")
      guard hasSystem || !source.has("system") else { return nil }
      self.init(
        name: "Phi 3", marks: marks, begin: begin,
        system: hasSystem ? Turn(prefix: "<|system|>\n", suffix: "<|end|>\n") : nil,
        user: Turn(prefix: "<|user|>\n", suffix: "<|end|>\n<|assistant|>\n"),
        assistant: Turn(prefix: "", suffix: "<|end|>\n"), prompt: "")
    } else if source.has(
      all: "{{\"<|system|>\n\"+message.content+\"<|end|>\n\"}}", "{{\"<|user|>\n\"+message.content+\"<|end|>\n\"}}",
      "{{\"<|assistant|>\n\"+message.content+\"<|end|>\n\"}}", "{{\"<|assistant|>\n\"}}")
    {
      self.init("Phi 3.5", marks: marks, prompt: "<|assistant|>\n") {
        Turn(prefix: "<|\($0)|>\n", suffix: "<|end|>\n")
      }
      skipsEmptySystem = source.has("message.role==\"system\"and message.content%}")
      self.begin = begin
    } else if source.has(all: "{{\"<|\"+message.role+\"|>\"+message.content+\"<|end|>\"}}", "{{\"<|assistant|>\"}}") {
      self.init("Phi 4 mini", marks: marks, prompt: "<|assistant|>") {
        Turn(prefix: "<|\($0)|>", suffix: "<|end|>")
      }
      self.begin = begin
    } else {
      self.init(phi4: source)
      self.begin = begin
    }
    if source.has("{%else%}{{eos_token}}{%endif%}") { ending = eos }
  }

  private init?(phi4 source: ChatTemplateSource) {
    func start(_ role: String) -> String { "<|im_start|>\(role)<|im_sep|>" }
    let end = "<|im_end|>"
    guard source.has("{{\"\(start("system"))\"+message.content+\"\(end)\"}}") else { return nil }
    let opens = source.has(
      all: "{{\"\(start("user"))\"+message.content+\"\(end)\(start("assistant"))\"}}",
      "{{message.content+\"\(end)\"}}")
    guard
      opens
        || source.has(
          all: "{{\"\(start("user"))\"+message.content+\"\(end)\"}}",
          "{{\"\(start("assistant"))\"+message.content+\"\(end)\"}}", "{{\"\(start("assistant"))\"}}")
    else { return nil }
    self.init("Phi 4", marks: ["<|im_start|>", "<|im_sep|>", end], prompt: opens ? "" : start("assistant")) {
      Turn(prefix: start($0), suffix: end)
    }
    if opens {
      user.suffix = end + start("assistant")
      assistant.prefix = ""
    }
  }

  /// OLMo 2 and Tülu.
  init?(olmo source: ChatTemplateSource, bos: String, eos: String) {
    guard
      source.has(
        all: "{{\"<|system|>\n\"+message.content+\"\n\"}}", "{{\"<|user|>\n\"+message.content+\"\n\"}}",
        "{%if not loop.last%}{{\"<|assistant|>\n\"+message.content+eos_token+\"\n\"}}",
        "{{\"<|assistant|>\n\"+message.content+eos_token}}", "{{\"<|assistant|>\n\"}}")
    else { return nil }
    self.init("OLMo 2", marks: ["<|system|>", "<|user|>", "<|assistant|>"], prompt: "<|assistant|>\n") {
      Turn(prefix: "<|\($0)|>\n", suffix: "\n")
    }
    begin = source.has("{{bos_token}}") ? bos : ""
    assistant.suffix = eos + "\n"
    lastAssistantSuffix = eos
  }

  /// Granite 3.0.
  init?(granite source: ChatTemplateSource) {
    func start(_ role: String) -> String { "<|start_of_role|>\(role)<|end_of_role|>" }
    let end = "<|end_of_text|>\n"
    for role in ["system", "user", "assistant"] {
      guard source.has("{{\"\(start(role))\"+message.content+\"\(end)\"}}") else { return nil }
    }
    guard source.has("add_generation_prompt%}{{\"\(start("assistant"))\"}}") else { return nil }
    self.init(
      "Granite 3", marks: ["<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"], prompt: start("assistant")
    ) {
      Turn(prefix: start($0), suffix: end)
    }
  }
}
