import Foundation
import Testing

/// The built program, run as a process.
struct Command {
  /// How a run ended.
  struct Ending {
    let status: Int32
    let output: String
    let errors: String

    /// What the program itself said, without progress: the lines that are not JSON.
    var sentences: [String] {
      errors.split(separator: "\n").map(String.init).filter { !$0.hasPrefix("{") && !$0.hasPrefix("note:") }
    }
  }

  /// The program beside the test bundle.
  static let executable: URL = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
    .appending(path: "quantize")

  /// Runs the program to its end.
  static func run(_ arguments: [String], environment: [String: String] = [:]) throws -> Ending {
    try finish(start(arguments, environment: environment))
  }

  /// Runs a line of shell in which `$Q` is the program.
  static func shell(_ line: String) throws -> Ending {
    try finish(
      start(["-c", line], executable: URL(filePath: "/bin/sh"), environment: ["Q": executable.path]))
  }

  static func start(
    _ arguments: [String], executable: URL = Command.executable, environment: [String: String] = [:]
  ) throws -> (process: Process, output: URL, errors: URL) {
    let scratch = FileManager.default.temporaryDirectory
    let output = scratch.appending(path: "out-\(UUID().uuidString)")
    let errors = scratch.appending(path: "err-\(UUID().uuidString)")
    try Data().write(to: output)
    try Data().write(to: errors)
    let process = Process()
    process.executableURL = executable
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try FileHandle(forWritingTo: output)
    process.standardError = try FileHandle(forWritingTo: errors)
    try process.run()
    return (process, output, errors)
  }

  static func finish(_ started: (process: Process, output: URL, errors: URL)) throws -> Ending {
    started.process.waitUntilExit()
    defer {
      try? FileManager.default.removeItem(at: started.output)
      try? FileManager.default.removeItem(at: started.errors)
    }
    return Ending(
      status: started.process.terminationStatus, output: try String(contentsOf: started.output, encoding: .utf8),
      errors: try String(contentsOf: started.errors, encoding: .utf8))
  }
}

/// A folder that is gone when the test is over.
final class Bench {
  let folder: URL

  init() throws {
    folder = FileManager.default.temporaryDirectory.appending(path: "quantize-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  subscript(_ name: String) -> String { folder.appending(path: name).path }

  /// A copy of the embedded model that may be spoiled.
  func model(_ name: String = "model") throws -> String {
    try FileManager.default.copyItem(atPath: Self.pocket, toPath: self[name])
    return self[name]
  }

  /// The embedded model in the repository.
  static let pocket: String = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "calibration/pocket-qwen2").path

  /// What is in the folder.
  var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()) ?? [] }

  /// Options of a run that is quick.
  static let quick = ["--method", "rtn", "--no-verify", "-q"]
}
