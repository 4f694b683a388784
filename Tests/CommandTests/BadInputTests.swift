import Checkpoints
import Foundation
import StrictJSON
import Tensors
import TestSupport
import Testing

/// Exit code 3: input that is refused, with the file and the place.
@Suite struct BadInputTests {
  /// Quantizing, verifying, evaluating and inspecting refuse alike, and nothing that looks finished is left.
  private static func expectRefusal(
    _ bench: Workbench, _ words: [String], commands: [[String]]? = nil, location: SourceLocation = #_sourceLocation
  ) throws {
    let all = [
      bench.arguments("--quiet"), [bench.model, "-o", bench.folder("out/"), "--method", "rtn", "--quiet"],
      ["evaluate", bench.model, "--quiet"], ["verify", bench.model, bench.model, "--quiet"],
      ["plan", bench.model],
    ]
    for command in commands ?? all {
      expect(try Command.run(command), fails: 3, saying: words, location: location)
    }
    #expect(try bench.folder.names() == ["model", "text.txt"], sourceLocation: location)
  }

  @Test func `a truncated shard is named with the bytes it lacks`() throws {
    let bench = try Workbench(shards: 3)
    let name = "model/model-00002-of-00003.safetensors"
    let bytes = try bench.folder.bytes(name)
    try bench.folder.write(name, bytes.dropLast(100))
    try Self.expectRefusal(bench, ["model-00002-of-00003.safetensors", "\(bytes.count - 100)"])
    try bench.folder.write(name, bytes.prefix(5))
    try Self.expectRefusal(bench, ["model-00002-of-00003.safetensors", "8 bytes"])
    try bench.folder.write(name, [UInt8]())
    try Self.expectRefusal(bench, ["model-00002-of-00003.safetensors"])
  }

  @Test func `a missing shard is named`() throws {
    let bench = try Workbench(shards: 3)
    try FileManager.default.removeItem(atPath: bench.folder("model/model-00003-of-00003.safetensors"))
    try Self.expectRefusal(bench, ["model-00003-of-00003.safetensors"])
  }

  @Test func `wrong offsets are named with the tensor and the place in the file`() throws {
    let bench = try Workbench()
    let bytes = try bench.folder.bytes("model/model.safetensors")
    let size = Int(bytes[0]) + Int(bytes[1]) << 8 + Int(bytes[2]) << 16
    let header = String(decoding: bytes[8..<8 + size], as: UTF8.self)
    let key = "\"model.norm.weight\""
    let start = try #require(header.range(of: key)).upperBound
    let offsets = try #require(header.range(of: "\"data_offsets\":[", range: start..<header.endIndex)).upperBound
    let digit = header[offsets]
    var changed = header
    changed.replaceSubrange(offsets...offsets, with: digit == "1" ? "2" : "1")
    try bench.folder.write("model/model.safetensors", bytes[..<8] + Array(changed.utf8) + bytes[(8 + size)...])
    try Self.expectRefusal(bench, ["model.safetensors", "\"model.", "at byte"])
    // A header that is not JSON, and one that claims more than the file has.
    try bench.folder.write("model/model.safetensors", bytes[..<8] + Array("[".utf8) + bytes[9...])
    try Self.expectRefusal(bench, ["model.safetensors", "at byte"])
    try bench.folder.write("model/model.safetensors", [255, 255, 255, 255, 0, 0, 0, 0] + bytes[8...])
    try Self.expectRefusal(bench, ["model.safetensors", "4294967295"])
  }

  @Test func `a missing tensor is named`() throws {
    var tiny = TinyModel()
    tiny.missing = ["model.layers.1.mlp.gate_proj.weight"]
    try Self.expectRefusal(try Workbench(tiny), ["\"model.layers.1.mlp.gate_proj.weight\" is missing"])
  }

  @Test func `a tensor of the wrong shape is named with both shapes`() throws {
    var tiny = TinyModel()
    tiny.tensors["model.norm.weight"] = Tensor([65], floats: [Float](repeating: 1, count: 65), as: .bfloat16)
    try Self.expectRefusal(try Workbench(tiny), ["\"model.norm.weight\"", "BF16 [65]", "[64]"])
  }

  @Test(arguments: ["model.embed_tokens.weight", "model.layers.1.mlp.down_proj.weight", "model.norm.weight"])
  func `NaN is named with its tensor and place`(_ name: String) throws {
    var tiny = TinyModel()
    let tensor = try #require(tiny.drawnTensors().first { $0.name == name }?.tensor)
    var values = tensor.floats()
    values[7] = .nan
    tiny.tensors[name] = Tensor(tensor.shape, floats: values, as: .bfloat16)
    let bench = try Workbench(tiny)
    let place = tensor.shape.rank == 2 ? "row 0, column 7" : "element 7"
    try Self.expectRefusal(
      bench, ["\"\(name)\"", place],
      commands: [
        bench.arguments("--quiet"), bench.arguments("--quiet", "--method", "rtn"),
        [bench.model, "-o", bench.folder("out/"), "--scheme", "FP8", "--calibration", bench.text, "--quiet"],
      ])
    let check = try Command.run("inspect", bench.model, "--check", "--quiet")
    expect(check, fails: 7, saying: ["\"\(name)\"", "element 7"])
  }

