public import StrictJSON

/// Why a tokenizer file was refused.
public enum TokenizerError: Error, Equatable, CustomStringConvertible {
  /// The file is not JSON.
  case notJSON(file: String, JSONError)
  /// A part of the file breaks a rule.
  case malformed(file: String, component: String, expected: String, found: String)
  /// A part of the file is of a known but unsupported, or of an unknown, kind.
  case unsupported(file: String, component: String, found: String, supported: [String])
  /// A regular expression does not compile, or would not mean here what it means in the reference library.
  case badPattern(file: String, component: String, pattern: String, problem: String)
  /// A chat template is of no known form, or needs what is not there.
  case unknownTemplate(file: String, start: String, problem: String)
  /// A chat template does not take a dialogue.
  case dialogue(problem: String)

  /// One sentence: which file, which component, what was expected and what was found.
  public var description: String {
    switch self {
    case .notJSON(let file, let error):
      "\(file): \(error)"
    case .malformed(let file, let component, let expected, let found):
      "\(file): \(component): expected \(expected), found \(found)"
    case .unsupported(let file, let component, let found, let supported):
      "\(file): \(component): expected one of \(supported.joined(separator: ", ")), found \(found)"
    case .badPattern(let file, let component, let pattern, let problem):
      "\(file): \(component): expected a usable regular expression, found \"\(pattern)\", which \(problem)"
    case .unknownTemplate(let file, let start, let problem):
      "\(file): the chat template \(problem) (it starts \"\(start)\"); "
        + "give texts that are already rendered, as lines with \"text\" in a .jsonl file or as plain text"
    case .dialogue(let problem): "the dialogue \(problem)"
    }
  }
}
