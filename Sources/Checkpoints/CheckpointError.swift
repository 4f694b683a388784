public import Tensors

/// Why a checkpoint or artifact was refused or could not be written.
public enum CheckpointError: Error, Equatable, CustomStringConvertible {
  /// The system said no.
  case file(FileError)
  /// There is nothing of this name; the reason says what was looked for and where.
  case notFound(String, reason: String)
  /// A file breaks the rules of its format.
  case malformed(file: String, offset: Int?, tensor: String?, problem: String)
  /// A tensor that is needed is not there.
  case missingTensor(String, file: String)
  /// A file keeps the rules but its bytes are not those that were written: a digest or checksum differs.
  case corrupt(file: String, part: String, problem: String)

  /// One sentence: which file, which tensor, where, and what was expected and found.
  public var description: String {
    switch self {
    case .file(let error): error.description
    case .notFound(let name, let reason): "\(name) was not found: \(reason)"
    case .malformed(let file, let offset, let tensor, let problem):
      file + (tensor.map { ": tensor \"\($0)\"" } ?? "") + (offset.map { " at byte \($0)" } ?? "") + ": " + problem
    case .missingTensor(let name, let file): "\(file): tensor \"\(name)\" is missing"
    case .corrupt(let file, let part, let problem): "\(file): \(part) is corrupt: \(problem)"
    }
  }
}
