import Checkpoints
import Foundation
import Quantization
import StrictJSON
import Tensors
import TestSupport
import Testing

/// Whole models with an adapter in them, opened and written.
@Suite struct AdapterModelTests {
  /// A model of the committed bases, with a tokenizer.
  private func model(_ kind: String = "llama", tied: Bool = false) throws -> TestFolder {
    let folder = try TestFolder()
    try folder.write(
      "model.safetensors", Data(contentsOf: URL(filePath: AdapterVector.path("base-\(kind).safetensors"))))
    try folder.write(
      "config.json",
      #"{"model_type": "llama", "vocab_size": 10, "tie_word_embeddings": \#(tied), "torch_dtype": "bfloat16"}"#)
    try folder.write("tokenizer.json", "the base's")
    try folder.write("LICENSE", "free")
    return folder
  }

  @Test func `a checkpoint with an adapter is the same but for what the adapter changes`() throws {
    let folder = try model()
    let base = try Checkpoint(folder.path)
    let adapted = try base.adapted(by: AdapterVector.adapter("lora"))
    #expect(adapted.adapter != nil && base.adapter == nil)
    #expect(adapted.name == base.name && adapted.configuration == base.configuration)
    #expect(try adapted.sideFiles() == base.sideFiles())
    #expect(try adapted.file("config.json") == base.file("config.json"))
    #expect(adapted.weights.tensors.map(\.name) == base.weights.tensors.map(\.name))
    let source = try #require(adapted.weights as? AdaptedSource)
    #expect(source.changedNames.count == 4)
    #expect(throws: CheckpointError.self) { try adapted.adapted(by: AdapterVector.adapter("lora")) }
  }

  @Test func `config.json says that a tie was broken`() throws {
    let folder = try model("tied", tied: true)
    let adapted = try Checkpoint(folder.path).adapted(by: AdapterVector.adapter("tied-both-saved"))
    #expect(adapted.configuration["tie_word_embeddings"] == false)
    let text = try #require(try adapted.file("config.json"))
    #expect(try JSONValue(parsing: text).objectValue == adapted.configuration)
    #expect(adapted.weights.info("lm_head.weight")?.shape == [10, 8])
    let kept = try Checkpoint(folder.path).adapted(by: AdapterVector.adapter("tied-embedding"))
    #expect(kept.configuration["tie_word_embeddings"] == true)
  }

  @Test func `a grown vocabulary comes with its size and its tokenizer`() throws {
    var grown = try SpoiltAdapter("saved")
    let (embedding, head) = ("base_model.model.model.embed_tokens.weight", "base_model.model.lm_head.weight")
    var generator = SeededGenerator(seed: 5)
    grown.set(embedding, Tensor([12, 8], floats: generator.normals(96)))
    grown.set(head, Tensor([12, 8], floats: generator.normals(96)))
    let folder = try TestFolder()
    try grown.write(to: folder)
    try folder.write("tokenizer.json", "the adapter's")
    try folder.write("added_tokens.json", "{}")
    let base = try model()
    let adapter = try Adapter(folder: folder.path)
    let adapted = try Checkpoint(base.path).adapted(by: adapter)
    #expect(adapted.configuration["vocab_size"] == 12)
    #expect(try adapted.file("tokenizer.json") == Array("the adapter's".utf8))
    let found = try adapted.weights.tensor("lm_head.weight")
    #expect(found.shape == [12, 8] && found.floats() == grown.tensors.first { $0.name == head }?.tensor.floats())
    // Without new rows the base's own tokenizer stays, whatever lies beside the adapter.
    let folder2 = try TestFolder()
    try SpoiltAdapter("saved").write(to: folder2)
    try folder2.write("tokenizer.json", "the adapter's")
    let same = try Checkpoint(base.path).adapted(by: Adapter(folder: folder2.path))
    #expect(try same.file("tokenizer.json") == Array("the base's".utf8))

    _ = try MergedModel(Checkpoint(base.path), adapter: adapter).write(to: base("out/"))
    #expect(try base.bytes("out/tokenizer.json") == Array("the adapter's".utf8))
    #expect(try base.names(in: "out").contains("added_tokens.json"))
  }

  @Test(arguments: ["out/", "out.tar.zst"]) func `a merged model is written whole, in F32`(_ output: String) throws {
    let folder = try model()
    let base = try Checkpoint(folder.path)
    let merged = try MergedModel(base, adapter: AdapterVector.adapter("dora"))
    var seen: [String] = []
    let summary = try merged.write(to: folder(output)) { seen.append($1.name) }
    #expect(seen == base.weights.tensors.map(\.name))
    #expect(summary.tensors.map(\.name) == seen)
    let written = try Checkpoint(folder(String(output.hasSuffix("/") ? output.dropLast() : output[...])))
    for info in merged.checkpoint.weights.tensors {
      let found = try written.weights.tensor(info.name)
      #expect(found.dtype == .float32)
      #expect(found.bytes == Tensor(info.shape, floats: try merged.checkpoint.weights.tensor(info.name).floats()).bytes)
    }
    #expect(written.configuration["torch_dtype"] == "float32")
    #expect(try written.file("LICENSE") == Array("free".utf8))
    #expect(try !folder.names().contains { $0.contains("partial") || $0.contains("journal") })
  }

  @Test func `in the base's type, changed tensors are rounded once and the others are the same bytes`() throws {
    let folder = try TestFolder()
    let base = try AdapterVector.base("llama")
    let halves = base.entries.map { ($0.name, Tensor($0.tensor.shape, floats: $0.tensor.floats(), as: .bfloat16)) }
    try TinyModel.write(halves, to: folder("model.safetensors"))
    try folder.write("config.json", #"{"model_type": "llama", "dtype": "bfloat16"}"#)
    let model = try Checkpoint(folder.path)
    let merged = try MergedModel(model, adapter: AdapterVector.adapter("lora"), elementType: .base)
    _ = try merged.write(to: folder("out/"))
    let written = try Checkpoint(folder("out"))
    let source = try #require(merged.checkpoint.weights as? AdaptedSource)
    for info in written.weights.tensors {
      #expect(info.dtype == .bfloat16)
      let floats = try source.tensor(info.name).floats()
      #expect(
        try written.weights.tensor(info.name).bytes == Tensor(info.shape, floats: floats, as: .bfloat16).bytes)
      if !source.changedNames.contains(info.name) {
        #expect(try written.weights.tensor(info.name).bytes == model.weights.tensor(info.name).bytes)
      }
    }
    #expect(written.configuration["dtype"] == "bfloat16" && written.configuration["torch_dtype"] == nil)
  }

  @Test func `what fails on the way leaves nothing`() throws {
    struct Stop: Error {}
    let folder = try model()
    let before = try folder.names()
    let merged = try MergedModel(Checkpoint(folder.path), adapter: AdapterVector.adapter("lora"))
    for output in ["out/", "out.tar.zst"] {
      #expect(throws: Stop.self) { try merged.write(to: folder(output)) { index, _ in if index == 3 { throw Stop() } } }
      #expect(try folder.names() == before)
    }
  }

  @Test func `a quantized base is refused, unless the caller merges the rows that it decodes`() throws {
    let folder = try model()
    let base = try AdapterVector.base("llama")
    let name = "model.layers.0.self_attn.q_proj"
    var entries = base.entries.filter { $0.name != name + ".weight" }
    entries.append((name + ".weight_packed", Tensor(.int32, [8, 1], bytes: [UInt8](repeating: 0, count: 32))))
    try TinyModel.write(entries, to: folder("model.safetensors"))
    let checkpoint = try Checkpoint(folder.path)
    let adapter = try AdapterVector.adapter("lora")
    #expect { try checkpoint.adapted(by: adapter) } throws: { "\($0)".contains(name) && "\($0)".contains("quantized") }
    let adapted = try checkpoint.adapted(by: adapter, deferringQuantized: true)
    let source = try #require(adapted.weights as? AdaptedSource)
    #expect(source.deferredModules == [name])
    let rows = WeightRows(try base.tensor(name + ".weight"))
    let expected = try AdapterVector(name: "lora", base: "llama").expected().tensor(name + ".weight")
    let merged = try #require(try adapted.adapter?.merged(rows, module: name))
    #expect(difference(Tensor([8, 8], floats: merged.matrix().values), expected) <= AdapterMergingTests.tolerance)
    #expect(try adapted.adapted(rows, module: name).matrix() == merged.matrix())
    // A linear that the source has merged is not merged again, one that the adapter leaves alone is left alone.
    for other in ["model.layers.1.self_attn.q_proj", "model.layers.0.self_attn.o_proj"] {
      #expect(try adapted.adapted(rows, module: other).matrix() == rows.matrix())
    }
  }

  @Test func `biases of deferred linears are merged by the source`() throws {
    let base = try AdapterVector.base("qwen2")
    let name = "model.layers.0.self_attn.q_proj"
    let packed = base.with(name + ".weight", nil)
      .with(name + ".weight_packed", Tensor(.int32, [8, 1], bytes: [UInt8](repeating: 0, count: 32)))
    for vector in ["biases", "lora-bias"] {
      let source = try AdaptedSource(packed, adapter: AdapterVector.adapter(vector))
      let expected = try AdapterVector(name: vector, base: "qwen2").expected()
      #expect(
        difference(try source.tensor(name + ".bias"), try expected.tensor(name + ".bias"))
          <= AdapterMergingTests.tolerance)
      #expect(source.deferredModules == [name])
    }
  }
}
