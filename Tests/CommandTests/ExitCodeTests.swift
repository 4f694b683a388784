import Foundation
import StrictJSON
import Testing

/// What commands say, where they say it, and how they end.
@Suite struct ExitCodeTests {
  let bench: Bench

  init() throws { bench = try Bench() }

  private func sha256(_ path: String) throws -> String {
    let ending = try Command.run(["inspect", path, "--json", "-q"])
    return try #require(JSONValue(parsing: ending.output.utf8)["sha256"]?.stringValue)
  }

  @Test(arguments: [
    ["--scheme", "Q4_K"], ["--ignore", "model.layers.0.mlp.upproj"], ["--ignore", "re:("], ["--method", "gptq"],
    ["--group-size", "7"], ["--scheme", "FP8", "--group-size", "64"], ["--max-kl", "abc"], ["--min-top1", "95"],
    ["--recipe", "/nonexistent.yaml"], ["--no-verify", "--max-kl", "1"], ["--threads", "0"], ["--nonsense"],
  ])
  func `wrong usage ends with 2 before anything is written`(_ options: [String]) throws {
    let ending = try Command.run([Bench.pocket, "-o", bench["out.tar.zst"], "-q"] + options)
    #expect(ending.status == 2, "\(ending.errors)")
    #expect(!ending.errors.isEmpty)
    #expect(ending.output.isEmpty)
    #expect(bench.names.isEmpty)
  }

  @Test func `a pattern that matches nothing names near misses`() throws {
    let ending = try Command.run(
      [Bench.pocket, "-o", bench["out.tar.zst"], "--ignore", "model.layers.0.mlp.upproj"] + Bench.quick)
    #expect(ending.errors.contains("model.layers.0.mlp.up_proj"))
  }

  @Test func `an unknown instruction set is refused by name`() throws {
    let ending = try Command.run(["inspect", Bench.pocket], environment: ["QUANTIZE_ISA": "nonsense"])
    #expect(ending.status == 2)
    #expect(ending.errors.contains("nonsense"))
  }

