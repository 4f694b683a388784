import StrictJSON
import TestSupport
import Testing

/// `generate --prompts`.
@Suite struct PromptsTests {
  private static let prompts = ["Once", "The quick brown fox", "a", "Once", "b b b b b b b b b b b b"]

  private static func lines(_ result: Command.Result) throws -> [JSONValue] {
    try result.output.split(separator: "\n").map { try JSONValue(parsing: $0.utf8) }
  }

  @Test func `each prompt becomes what it becomes alone, whatever the batch, in the order of the file`() throws {
    let bench = try Workbench.shared.get()
    let folder = try TestFolder()
    try folder.write(
      "p.jsonl",
      "\"Once\"\n\n{\"prompt\": \"The quick brown fox\"}\r\n{\"text\": \"a\"}\n\"Once\"\n\"b b b b b b b b b b b b\"")
    let options = ["--max-tokens", "9", "--temperature", "1"]
    let alone = try Self.prompts.enumerated().map { index, prompt in
      try Command.run(
        ["generate", bench.output, "--prompt", prompt, "--seed", "\(7 + index)", "--json"] + options
      ).json()
    }
    for batch in ["1", "2", "32"] {
      let result = try Command.run(
        ["generate", bench.output, "--prompts", folder("p.jsonl"), "--seed", "7", "--batch", batch] + options)
      #expect(result.status == 0 && result.error.contains("5 texts") && result.error.contains("of each text"))
      let lines = try Self.lines(result)
      #expect(lines.map { $0["index"]?.intValue } == [0, 1, 2, 3, 4])
      for (line, alone) in zip(lines, alone) {
        #expect(line["text"] == alone["text"] && line["tokens"] == alone["tokens"], "\(batch)")
        #expect(line["finish"] == (line["tokens"] == 9 ? "length" : "end"))
      }
      #expect(lines[0]["text"] != lines[3]["text"], "two draws of one prompt")
    }
    let json = try Command.run(["generate", bench.output, "--prompts", folder("p.jsonl"), "--json"] + options)
    let statistics = try JSONValue(parsing: json.error.utf8)
    #expect(statistics["texts"] == 5 && (statistics["cacheBytesPerToken"]?.intValue ?? 0) > 0)
    let quiet = try Command.run(["generate", bench.output, "--prompts", folder("p.jsonl"), "-q"] + options)
    #expect(quiet.error.isEmpty)
  }

  @Test func `bad prompts are refused with their line`() throws {
    let bench = try Workbench.shared.get()
    let folder = try TestFolder()
    for (text, words) in [
      ("\"a\"\n\n3\n", ["p.jsonl line 3", "expected a string", "number"]), ("\"a\"\n{\"a\"", ["line 2", "JSON"]),
      ("{\"prompt\": 3}", ["line 1", "a string \"prompt\""]), ("{\"messages\": []}", ["line 1", "messages"]),
      ("{\"input\": 3}", ["line 1", "\"prompt\", \"text\" or \"messages\"", "\"input\""]), (" \n\n", ["are empty"]),
      ("{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}", ["line 1", "no chat template"]),
      (
        "{\"messages\": [{\"role\": \"assistant\", \"content\": \"Hi\"}]}", ["line 1", "ends with the user"]
      ),
      ("\"a\"\n\"" + String(repeating: "a", count: 128) + "\"", ["line 2", "129 tokens", "128 positions"]),
    ] {
      try folder.write("p.jsonl", text)
      let result = try Command.run("generate", bench.model, "--prompts", folder("p.jsonl"), "-q")
      expect(result, fails: 3, saying: words)
    }
    expect(
      try Command.run("generate", bench.model, "--prompts", folder("none.jsonl"), "-q"), fails: 3,
      saying: ["cannot read", "none.jsonl"])
    for arguments in [["--batch", "0"], ["--batch", "33"], ["--prompt", "a"]] {
      let result = try Command.run(["generate", bench.model, "--prompts", folder("p.jsonl")] + arguments)
      expect(result, fails: 2, saying: [arguments[0]])
    }
  }
}
