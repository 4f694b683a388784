import ArgumentParser
import Checkpoints
import Foundation
import Models
import Pipeline
import Reports
import Tensors
import Tokenizers

/// Turns errors into one sentence on standard error and an exit code: the only place where codes are decided.
enum Failure: Error {
  /// Accuracy is worse than allowed; the report says by how much.
  case accuracy(String)
  /// A file that was to be checked is damaged.
  case checks(String)

  static let internalError: Int32 = 1
  static let usage: Int32 = 2
  static let refusedInput: Int32 = 3
  static let worseThanAllowed: Int32 = 4
  static let doesNotFit: Int32 = 5
  static let interrupted: Int32 = 6
  static let failedChecks: Int32 = 7

  /// Says what went wrong, and returns the exit code.
  static func report(_ error: any Error) -> Int32 {
    if let code = error as? ExitCode { return code.rawValue }
    guard let code = code(of: error) else {
      // ArgumentParser's own: help and version are successes, everything else is wrong usage.
      let code = Quantize.exitCode(for: error)
      if code == .success {
        print(Quantize.fullMessage(for: error))
        return 0
      }
      let isUsage = code == .validationFailure
      say(sentence(Quantize.message(for: error)) + (isUsage ? " (see quantize --help)" : ""))
      return isUsage ? usage : internalError
    }
    say(sentence("\(error)"))
    return code
  }

  private static func code(of error: any Error) -> Int32? {
    switch error {
    case Failure.accuracy: worseThanAllowed
    case Failure.checks: failedChecks
    case let error as PipelineError:
      switch error {
      case .usage: usage
      case .checkpoint(let error): self.code(of: error)
      case .model, .tokenizer, .input: refusedInput
      case .doesNotFit: doesNotFit
      case .interrupted: interrupted
      }
    case let error as CheckpointError:
      switch error {
      case .file(let error): self.code(of: error)
      case .corrupt: failedChecks
      case .notFound, .malformed, .missingTensor: refusedInput
      }
    case let error as FileError: error.isOutOfSpace ? doesNotFit : refusedInput
    case ReportsError.badLimit: usage
    case is ModelError, is TokenizerError, is ReportsError, is ComparisonError: refusedInput
    default: nil
    }
  }

  /// One line, whatever the message quotes from a file.
  private static func sentence(_ message: String) -> String {
    var line = message.split(whereSeparator: \.isNewline).joined(separator: " ")
    if line.hasSuffix(".") { line.removeLast() }
    return "quantize: " + line
  }

  static func say(_ text: String) { StandardStream.error.write(text + "\n") }
}

extension Failure: CustomStringConvertible {
  var description: String {
    switch self {
    case .accuracy(let text), .checks(let text): text
    }
  }
}
