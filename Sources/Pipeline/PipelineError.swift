public import Checkpoints
public import Models
public import Tokenizers

/// Why a run was refused or ended early; each kind has an exit code of its own.
public enum PipelineError: Error, CustomStringConvertible {
  /// The request does not make sense: a wrong option, recipe or pattern.
  case usage(String)
  /// The model's files were refused.
  case checkpoint(CheckpointError)
  /// The model cannot be run.
  case model(ModelError)
  /// The tokenizer was refused.
  case tokenizer(TokenizerError)
  /// Something about the input that is none of these.
  case input(String)
  /// Memory or disk would not suffice.
  case doesNotFit(String)
  /// Stopped on request; what is done is kept.
  case interrupted(String)

  /// One sentence.
  public var description: String {
    switch self {
    case .usage(let text), .input(let text), .doesNotFit(let text), .interrupted(let text): text
    case .checkpoint(let error): error.description
    case .model(let error): error.description
    case .tokenizer(let error): error.description
    }
  }

  /// Any error that the lower floors throw, as one of these where it belongs to them.
  static func wrapping(_ error: any Error) -> any Error {
    switch error {
    case let error as CheckpointError: PipelineError.checkpoint(error)
    case let error as ModelError:
      if case .checkpoint(let inner) = error { PipelineError.checkpoint(inner) } else { PipelineError.model(error) }
    case let error as TokenizerError: PipelineError.tokenizer(error)
    default: error
    }
  }
}
