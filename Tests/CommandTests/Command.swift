import Foundation
import StrictJSON
import TestSupport
import Testing

/// The program, run as a process.
enum Command {
  /// It lies beside the test bundle.
  static let executable = Bundle.module.bundleURL.deletingLastPathComponent().appending(path: "quantize").path

  /// What a run left behind.
  struct Result {
    /// The exit code, or minus the signal that ended it.
    let status: Int32
    /// Standard output.
    let output: String
    /// Standard error.
    let error: String

    /// The lines of standard error that are not progress.
    var sentences: [Substring] { error.split(separator: "\n").filter { !$0.hasPrefix("{") } }

    /// Standard output as the one JSON document it should be.
    func json() throws -> JSONValue { try JSONValue(parsing: output.utf8) }
  }

  /// Longer than any test takes; a process that hangs is ended.
  private static let patience = 120.0

  /// A process that is running.
  final class Running {
    private let process = Process()
    private let folder: TestFolder

    init(_ program: String, _ arguments: [String], environment: [String: String]) throws {
      folder = try TestFolder()
      process.executableURL = URL(filePath: program)
      process.arguments = arguments
      let inherited = ["PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR", "QUANTIZE_ISA"]
      process.environment = ProcessInfo.processInfo.environment.filter { inherited.contains($0.key) }
        .merging(environment) { $1 }
      process.standardInput = FileHandle.nullDevice
      process.standardOutput = try FileHandle(forWritingTo: URL(filePath: folder.write("output", "")))
      process.standardError = try FileHandle(forWritingTo: URL(filePath: folder.write("error", "")))
      try process.run()
    }

    /// Standard error so far.
    var error: String { (try? String(contentsOfFile: folder("error"), encoding: .utf8)) ?? "" }

    /// Sends a signal as soon as some texts are on standard error, each behind the one before.
    func signal(_ number: Int32, after texts: String...) throws {
      let start = Date()
      while !Self.hasInOrder(error, texts) {
        guard process.isRunning, Date().timeIntervalSince(start) < Command.patience else {
          Issue.record("\(texts) did not come: \(error)")
          return
        }
        usleep(1000)
      }
      kill(process.processIdentifier, number)
    }

    private static func hasInOrder(_ output: String, _ texts: [String]) -> Bool {
      var rest = output[...]
      for text in texts {
        guard let place = rest.range(of: text) else { return false }
        rest = rest[place.upperBound...]
      }
      return true
    }

    func finish() throws -> Result {
      let number = process.processIdentifier
      let watch = DispatchWorkItem { kill(number, SIGKILL) }
      DispatchQueue.global().asyncAfter(deadline: .now() + Command.patience, execute: watch)
      process.waitUntilExit()
      watch.cancel()
      let status = process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
      return Result(
        status: status, output: String(decoding: try folder.bytes("output"), as: UTF8.self),
        error: String(decoding: try folder.bytes("error"), as: UTF8.self))
    }
  }

  static func start(_ arguments: [String], environment: [String: String] = [:]) throws -> Running {
    try Running(executable, arguments, environment: environment)
  }

  static func run(_ arguments: [String], environment: [String: String] = [:]) throws -> Result {
    try start(arguments, environment: environment).finish()
  }

  static func run(_ arguments: String...) throws -> Result { try run(arguments) }

  /// Runs a line of shell in which `$QUANTIZE` is the program and `$0`, `$1` and so on are the arguments.
  static func shell(_ line: String, _ arguments: String...) throws -> Result {
    try Running("/bin/sh", ["-c", line] + arguments, environment: ["QUANTIZE": executable]).finish()
  }
}

/// Expects a failure with one sentence that holds all of the words, and nothing on standard output.
func expect(
  _ result: Command.Result, fails code: Int32, saying words: [String], location: SourceLocation = #_sourceLocation
) {
  #expect(result.status == code, "\(result.error)", sourceLocation: location)
  #expect(result.output == "", sourceLocation: location)
  #expect(result.sentences.count == 1, "\(result.error)", sourceLocation: location)
  let sentence = String(result.sentences.first ?? "")
  #expect(sentence.hasPrefix("quantize: ") && !sentence.hasSuffix("."), "\(sentence)", sourceLocation: location)
  for word in words { #expect(sentence.contains(word), "\(sentence)", sourceLocation: location) }
}

/// A tiny model, a text, and artifacts made of it.
struct Workbench {
  let folder: TestFolder

  init(_ tiny: TinyModel = TinyModel(modelType: "qwen2"), shards: Int = 1) throws {
    folder = try TestFolder()
    try tiny.write(to: folder("model"), shards: shards)
    let lines = (0..<40).map { "Line \($0): the \($0 * 7 % 13) cats saw \($0 * 5 % 11) birds.\n" }
    try folder.write("text.txt", lines.joined())
  }

  var model: String { folder("model") }
  var text: String { folder("text.txt") }
  var output: String { folder("out.tar.zst") }

  /// `quantize model -o out.tar.zst` with a small calibration.
  func arguments(_ more: String...) -> [String] {
    [model, "-o", output, "--calibration", text, "--samples", "6", "--seqlen", "64"] + more
  }

  /// Options that make verification short.
  var judged: [String] { ["--text", text, "--tokens", "256", "--verify-seqlen", "64"] }

  /// Quantizes by rounding, without verification.
  func quantize() throws -> Command.Result {
    try Command.run([model, "-o", output, "--method", "rtn", "--no-verify", "--quiet"])
  }

  /// One artifact for all tests that only read it.
  static let shared: Swift.Result<Workbench, any Error> = Swift.Result {
    let bench = try Workbench()
    try #require(try bench.quantize().status == 0)
    return bench
  }
}
