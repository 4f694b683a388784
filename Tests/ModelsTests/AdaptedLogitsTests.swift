import Checkpoints
import Models
import Tensors
import TestSupport
import Testing

/// Models with an adapter, whose logits PEFT's merged model computed in float32.
@Suite(.enabled(if: SharedFolder.exists, "needs the shared folder's adapters")) struct AdaptedLogitsTests {
  @Test(arguments: ["qwen2-lora", "qwen2-rslora", "qwen2-dora"])
  func `a model with its adapter has the logits of PEFT's merge, merged as it is read or written`(
    _ name: String
  ) throws {
    let base = try Checkpoint(try ModelVectors.shared("golden/qwen2"))
    let ids = try ModelVectors.ids(try ModelVectors.json(try ModelVectors.shared("golden/qwen2/tokens.json")))
    let path = try ModelVectors.shared("adapters/" + name)
    let adapter = try Adapter(folder: path)
    let expected = try SafetensorsFile(path: path + "/logits.safetensors").tensor("logits").floats()
    let without = try LanguageModel(base).logits(of: ids)
    #expect(Deviation.relative(without.values, expected) > 1)
    let read = try LanguageModel(try base.adapted(by: adapter)).logits(of: ids)
    #expect(Deviation.relative(read.values, expected) <= 1e-4)
    let folder = try TestFolder()
    _ = try MergedModel(base, adapter: adapter).write(to: folder("merged/"))
    let written = try LanguageModel(try Checkpoint(folder("merged"))).logits(of: ids)
    #expect(written == read)
    // Rounding to the base's BF16 is what the default must not do.
    _ = try MergedModel(base, adapter: adapter, elementType: .base).write(to: folder("rounded/"))
    let rounded = try LanguageModel(try Checkpoint(folder("rounded"))).logits(of: ids)
    #expect(Deviation.relative(rounded.values, expected) > 1e-3)
  }
}
