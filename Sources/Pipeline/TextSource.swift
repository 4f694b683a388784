internal import Builtin
internal import Crypto
internal import Foundation
public import Tokenizers

/// Texts for calibration and evaluation, with what is needed to name them exactly.
public struct TextSource: Sendable {
  /// Such as `builtin` or the file names.
  public let name: String
  /// The texts; each is one document.
  public let documents: [String]
  /// SHA-256 of the files' bytes, one after the other.
  public let digest: String
  /// The form of the chat template that dialogues were rendered with; `nil` if there are none.
  public let chatForm: String?

  /// The line that separates documents in the built-in files.
  static let separator = "%%%"

  /// Reads texts by name.
  ///
  /// - Parameters:
  ///   - names: `builtin` (three of four mixed documents), `builtin-heldout` (each fourth), `stories` and
  ///     `stories-heldout` (what the embedded model knows), or paths of UTF-8 files. A file `x.jsonl` holds a text or a
  ///     dialogue a line, in the spellings of `formats/chat.md`; other files are one document.
  ///   - chatTemplate: gives the template that turns dialogues into text, such as ``ModelInputs/chatTemplate()``;
  ///     asked once, at the first dialogue.
  public init(_ names: [String], chatTemplate: (() throws -> ChatTemplate)? = nil) throws {
    var documents: [String] = []
    var template: ChatTemplate?
    func rendered(_ messages: [ChatMessage], _ place: String) throws -> String {
      guard let chatTemplate else {
        throw PipelineError.input("\(place): a dialogue needs a model's chat template, and there is no model here")
      }
      let known = try template ?? chatTemplate()
      template = known
      do { return try known.render(messages, addGenerationPrompt: false) } catch {
        throw PipelineError.input("\(place): \(error)")
      }
    }
    var hash = SHA256()
    let share = Self.mixedShare
    for name in names {
      for file in try Self.files(of: name) {
        let data: Data
        do { data = try Data(contentsOf: file) } catch {
          throw PipelineError.input("cannot read the text \(file.path): \(error.localizedDescription)")
        }
        hash.update(data: data)
        guard let text = String(validating: data, as: UTF8.self) else {
          throw PipelineError.input("the text \(file.path) is not UTF-8")
        }
        let found = try Self.split(
          text, file: file, isBuiltin: Self.builtinFiles[name] != nil, rendered: rendered)
        switch name {
        case "builtin": documents += found.enumerated().filter { $0.offset % share != share - 1 }.map(\.element)
        case "builtin-heldout": documents += found.enumerated().filter { $0.offset % share == share - 1 }.map(\.element)
        default: documents += found
        }
      }
    }
    self.name = names.map { name in name.split(separator: "/").last.map(String.init) ?? name }.joined(separator: ", ")
    self.documents = documents.filter { !$0.isEmpty }
    digest = hash.finalize().map { byte in
      let digits = String(byte, radix: 16)
      return digits.count == 1 ? "0" + digits : digits
    }.joined()
    chatForm = template?.name
    guard !self.documents.isEmpty else { throw PipelineError.input("the text \(self.name) is empty") }
  }

  /// Each so many documents of the mixed texts, one is kept for evaluation.
  private static let mixedShare = 4

  private static let mixedFiles = ["prose", "dialogue", "code", "chinese", "maths", "tables", "languages"].map {
    "texts/\($0).txt"
  }

  private static let builtinFiles: [String: [String]] = [
    "builtin": mixedFiles,
    "builtin-heldout": mixedFiles,
    "stories": ["stories/calibration.txt"],
    "stories-heldout": ["stories/heldout.txt"],
  ]

  private static func files(of name: String) throws -> [URL] {
    if let files = builtinFiles[name] {
      guard let folder = Builtin.folder else {
        throw PipelineError.input(
          "the built-in texts are missing: \(Builtin.name) should lie beside the program; give texts of your own otherwise"
        )
      }
      return files.map { folder.appending(path: $0) }
    }
    return [URL(filePath: name)]
  }

  private static func split(
    _ text: String, file: URL, isBuiltin: Bool, rendered: ([ChatMessage], _ place: String) throws -> String
  ) throws -> [String] {
    if isBuiltin {
      return text.split(separator: "\n" + separator + "\n", omittingEmptySubsequences: true).map(String.init)
    }
    guard file.pathExtension == "jsonl" else { return [text] }
    // By bytes: for Swift, CR LF is one character and no line feed.
    let lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    return try lines.enumerated().compactMap { index, line in
      guard line.contains(where: { $0 != 0x20 && $0 != 0x09 && $0 != 0x0D }) else { return nil }
      let place = "\(file.path) line \(index + 1)"
      switch try ChatLine(line, place: place) {
      case .text(let text): return text
      case .dialogue(let messages): return try rendered(messages, place)
      }
    }
  }
}
