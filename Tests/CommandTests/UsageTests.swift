import Foundation
import StrictJSON
import TestSupport
import Testing

/// Exit code 2: requests that cannot be meant.
@Suite struct UsageTests {
  @Test(arguments: [
    (["--sheme", "W4A16"], ["--sheme"]),
    (["--scheme", "W7A16"], ["--scheme W7A16", "W4A16_ASYM"]),
    (["--bits", "7"], ["--bits 7", "2, 3, 4, 5, 6, 8"]),
    (["--bits", "few"], ["--bits"]),
    (["--scheme", "FP8", "--bits", "8"], ["--bits", "FP8 are no integers"]),
    (["--scheme", "W4A16", "--bits", "3"], ["--scheme W4A16 and --bits 3 disagree"]),
    (["--method", "magic"], ["--method magic", "awq"]),
    (["--group-size", "8"], ["--group-size 8", "16"]),
    (["--group-size", "many"], ["--group-size"]),
    (["--scheme", "FP8_DYNAMIC", "--group-size", "64"], ["--group-size", "FP8_DYNAMIC has no groups"]),
    (["--samples", "0"], ["--samples 0"]),
    (["--seqlen", "1"], ["--seqlen 1"]),
    (["--expert-tokens", "0"], ["--expert-tokens 0"]),
    (["--threads", "0"], ["--threads"]),
    (["--max-memory", "lots"], ["--max-memory"]),
    (["--max-kl", "much"], ["--max-kl", "much"]),
    (["--max-kl", "-1"], ["--max-kl"]),
    (["--max-ppl-increase", "1"], ["--max-ppl-increase", "1%"]),
    (["--min-top1", "95"], ["--min-top1", "95%"]),
    (["--min-top1", "101%"], ["--min-top1"]),
    (["--tokens", "1"], ["--tokens"]),
    (["--ignore", "model.layers.0.mlp.dwn_proj"], ["matches no linear", "model.layers.0.mlp.down_proj"]),
    (["--ignore", "re:("], ["is not a regular expression"]),
    (["--include", "lm_head"], ["tied to model.embed_tokens"]),
    (["--ignore", "re:.*"], ["quantizes no linear"]),
    (["--recipe", "/none/recipe.yaml"], ["/none/recipe.yaml"]),
    (["--no-verify", "--max-kl", "1"], ["--no-verify"]),
    (["extra"], ["extra"]),
  ])
  func `a request that cannot be meant is refused in one sentence`(_ options: [String], _ words: [String]) throws {
    let bench = try Workbench()
    expect(try Command.run([bench.model, "-o", bench.output, "-q"] + options), fails: 2, saying: words)
    #expect(try bench.folder.names() == ["model", "text.txt"])
  }

  @Test func `what every command needs is asked for`() throws {
    let bench = try Workbench.shared.get()
    for (arguments, word) in [
      ([], "model"), ([bench.model], "--output"), (["verify", bench.model], "candidate"), (["evaluate"], "model"),
      (["logits", bench.model], "--tokens"), (["tokenize", bench.model], "--text"), (["inspect"], "path"),
      (["convert", bench.model, "-o", "a/"], "--to"), (["merge", bench.model, "-o", "a/"], "--adapter"),
      (["generate", bench.model], "--prompt"), (["tokenize", bench.model, "--text", "a", "--prompt", "b"], "either"),
      (["generate", bench.model, "--prompt", ""], "prompt is empty"),
      (["generate", bench.model, "--prompt", "a", "--temperature", "-1"], "--temperature"),
      (["generate", bench.model, "--prompt", "a", "--top-p", "0"], "--top-p"),
      (["generate", bench.model, "--prompt", "a", "--max-tokens", "0"], "--max-tokens"),
    ] {
      let result = try Command.run(arguments)
      // The tiny model begins texts with a token, so that an empty prompt is one.
      if arguments.contains("") && result.status == 0 { continue }
      expect(result, fails: 2, saying: [word])
    }
  }

  @Test func `an output that is there already is kept unless told otherwise`() throws {
    let bench = try Workbench()
    try bench.folder.write("out.tar.zst", "precious")
    let arguments = [bench.model, "-o", bench.output, "--method", "rtn", "--no-verify", "-q"]
    expect(try Command.run(arguments), fails: 2, saying: ["out.tar.zst is there already", "--force"])
    #expect(try bench.folder.bytes("out.tar.zst") == Array("precious".utf8))
    #expect(try Command.run(arguments + ["--force"]).status == 0)
    #expect(try Command.run("inspect", bench.output, "--check", "-q").status == 0)
    let again = try Command.run(arguments + ["--resume"])
    expect(again, fails: 2, saying: ["is complete", "quantize verify"])
  }

