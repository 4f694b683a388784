import Checkpoints
import Foundation
import StrictJSON
import Tensors
import TestSupport
import Testing

/// `--adapter`: a LoRA adapter on top of a model, wherever a model is read.
@Suite struct AdapterTests {
  private let folder: TestFolder

  init() throws { folder = try TestFolder() }

  private func logits(_ model: String, _ more: String..., ids: String = "[1, 72, 105, 33]") throws -> [Float] {
    let tokens = try folder.write("ids.json", ids)
    let result = try Command.run(
      ["logits", model, "--tokens", tokens, "-o", folder("logits.safetensors"), "-q"] + more)
    try #require(result.status == 0, "\(result.error)")
    return try SafetensorsFile(path: folder("logits.safetensors")).tensor("logits").floats()
  }

  /// A LoRA adapter of rank 2 on some modules of the tiny model.
  private func writeAdapter(_ modules: [String: (outFeatures: Int, inFeatures: Int)], strength: Float = 0.2) throws
    -> String
  {
    var generator = SeededGenerator(seed: 3)
    var tensors: [(name: String, tensor: Tensor)] = []
    for (name, shape) in modules.sorted(by: { $0.key < $1.key }) {
      let prefix = "base_model.model." + name
      let down = generator.normals(2 * shape.inFeatures).map { $0 * strength }
      let up = generator.normals(2 * shape.outFeatures).map { $0 * strength }
      tensors.append((prefix + ".lora_A.weight", Tensor([2, shape.inFeatures], floats: down)))
      tensors.append((prefix + ".lora_B.weight", Tensor([shape.outFeatures, 2], floats: up)))
    }
    let names = Set(modules.keys.map { String($0.split(separator: ".").last ?? "") }).sorted()
    let configuration: JSONValue = [
      "peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none",
      "target_modules": .array(names.map { .string($0) }),
    ]
    try folder.write("adapter/adapter_config.json", configuration.prettyText)
    try TinyModel.write(tensors, to: folder("adapter/adapter_model.safetensors"))
    return folder("adapter")
  }

  private func writeAdapter() throws -> String {
    try writeAdapter([
      "model.layers.0.self_attn.q_proj": (64, 64), "model.layers.1.mlp.down_proj": (64, 96),
      "model.layers.1.self_attn.v_proj": (32, 64),
    ])
  }