  @Test func `an output that is there is not replaced without force`() throws {
    let path = bench["out.tar.zst"]
    try Data("precious".utf8).write(to: URL(filePath: path))
    #expect(try Command.run([Bench.pocket, "-o", path] + Bench.quick).status == 2)
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "precious")
    #expect(try Command.run([Bench.pocket, "-o", path, "--force"] + Bench.quick).status == 0)
    #expect(try Command.run(["inspect", path, "--check", "-q"]).status == 0)
  }

  @Test func `accuracy worse than allowed ends with 4, and the report is there`() throws {
    let ending = try Command.run([
      Bench.pocket, "-o", bench["out.tar.zst"], "--method", "rtn", "--text", "stories-heldout", "--tokens", "1024",
      "--verify-seqlen", "256", "--max-kl", "0.0001", "-q",
    ])
    #expect(ending.status == 4)
    #expect(ending.sentences.first?.contains("kl.mean") == true)
    for name in ["report.json", "report.md", "report.html", "junit.xml"] {
      #expect(FileManager.default.fileExists(atPath: bench["out.report/" + name]))
    }
    let verify = [
      "verify", Bench.pocket, bench["out.tar.zst"], "--text", "stories-heldout", "--tokens", "1024", "--verify-seqlen",
      "256", "-q", "--max-kl", "1", "--max-ppl-increase", "50%", "--min-top1", "50%",
    ]
    #expect(try Command.run(verify).status == 0)
  }

  @Test func `one thread and two give the same bytes, and so does a second run`() throws {
    var digests: Set<String> = []
    for (name, threads) in [("one", "1"), ("two", "2"), ("again", "2")] {
      let path = bench[name + ".tar.zst"]
      let ending = try Command.run([
        Bench.pocket, "-o", path, "--calibration", "stories", "--samples", "16", "--seqlen", "128", "--threads",
        threads, "--no-verify", "-q",
      ])
      #expect(ending.status == 0, "\(ending.errors)")
      digests.insert(try sha256(path))
    }
    #expect(digests.count == 1)
  }

  @Test func `an interrupted run ends with 6 and is continued to the same bytes`() throws {
    func options(_ name: String) -> [String] {
      [Bench.pocket, "-o", bench[name], "--calibration", "stories", "--seqlen", "256", "--no-verify"]
    }
    #expect(try Command.run(options("whole.tar.zst") + ["-q"]).status == 0)
    let started = try Command.start(options("cut.tar.zst"))
    // The journal says when the first layer is finished.
    for _ in 0..<600 {
      let journal = try? String(contentsOfFile: bench["cut.tar.zst.journal"], encoding: .utf8)
      if journal?.contains("layer 0") == true || !started.process.isRunning { break }
      usleep(20_000)
    }
    kill(started.process.processIdentifier, SIGTERM)
    let ending = try Command.finish(started)
    #expect(ending.status == 6, "\(ending.errors)")
    #expect(ending.sentences.last?.contains("--resume") == true)
    #expect(!bench.names.contains("cut.tar.zst"))
    #expect(try Command.run(options("cut.tar.zst") + ["-q", "--resume"]).status == 0)
    #expect(try sha256(bench["cut.tar.zst"]) == sha256(bench["whole.tar.zst"]))
    #expect(!bench.names.contains { $0.hasSuffix(".partial") || $0.hasSuffix(".journal") })
  }

  @Test func `with --json standard output is one document and standard error lines of JSON`() throws {
    let ending = try Command.run(["evaluate", Bench.pocket, "--text", "stories-heldout", "--tokens", "512", "--json"])
    #expect(ending.status == 0)
    let perplexity = try #require(JSONValue(parsing: ending.output.utf8)["perplexity"]?["value"]?.doubleValue)
    #expect(perplexity > 1 && perplexity < 200)
    let lines = ending.errors.split(separator: "\n")
    #expect(!lines.isEmpty)
    for line in lines { #expect(throws: Never.self) { try JSONValue(parsing: line.utf8) } }
  }

  @Test func `an artifact and a folder of the same run compute the same logits`() throws {
    try Data("[0, 471, 444, 261, 395]".utf8).write(to: URL(filePath: bench["ids.json"]))
    var files: [Data] = []
    for name in ["model.tar.zst", "model/"] {
      #expect(try Command.run([Bench.pocket, "-o", bench.folder.path + "/" + name] + Bench.quick).status == 0)
      let output = bench["logits-\(files.count).safetensors"]
      let ending = try Command.run(["logits", bench[name], "--tokens", bench["ids.json"], "-o", output, "-q"])
      #expect(ending.status == 0, "\(ending.errors)")
      files.append(try Data(contentsOf: URL(filePath: output)))
    }
    #expect(files[0] == files[1])
  }

  @Test func `generation from an artifact is the same for the same seed`() throws {
    let path = bench["model.tar.zst"]
    #expect(try Command.run([Bench.pocket, "-o", path] + Bench.quick).status == 0)
    let options = [
      "generate", path, "--prompt", "Once upon a time", "--max-tokens", "20", "-q", "--temperature", "0.8",
    ]
    let first = try Command.run(options + ["--seed", "3"])
    #expect(first.status == 0)
    #expect(first.output.count > 20)
    #expect(try Command.run(options + ["--seed", "3"]).output == first.output)
    #expect(try Command.run(options + ["--seed", "4"]).output != first.output)
  }

  @Test(arguments: [[], ["run"], ["verify"], ["evaluate"], ["logits"], ["inspect"], ["generate"], ["demo"], ["plan"]])
  func `help goes to standard output and ends with 0`(_ command: [String]) throws {
    let ending = try Command.run(["help"] + command)
    #expect(ending.status == 0)
    #expect(ending.output.contains("USAGE: quantize"))
    #expect(ending.errors.isEmpty)
    #expect(ending.output.split(separator: "\n").allSatisfy { $0.count <= 80 || $0.hasPrefix("USAGE") })
  }
}
