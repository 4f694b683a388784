import Foundation
import TestSupport
import Testing

/// Help texts, held against files; `QUANTIZE_RECORD_SNAPSHOTS=1 swift test --filter HelpTests` writes them anew.
@Suite struct HelpTests {
  static let commands = [
    "run", "plan", "merge", "verify", "evaluate", "logits", "tokenize", "inspect", "generate", "bench", "demo",
  ]

  @Test(arguments: [""] + commands) func `help is as it was`(_ command: String) throws {
    let result = try Command.run(command.isEmpty ? ["--help"] : ["help", command])
    #expect(result.status == 0 && result.error == "")
    let name = command.isEmpty ? "quantize.txt" : "quantize-\(command).txt"
    if ProcessInfo.processInfo.environment["QUANTIZE_RECORD_SNAPSHOTS"] != nil {
      let source = SharedFolder.repository + "/Tests/CommandTests/Snapshots/" + name
      try Data(result.output.utf8).write(to: URL(filePath: source))
    } else {
      let snapshot = try Data(contentsOf: Bundle.module.bundleURL.appending(path: "Snapshots/" + name))
      #expect(result.output == String(decoding: snapshot, as: UTF8.self))
    }
    if !command.isEmpty { #expect(try Command.run(command, "--help").output == result.output) }
  }

  @Test func `no command lacks its snapshot`() throws {
    let help = try Command.run("--help").output
    let listed = help.split(separator: "SUBCOMMANDS:").last?.split(separator: "\n").compactMap { line -> String? in
      guard line.hasPrefix("  "), !line.hasPrefix("   "), !line.contains("See '") else { return nil }
      return line.split(separator: " ").first.map(String.init)
    }
    #expect(listed == Self.commands)
  }

  @Test func `the version is one line`() throws {
    let result = try Command.run("--version")
    #expect(result.status == 0 && result.output.wholeMatch(of: /quantize [0-9]+\.[0-9]+\.[0-9]+\n/) != nil)
  }
}
