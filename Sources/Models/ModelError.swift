public import Checkpoints

/// Why a checkpoint is not a model that can be run.
public enum ModelError: Error, Equatable, CustomStringConvertible {
  /// `config.json` says something that cannot be read or that would change the arithmetic in an unknown way.
  case configuration(file: String, key: String, problem: String)
  /// No family of this `model_type` is known.
  case unknownFamily(file: String, modelType: String, known: [String])
  /// A tensor disagrees with the configuration.
  case tensor(file: String, name: String, problem: String)
  /// A token id is outside of the vocabulary.
  case token(id: Int, vocabularySize: Int)
  /// A sequence is longer than the model's positions.
  case tooLong(length: Int, maximum: Int)
  /// Hidden states could not be kept in a file.
  case spill(folder: String, reason: String, isFull: Bool)
  /// The files themselves were refused.
  case checkpoint(CheckpointError)

  /// One sentence: which file, which key or tensor, what was expected and found.
  public var description: String {
    switch self {
    case .configuration(let file, let key, let problem): "\(file): \(key) \(problem)"
    case .unknownFamily(let file, let modelType, let known):
      "\(file): model_type \"\(modelType)\" is not known; known are \(known.joined(separator: ", "))"
    case .tensor(let file, let name, let problem): "\(file): tensor \"\(name)\" \(problem)"
    case .token(let id, let size): "token id \(id) is outside of the vocabulary of \(size)"
    case .tooLong(let length, let maximum): "a sequence of \(length) tokens exceeds the model's \(maximum) positions"
    case .spill(let folder, let reason, _): "cannot keep hidden states in a file in \(folder): \(reason)"
    case .checkpoint(let error): error.description
    }
  }
}
