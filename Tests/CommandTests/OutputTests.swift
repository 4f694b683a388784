import Checkpoints
import Foundation
import StrictJSON
import Tensors
import TestSupport
import Testing

/// What commands print, and where.
@Suite struct OutputTests {
  @Test func `a run prints its result on standard output and events of JSON on standard error`() throws {
    let bench = try Workbench()
    let result = try Command.run(bench.arguments("--json") + bench.judged)
    #expect(result.status == 0)
    let json = try result.json()
    #expect(result.output.split(separator: "\n").count == 1)
    for key in ["version", "kl", "perplexity", "top1Agreement", "tokens", "size", "layers", "gate", "machine"] {
      #expect(json[key] != nil, "\(key)")
    }
    #expect(json["layers"]?.arrayValue?.count == 14)
    let lines = result.error.split(separator: "\n")
    let events = try lines.map { try JSONValue(parsing: $0.utf8) }
    let stages = events.compactMap { $0["stage"]?.stringValue }
    #expect(
      stages.count == events.count && Set(stages).isSuperset(of: ["digest", "note", "quantize", "check", "verify"]))
    #expect(events.contains { $0["stage"] == "note" && $0["detail"]?.stringValue?.contains("96 columns") == true })
    #expect(try bench.folder.json("out.report/report.json") == json)
  }

  @Test func `quiet leaves standard error empty`() throws {
    let bench = try Workbench()
    let result = try Command.run(bench.arguments("-q") + bench.judged)
    #expect(result.status == 0 && result.error == "")
    for word in ["out.tar.zst", "size", "perplexity", "KL", "top token", "measured on", "folds", "report"] {
      #expect(result.output.contains(word), "\(word)")
    }
  }

  @Test func `the bytes do not depend on the number of threads`() throws {
    let bench = try Workbench()
    let digests = try ["1", "2", "7"].map { threads in
      try Command.run(
        bench.arguments("--no-verify", "--json", "-q", "--force", "--threads", threads)
      ).json()["sha256"]
    }
    #expect(Set(digests.map { $0?.stringValue }).count == 1 && digests[0] != nil)
  }

  @Test func `plan shows what would be without doing it`() throws {
    let bench = try Workbench()
    let text = try Command.run("plan", bench.model)
    #expect(text.status == 0 && text.error == "")
    for word in ["source", "output", "memory", "2 × W4A16_ASYM, groups of 32, awq", "note"] {
      #expect(text.output.contains(word), "\(text.output)")
    }
    let json = try Command.run("plan", bench.model, "--json").json()
    let peak = try #require(json["peakMemory"]?.intValue)
    let source = try #require(json["sourceBytes"]?.intValue)
    let output = try #require(json["outputBytesBeforeCompression"]?.intValue)
    #expect(json["linears"]?["kept"] == 1 && peak > 0 && output < source)
    #expect(try bench.folder.names() == ["model", "text.txt"])
  }

  @Test func `tokenize prints ids`() throws {
    let bench = try Workbench()
    #expect(try Command.run("tokenize", bench.model, "--prompt", "ab").output == "[97,98]\n")
    #expect(try Command.run("tokenize", bench.model, "--prompt", "ab", "--special").output == "[256,97,98]\n")
    #expect(try Command.run("tokenize", bench.model, "--prompt", "a<|end|>é").output == "[97,256,195,169]\n")
    try bench.folder.write("short.txt", "hi\n")
    let file = try Command.run("tokenize", bench.model, "--text", bench.folder("short.txt"))
    #expect(file.output == "[104,105,10]\n" && file.status == 0)
    try bench.folder.write("bytes.txt", [0xFF])
    expect(
      try Command.run("tokenize", bench.model, "--text", bench.folder("bytes.txt")), fails: 3, saying: ["not UTF-8"])
  }

  @Test func `logits are written as one tensor, from the folder and from the artifact`() throws {
    let bench = try Workbench.shared.get()
    let folder = try TestFolder()
    let ids = try folder.write("ids.json", "[256, 72, 105]")
    var found: [[Float]] = []
    for (model, name) in [(bench.model, "a"), (bench.model, "b"), (bench.output, "c")] {
      let path = folder(name + ".safetensors")
      let result = try Command.run("logits", model, "--tokens", ids, "-o", path, "-q")
      #expect(result.status == 0 && result.output == "\(path)  logits F32 [3, 272]\n")
      let file = try SafetensorsFile(path: path)
      #expect(file.tensors == [TensorInfo(name: "logits", dtype: .float32, shape: [3, 272])])
      found.append(try file.tensor("logits").floats())
    }
    #expect(found[0] == found[1])
    // Quantized to four bits: near, but not the same.
    let distance = Deviation.relative(found[2], found[0])
    #expect(distance > 0.001 && distance < 2, "\(distance)")
    let json = try Command.run("logits", bench.model, "--tokens", ids, "-o", folder("d.safetensors"), "--json").json()
    #expect(json["shape"] == [3, 272])
  }

  @Test func `inspect shows tensors, schemes and digests`() throws {
    let bench = try Workbench.shared.get()
    let text = try Command.run("inspect", bench.output, "--tensors")
    #expect(text.status == 0 && text.error == "")
    for word in [
      "model type   qwen2", "sha256", "W4A16_ASYM (I32)", "member       digests.json",
      "model.layers.1.mlp.down_proj.weight_packed  I32 [64, 12]",
    ] { #expect(text.output.contains(word), "\(word) in \(text.output)") }
    let json = try Command.run("inspect", bench.output, "--json", "-q").json()
    let tensors = try #require(json["tensors"]?.arrayValue)
    let packed = try #require(tensors.first { $0["name"] == "model.layers.0.self_attn.q_proj.weight_packed" })
    #expect(packed["scheme"] == "W4A16_ASYM" && packed["dtype"] == "I32" && packed["shape"] == [64, 8])
    #expect(tensors.first { $0["name"] == "model.norm.weight" }?["scheme"] == "")
    #expect(json["sha256"]?.stringValue?.count == 64 && json["checked"] == false)
    #expect(json["quantization"] == "compressed-tensors" && text.output.contains("quantized    compressed-tensors"))
    let source = try Command.run("inspect", bench.model, "--json", "-q").json()
    #expect(source["quantization"] == .null)
    // Two layers of seven linears, three biases and two norms; the embedding and the last norm.
    #expect(source["tensors"]?.arrayValue?.count == 26)
  }

  @Test func `inspect shows layouts of other tools, in few lines`() throws {
    let folder = try TestFolder()
    for (kind, method, scheme) in [
      (QuantizedSource.awq, "awq", "W4A16_ASYM (I32)"), (.gptq, "gptq", "W4A16_ASYM (F16)"),
      (.float8Tensor, "modelopt", "FP8 (F8_E4M3)"), (.nvfp4, "modelopt", "NVFP4 (U8)"),
    ] {
      try kind.model().write(to: folder(kind.rawValue))
      let result = try Command.run("inspect", folder(kind.rawValue), "-q")
      #expect(result.output.contains("quantized    \(method)\n") && result.output.contains(scheme), "\(result.output)")
      #expect(result.output.split(separator: "\n").count < 12)
    }
  }

  @Test func `generate continues a prompt, the same from the same seed`() throws {
    let bench = try Workbench.shared.get()
    let arguments = ["generate", bench.output, "--prompt", "Once", "--max-tokens", "12"]
    let greedy = try Command.run(arguments)
    #expect(greedy.status == 0 && greedy.output.hasSuffix("\n") && greedy.sentences.count == 1)
    #expect(greedy.error.contains("a second"))
    #expect(try Command.run(arguments + ["-q"]).output == greedy.output)
    let drawn = arguments + ["-q", "--temperature", "1", "--seed"]
    let (one, two, other) = (
      try Command.run(drawn + ["5"]), try Command.run(drawn + ["5"]), try Command.run(drawn + ["6"])
    )
    #expect(one.output == two.output && one.output != other.output)
    let json = try Command.run(arguments + ["--json"]).json()
    #expect(json["promptTokens"] == 5 && json["tokens"]?.intValue ?? 99 <= 12)
    #expect((json["text"]?.stringValue ?? "") + "\n" == greedy.output)
    let long = try Command.run("generate", bench.model, "--prompt", String(repeating: "a", count: 128), "-q")
    expect(long, fails: 3, saying: ["129 tokens", "128 positions"])
  }

  @Test func `a reader that goes away does not crash the program`() throws {
    let bench = try Workbench.shared.get()
    let folder = try TestFolder()
    let status = folder("status")
    _ = try Command.shell(
      "(\"$QUANTIZE\" generate \"$0\" --prompt Once --max-tokens 100; echo $? > \"$1\") 2>&1 | true", bench.model,
      status)
    #expect(try folder.bytes("status") == Array("0\n".utf8))
    let errors = try Command.shell(
      "(\"$QUANTIZE\" evaluate \"$0\" --tokens 64 > /dev/null; echo $? > \"$1\") 2>&1 | true", bench.model, status)
    #expect(errors.status == 0)
    #expect(try folder.bytes("status") == Array("0\n".utf8))
  }

  @Test func `evaluate prints a perplexity`() throws {
    let bench = try Workbench.shared.get()
    let arguments = ["evaluate", bench.model, "-q"] + bench.judged
    let text = try Command.run(arguments)
    let line = text.output.wholeMatch(of: /perplexity [0-9.]+ \([0-9.]+–[0-9.]+\) on 252 tokens in 4 windows\n/)
    #expect(text.status == 0 && line != nil, "\(text.output)")
    let json = try Command.run(arguments + ["--json"]).json()
    let numbers = try ["low", "value", "high"].map { try #require(json["perplexity"]?[$0]?.doubleValue) }
    #expect(numbers == numbers.sorted() && numbers[0] < numbers[2])
    #expect(json["tokens"] == 252 && json["windows"] == 4)
    // No more tokens than asked for, even if a window would be longer.
    let few = try Command.run("evaluate", bench.model, "--tokens", "32", "--text", bench.text, "--json", "-q").json()
    #expect(few["tokens"] == 31)
  }

  @Test func `a name is found in the Hugging Face cache that the environment names`() throws {
    let folder = try TestFolder()
    let commit = String(repeating: "0123456789", count: 4)
    try folder.write("home/hub/models--org--tiny/refs/main", commit)
    try TinyModel().write(to: folder("home/hub/models--org--tiny/snapshots/" + commit))
    for environment in [
      ["HF_HOME": folder("home")], ["HF_HUB_CACHE": folder("home/hub")], ["HUGGINGFACE_HUB_CACHE": folder("home/hub")],
      ["HF_HOME": "/none", "HF_HUB_CACHE": folder("home/hub")],
    ] {
      for name in ["org/tiny", "org/tiny@main", "org/tiny@" + commit] {
        let result = try Command.run(["tokenize", name, "--prompt", "a"], environment: environment)
        #expect(result.output == "[97]\n", "\(result.error)")
      }
      let missing = try Command.run(["tokenize", "org/tony", "--prompt", "a"], environment: environment)
      expect(missing, fails: 3, saying: ["org/tony", "org/tiny", "hf download org/tony"])
    }
    let elsewhere = try Command.run(
      ["tokenize", "org/tiny", "--prompt", "a"], environment: ["HF_HOME": folder("none")])
    expect(elsewhere, fails: 3, saying: ["org/tiny", "HF_HOME"])
  }

  @Test func `one safetensors file with its configuration beside it is a model`() throws {
    let bench = try Workbench.shared.get()
    let result = try Command.run("evaluate", bench.model + "/model.safetensors", "-q", "--tokens", "64")
    #expect(result.status == 0, "\(result.error)")
  }
}