  @Test(
    .enabled(if: SharedFolder.exists, "needs the golden models beside the checkout"),
    arguments: ["lora", "rslora", "dora"])
  func `logits are PEFT's, merged as they are read and merged before`(_ kind: String) throws {
    let shared = try #require(SharedFolder.path)
    let (golden, adapter) = (shared + "/golden/qwen2", shared + "/adapters/qwen2-\(kind)")
    let ids = String(decoding: try Data(contentsOf: URL(filePath: golden + "/tokens.json")), as: UTF8.self)
    let file = try SafetensorsFile(path: adapter + "/logits.safetensors")
    let expected = try file.tensor(try #require(file.tensors.first).name).floats()
    let found = try logits(golden, "--adapter", adapter, ids: ids)
    #expect(Deviation.relative(found, expected) < 1e-4)
    #expect(Deviation.relative(try logits(golden, ids: ids), expected) > 0.01)
    #expect(try Command.run("merge", golden, "--adapter", adapter, "-o", folder("merged/"), "-q").status == 0)
    #expect(try logits(folder("merged"), ids: ids) == found)
  }

  @Test func `an adapter on quantized weights is an adapter on what they stand for`() throws {
    for kind in [QuantizedSource.awq, .float8Rows, .gptqOutOfOrder] {
      let model = folder(kind.rawValue)
      try kind.model().write(to: model)
      let adapter = try writeAdapter()
      let plain = folder(kind.rawValue + "-f32/")
      #expect(try Command.run("convert", model, "-o", plain, "--to", "float32", "-q").status == 0)
      let expected = try logits(plain, "--adapter", adapter)
      #expect(Deviation.relative(try logits(model, "--adapter", adapter), expected) < 1e-4)
      #expect(Deviation.relative(try logits(model), expected) > 0.01)
    }
  }

  @Test func `a run quantizes the merged model, names the adapter, and is judged by it`() throws {
    let bench = try Workbench()
    let adapter = try writeAdapter()
    let run = try Command.run(bench.arguments("--adapter", adapter, "--json", "-q") + bench.judged)
    try #require(run.status == 0, "\(run.error)")
    let report = try run.json()
    let recorded = try #require(report["recipe"]?["adapter"])
    #expect(recorded["name"] == "adapter" && recorded["sha256"]?.stringValue?.count == 64)
    let text = try #require(try Checkpoint(bench.output).file("recipe.yaml"))
    #expect(try JSONValue(parsing: text)["adapter"] == recorded)
    #expect(run.output.contains("with adapter adapter (sha256 "))
    // Merged before, the weights are the same numbers: so are the codes of a linear that the adapter changes. Bytes of
    // the whole are not: the merged model is stored as F32, and scales follow the type of the weights.
    let merged = bench.folder("merged/")
    #expect(try Command.run("merge", bench.model, "--adapter", adapter, "-o", merged, "-q").status == 0)
    let verify = ["verify", merged, bench.output, "--json", "-q"] + bench.judged
    let judged = try Command.run(verify).json()
    #expect(judged["kl"]?["mean"] == report["kl"]?["mean"])
    // By the base alone the same artifact is far off, and with the adapter it is not.
    let base = try Command.run(["verify", bench.model, bench.output, "--json", "-q"] + bench.judged).json()
    let adapted = try Command.run(
      ["verify", bench.model, bench.output, "--adapter", adapter, "--json", "-q"] + bench.judged
    ).json()
    #expect(adapted["kl"]?["mean"] == report["kl"]?["mean"])
    let (far, near) = (
      try #require(base["kl"]?["mean"]?["value"]?.doubleValue), adapted["kl"]?["mean"]?["value"]?.doubleValue
    )
    #expect(far > 2 * (near ?? .infinity))
  }

  @Test func `another adapter is another run`() throws {
    // Weights that are stored quantized do not show in the source's digest what an adapter makes of them.
    try QuantizedSource.awq.model().write(to: folder("model"))
    let modules = ["model.layers.0.self_attn.q_proj": (outFeatures: 64, inFeatures: 64)]
    var digests: Set<String> = []
    for strength: Float in [0.1, 0.2] {
      let adapter = try writeAdapter(modules, strength: strength)
      let output = folder("out\(strength).tar.zst")
      let result = try Command.run(
        "run", folder("model"), "--adapter", adapter, "-o", output, "--scheme", "FP8_DYNAMIC", "--ignore",
        "re:.*q_proj", "--no-verify", "-q", "--json")
      try #require(result.status == 0, "\(result.error)")
      digests.insert(try #require(try result.json()["sha256"]?.stringValue))
      // The linear that the adapter changes is decoded, its neighbour keeps its codes.
      let weights = try Checkpoint(output).weights
      #expect(weights.info("model.layers.0.self_attn.q_proj.weight") != nil)
      #expect(weights.info("model.layers.1.self_attn.q_proj.weight_packed") != nil)
    }
    #expect(digests.count == 2)
    // What one has begun the other does not continue.
    let line = "\"$QUANTIZE\" \"$0\" --adapter \"$1\" -o \"$2\" --scheme FP8_DYNAMIC --no-verify -q"
    let path = folder("stopped.tar.zst")
    let full = try Command.shell("ulimit -f 64; exec " + line, folder("model"), folder("adapter"), path)
    expect(full, fails: 5, saying: ["cannot write"])
    let other = try writeAdapter(modules, strength: 0.3)
    expect(try Command.shell(line + " --resume", folder("model"), other, path), fails: 3, saying: ["another one"])
  }

  @Test func `other commands take it too`() throws {
    let bench = try Workbench.shared.get()
    let adapter = try writeAdapter()
    let evaluate = ["evaluate", bench.model, "--json", "-q"] + bench.judged
    let (one, two) = (try Command.run(evaluate).json(), try Command.run(evaluate + ["--adapter", adapter]).json())
    #expect(one["perplexity"]?["value"] != two["perplexity"]?["value"] && two["perplexity"] != nil)
    let generate = ["generate", bench.model, "--prompt", "Once", "--max-tokens", "12", "--temperature", "1", "-q"]
    let (base, other) = (try Command.run(generate), try Command.run(generate + ["--adapter", adapter]))
    #expect(base.status == 0 && other.status == 0 && base.output != other.output)
    #expect(try Command.run("plan", bench.model, "--adapter", adapter).status == 0)
  }

  @Test func `an adapter that is missing, or another model's, is refused`() throws {
    let bench = try Workbench.shared.get()
    let commands = [
      ["logits", bench.model, "--tokens", try folder.write("ids.json", "[1]"), "-o", folder("l.safetensors"), "-q"],
      ["plan", bench.model], ["evaluate", bench.model, "-q"], ["generate", bench.model, "--prompt", "a", "-q"],
      ["merge", bench.model, "-o", folder("m/"), "-q"], [bench.model, "-o", folder("o.tar.zst"), "-q"],
      ["verify", bench.model, bench.output, "-q"],
    ]
    for command in commands {
      expect(try Command.run(command + ["--adapter", folder("none")]), fails: 3, saying: ["none"])
      expect(
        try Command.run(command + ["--adapter", bench.model]), fails: 3,
        saying: ["adapter_config.json", "is not a PEFT adapter"])
    }
    let stranger = try writeAdapter(["model.layers.7.self_attn.q_proj": (64, 64)])
    for command in commands {
      expect(
        try Command.run(command + ["--adapter", stranger]), fails: 3, saying: ["model.layers.7.self_attn.q_proj"])
    }
    #expect(try folder.names() == ["adapter", "ids.json"])
  }

  @Test func `merging into quantized weights is refused`() throws {
    let adapter = try writeAdapter()
    try QuantizedSource.gptq.model().write(to: folder("model"))
    let result = try Command.run("merge", folder("model"), "--adapter", adapter, "-o", folder("m/"), "-q")
    expect(result, fails: 3, saying: ["the model is quantized"])
  }
}