  @Test func `a failed run leaves the output that it was to replace`() throws {
    let bench = try Workbench()
    try bench.folder.write("out.tar.zst", "precious")
    try bench.folder.write("model/tokenizer.json", "{")
    let result = try Command.run(bench.arguments("--force", "-q"))
    expect(result, fails: 3, saying: ["tokenizer.json"])
    #expect(try bench.folder.bytes("out.tar.zst") == Array("precious".utf8))
  }

  @Test func `force never removes what this program has not written`() throws {
    let bench = try Workbench()
    try bench.folder.write("photos/cat.jpg", "meow")
    for name in ["photos/", "model/", "/"] {
      let path = name == "/" ? bench.folder.path + "/" : bench.folder(name)
      let result = try Command.run([bench.model, "-o", path, "--method", "rtn", "--no-verify", "--force", "-q"])
      expect(result, fails: 2, saying: ["has not written"])
    }
    #expect(try bench.folder.names(in: "photos") == ["cat.jpg"] && bench.folder.has("model/model.safetensors"))
    // A folder of its own may be replaced; a file may not take its place.
    let folder = [bench.model, "-o", bench.folder("out/"), "--method", "rtn", "--no-verify", "-q"]
    #expect(try Command.run(folder).status == 0)
    expect(try Command.run(folder), fails: 2, saying: ["is there already"])
    #expect(try Command.run(folder + ["--force"]).status == 0)
    try bench.folder.write("file.txt", "x")
    let file = [bench.model, "-o", bench.folder("file.txt/"), "--method", "rtn", "--no-verify", "--force", "-q"]
    expect(try Command.run(file), fails: 2, saying: ["is a file"])
  }

  @Test(arguments: ["out.zip", "out", "/", "out.safetensors"])
  func `an output of another kind is refused`(_ name: String) throws {
    let bench = try Workbench.shared.get()
    expect(try Command.run(bench.model, "-o", name, "-q"), fails: 2, saying: ["-o \(name)", "NAME.tar.zst"])
  }

  @Test func `an unknown instruction set is refused with those there are`() throws {
    let bench = try Workbench.shared.get()
    let result = try Command.run(["inspect", bench.model], environment: ["QUANTIZE_ISA": "nonsense"])
    expect(result, fails: 2, saying: ["QUANTIZE_ISA", "\"nonsense\"", "portable"])
  }

  @Test func `recipe files are refused by key, in one line`() throws {
    let bench = try Workbench()
    for (yaml, words) in [
      ("scheme: none", ["recipe.yaml", "scheme is none"]),
      ("shceme: W4A16", ["recipe.yaml", "shceme", "is not known"]),
      ("scheme: [\nmethod: {", ["recipe.yaml", "is not YAML"]),
    ] {
      let recipe = try bench.folder.write("recipe.yaml", yaml)
      expect(try Command.run(bench.arguments("-q", "--recipe", recipe)), fails: 2, saying: words)
    }
  }

  @Test func `bits are those of the scheme, also of a recipe's`() throws {
    let bench = try Workbench.shared.get()
    let folder = try TestFolder()
    try folder.write("recipe.yaml", "scheme: W4A16\ngroup_size: 32\nmethod: rtn\n")
    for (options, title) in [
      (["--bits", "3", "--method", "rtn"], "W3A16_ASYM, "), (["--scheme", "w6a16", "--method", "rtn"], "W6A16, "),
      (["--recipe", folder("recipe.yaml"), "--bits", "5"], "W5A16, groups of 32"),
      (["--scheme", "W8A16", "--bits", "8", "--method", "rtn"], "W8A16, "),
    ] {
      let result = try Command.run(["plan", bench.model, "--json"] + options)
      #expect(result.status == 0, "\(result.error)")
      let titles = try result.json()["linears"]?.objectValue?.members.map(\.name) ?? []
      #expect(titles.contains { $0.hasPrefix(title) }, "\(titles)")
    }
  }

  @Test func `options win over the recipe file`() throws {
    let bench = try Workbench()
    let recipe = try bench.folder.write("recipe.yaml", "scheme: W8A16\nmethod: rtn\nignore: ['re:.*k_proj']\n")
    let result = try Command.run("plan", bench.model, "--recipe", recipe, "--scheme", "fp8_dynamic", "--json")
    #expect(result.status == 0)
    let groups = try #require(try result.json()["linears"]?.objectValue)
    #expect(groups.members.contains { $0.name.hasPrefix("FP8_DYNAMIC") && $0.value == 12 }, "\(result.output)")
    #expect(groups["kept"] == 3)
  }
}
