internal import StrictJSON
internal import Tokenizers

/// One line of a `.jsonl` file: a text, or a dialogue that the model's chat template turns into one.
enum ChatLine: Equatable {
  case text(String)
  case dialogue([ChatMessage])

  /// Reads a line.
  ///
  /// The first of these that is there decides: `text`; `messages` (`role`, `content`); `conversations` (`from`,
  /// `value`, as ShareGPT has it); `prompt` with `completion`; `instruction` with `input`, `output` and `system`.
  ///
  /// - Parameters:
  ///   - json: the line's bytes.
  ///   - place: its file and number, for messages.
  init(_ json: some Sequence<UInt8>, place: String) throws {
    let value: JSONValue
    do { value = try JSONValue(parsing: json, pythonLiterals: true) } catch {
      throw PipelineError.input("\(place): expected a line of JSON: \(error)")
    }
    guard let object = value.objectValue else {
      throw PipelineError.input("\(place): expected an object, found \(value.typeName)")
    }
    if object["text"] != nil {
      self = .text(try Self.string("text", of: object, place))
    } else if object["messages"] != nil {
      self = .dialogue(try Self.messages("messages", of: object, place))
    } else if object["conversations"] != nil {
      let system = object["system"] == nil ? "" : try Self.string("system", of: object, place)
      let turns = try Self.messages("conversations", of: object, place)
      self = .dialogue((system.isEmpty ? [] : [ChatMessage(.system, system)]) + turns)
    } else if object["prompt"] != nil, object["completion"] != nil {
      self = .dialogue(
        try Self.turns("prompt", as: .user, of: object, place)
          + Self.turns("completion", as: .assistant, of: object, place))
    } else if object["instruction"] != nil, object["output"] != nil {
      self = .dialogue(try Self.instruction(object, place))
    } else {
      throw PipelineError.input(
        "\(place): expected an object with \"text\", \"messages\", \"conversations\", \"prompt\" and \"completion\", "
          + "or \"instruction\" and \"output\", found \(object.members.first.map { "\"\($0.name)\"" } ?? "nothing")")
    }
  }

  private static func string(_ name: String, of object: JSONObject, _ place: String) throws -> String {
    guard let text = object[name]?.stringValue else {
      throw PipelineError.input(
        "\(place): expected a string \"\(name)\", found \(object[name]?.typeName ?? "nothing")")
    }
    return text
  }

  /// A string is one turn, a list several.
  private static func turns(
    _ name: String, as role: ChatMessage.Role, of object: JSONObject, _ place: String
  ) throws -> [ChatMessage] {
    if object[name]?.arrayValue != nil { return try messages(name, of: object, place) }
    return [ChatMessage(role, try string(name, of: object, place))]
  }

  /// What Alpaca has: the input, if any, follows the instruction after an empty line.
  private static func instruction(_ object: JSONObject, _ place: String) throws -> [ChatMessage] {
    func optional(_ name: String) throws -> String {
      object[name].map(\.isNull) ?? true ? "" : try string(name, of: object, place)
    }
    let (system, input) = (try optional("system"), try optional("input"))
    let question = try string("instruction", of: object, place) + (input.isEmpty ? "" : "\n\n" + input)
    let turns = [ChatMessage(.user, question), ChatMessage(.assistant, try string("output", of: object, place))]
    return (system.isEmpty ? [] : [ChatMessage(.system, system)]) + turns
  }

  private static func messages(_ name: String, of object: JSONObject, _ place: String) throws -> [ChatMessage] {
    guard let list = object[name]?.arrayValue, !list.isEmpty else {
      throw PipelineError.input(
        "\(place): expected a list of messages \"\(name)\", found "
          + (object[name]?.arrayValue == nil ? object[name]?.typeName ?? "nothing" : "an empty one"))
    }
    return try list.enumerated().map { try message($1, "\(place), message \($0 + 1)") }
  }

  private static let roles: [String: ChatMessage.Role] = [
    "system": .system, "developer": .system, "user": .user, "human": .user, "assistant": .assistant, "gpt": .assistant,
    "model": .assistant,
  ]

  private static func message(_ value: JSONValue, _ place: String) throws -> ChatMessage {
    guard let object = value.objectValue else {
      throw PipelineError.input("\(place): expected an object, found \(value.typeName)")
    }
    let isShareGPT = object["role"] == nil && object["from"] != nil
    let name = try string(isShareGPT ? "from" : "role", of: object, place)
    guard let role = roles[name] else {
      throw PipelineError.input(
        "\(place): expected the role system, user (human) or assistant (gpt), found \"\(name)\"; "
          + "leave out dialogues with tools, or give them as \"text\"")
    }
    if let calls = object["tool_calls"], !calls.isNull, calls.arrayValue?.isEmpty != true {
      throw PipelineError.input("\(place): calls tools; leave out dialogues with tools, or give them as \"text\"")
    }
    let member = isShareGPT ? "value" : "content"
    guard let parts = object[member]?.arrayValue else {
      return ChatMessage(role, try string(member, of: object, place))
    }
    let texts = try parts.map { part in
      guard part["type"]?.stringValue == "text", let text = part["text"]?.stringValue else {
        throw PipelineError.input(
          "\(place): expected parts of the type text, found \(part["type"]?.stringValue ?? part.typeName)")
      }
      return text
    }
    return ChatMessage(role, texts.joined())
  }
}