  @Test(
    arguments: [
      (["model_type": "mamba2"], ["model_type \"mamba2\" is not known", "llama, mistral"]),
      (["model_type": .null], ["model_type is missing"]),
      (["hidden_act": "relu"], ["hidden_act is \"relu\"", "silu"]),
      (["rope_scaling": ["rope_type": "ntk"]], ["rope_scaling.rope_type", "\"ntk\"", "yarn"]),
      (["rope_scaling": ["rope_type": "longrope"]], ["config.json: ", "original_max_position_embeddings"]),
      (["num_key_value_heads": 3], ["num_key_value_heads is 3", "4 heads"]),
      (["intermediate_size": 128], ["\"model.layers.0.mlp.gate_proj.weight\"", "[96, 64]", "[128, 64]"]),
      (["quantization_config": ["quant_method": "bitsandbytes"]], ["bitsandbytes"]),
    ] as [(JSONObject, [String])])
  func `a configuration that cannot be computed is refused by its key`(
    _ changes: JSONObject, _ words: [String]
  ) throws {
    var tiny = TinyModel(modelType: "qwen2")
    tiny.configuration = changes
    try Self.expectRefusal(try Workbench(tiny), words)
  }

  @Test func `a configuration that is missing or no JSON is named`() throws {
    let bench = try Workbench()
    try bench.folder.write("model/config.json", "{\"model_type\": \"llama\",")
    try Self.expectRefusal(bench, ["config.json", "at byte"])
    try FileManager.default.removeItem(atPath: bench.folder("model/config.json"))
    try Self.expectRefusal(bench, ["config.json", "not found"])
  }

  @Test func `a tokenizer that is damaged or missing is refused before the work, not after it`() throws {
    let bench = try Workbench()
    let rounding = [bench.model, "-o", bench.output, "--method", "rtn", "--quiet"]
    try bench.folder.write("model/tokenizer.json", "{\"model\":")
    try Self.expectRefusal(bench, ["tokenizer.json"], commands: [bench.arguments("--quiet"), rounding])
    try FileManager.default.removeItem(atPath: bench.folder("model/tokenizer.json"))
    try Self.expectRefusal(
      bench, ["neither tokenizer.json nor tokenizer.model"], commands: [bench.arguments("--quiet"), rounding])
    #expect(try Command.run(rounding + ["--no-verify"]).status == 0)
  }

  @Test func `texts that cannot be read are refused before the work`() throws {
    let bench = try Workbench()
    try bench.folder.write("bad.jsonl", "{\"text\": \"a\"}\n{}\n")
    let rounding = [bench.model, "-o", bench.output, "--method", "rtn", "--quiet"]
    for (text, word) in [("none.txt", "none.txt"), ("bad.jsonl", "bad.jsonl line 2")] {
      for command in [
        rounding + ["--text", bench.folder(text)],
        [bench.model, "-o", bench.output, "--calibration", bench.folder(text), "--quiet"],
        ["evaluate", bench.model, "--text", bench.folder(text), "--quiet"],
      ] { expect(try Command.run(command), fails: 3, saying: [word]) }
    }
    #expect(try bench.folder.names() == ["bad.jsonl", "model", "text.txt"])
  }

  @Test func `a model that is not there is refused with what is near`() throws {
    let bench = try Workbench()
    expect(try Command.run("inspect", bench.folder("modle")), fails: 3, saying: ["modle", "near", "model"])
    expect(try Command.run("inspect", bench.folder("none.tar.zst")), fails: 3, saying: ["none.tar.zst"])
    try bench.folder.write("pytorch_model.bin", "x")
    expect(try Command.run("inspect", bench.folder("pytorch_model.bin")), fails: 3, saying: ["pickles"])
  }

  @Test func `an output that cannot be written is refused`() throws {
    let bench = try Workbench()
    for path in ["none/out.tar.zst", "text.txt/out.tar.zst", "text.txt/out/"] {
      let result = try Command.run([
        bench.model, "-o", bench.folder(path), "--method", "rtn", "--no-verify", "--quiet",
      ])
      expect(result, fails: 3, saying: [path.hasSuffix("/") ? "text.txt/out" : path])
    }
    #expect(try bench.folder.names() == ["model", "text.txt"])
    let logits = try Command.run(
      "logits", bench.model, "--tokens", bench.folder.write("ids.json", "[1]"), "-o", bench.folder("none/l.safetensors")
    )
    expect(logits, fails: 3, saying: ["none/l.safetensors"])
  }

  @Test(arguments: [("[1, 2", "ids.json"), ("{}", "array"), ("[]", "array"), ("[1.5]", "array"), ("[999]", "999")])
  func `ids that are none are refused`(_ content: String, _ word: String) throws {
    let bench = try Workbench.shared.get()
    let folder = try TestFolder()
    let result = try Command.run(
      "logits", bench.model, "--tokens", folder.write("ids.json", content), "-o", folder("l.safetensors"), "-q")
    expect(result, fails: 3, saying: [word])
    #expect(try folder.names() == ["ids.json"])
  }

  @Test func `two models that do not belong together are refused`() throws {
    var other = TinyModel()
    other.vocabularySize = 288
    let (one, two) = (try Workbench(), try Workbench(other))
    let result = try Command.run(["verify", one.model, two.model, "-q"] + one.judged)
    expect(result, fails: 3, saying: ["272", "288"])
  }
}
