internal import Foundation
internal import Models
internal import StrictJSON
internal import Tokenizers

/// One line of a file of prompts: a JSON string, an object with a string `prompt` or `text`, or an object with `messages`
/// or `conversations`, which the model's chat template turns into a prompt that ends where the assistant's turn begins.
struct PromptLine {
  /// Its file and number, for messages.
  let place: String
  let content: ChatLine

  /// Reads a line.
  init(_ json: some Sequence<UInt8>, place: String) throws {
    self.place = place
    let value: JSONValue
    do { value = try JSONValue(parsing: json) } catch {
      throw PipelineError.input("\(place): expected a line of JSON: \(error)")
    }
    if let text = value.stringValue {
      content = .text(text)
    } else if let prompt = value.objectValue?["prompt"] {
      guard let text = prompt.stringValue else {
        throw PipelineError.input("\(place): expected a string \"prompt\", found \(prompt.typeName)")
      }
      content = .text(text)
    } else if let object = value.objectValue,
      ["text", "messages", "conversations"].contains(where: { object[$0] != nil })
    {
      content = try ChatLine(json, place: place)
      if case .dialogue(let messages) = content, messages.last?.role == .assistant {
        throw PipelineError.input("\(place): expected a dialogue that ends with the user, found the assistant's answer")
      }
    } else {
      let found = value.objectValue?.members.first.map { "\"\($0.name)\"" } ?? value.typeName
      throw PipelineError.input(
        "\(place): expected a string, or an object with \"prompt\", \"text\" or \"messages\", found \(found)")
    }
  }

  /// Reads all lines of a UTF-8 file but empty ones; at least one.
  static func all(of file: String) throws -> [PromptLine] {
    let data: Data
    do { data = try Data(contentsOf: URL(filePath: file)) } catch {
      throw PipelineError.input("cannot read the prompts \(file): \(error.localizedDescription)")
    }
    // By bytes: for Swift, CR LF is one character and no line feed.
    let lines = try data.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated()
      .compactMap { index, line -> PromptLine? in
        guard line.contains(where: { $0 != 0x20 && $0 != 0x09 && $0 != 0x0D }) else { return nil }
        return try PromptLine(line, place: "\(file) line \(index + 1)")
      }
    guard !lines.isEmpty else { throw PipelineError.input("the prompts \(file) are empty") }
    return lines
  }

  /// Token ids of each line; texts get the model's begin token if it wants one, dialogues what the template prints.
  static func ids(_ lines: [PromptLine], _ inputs: ModelInputs) throws -> [[Int]] {
    var template: ChatTemplate?
    let positions = inputs.model.configuration.maximumPositions
    return try lines.map { line in
      let ids: [Int]
      switch line.content {
      case .text(let text): ids = inputs.prompt(text)
      case .dialogue(let messages):
        let text: String
        do {
          let known = try template ?? inputs.chatTemplate()
          template = known
          text = try known.render(messages, addGenerationPrompt: true)
        } catch { throw PipelineError.input("\(line.place): \(error)") }
        ids = inputs.tokenizer.encode(text, addingSpecialTokens: false)
      }
      guard !ids.isEmpty else { throw PipelineError.input("\(line.place): the prompt is empty") }
      guard ids.count < positions else {
        throw PipelineError.input(
          "\(line.place): the prompt has \(ids.count) tokens, the model \(positions) positions")
      }
      return ids
    }
  }
}
