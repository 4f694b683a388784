import Checkpoints
import Foundation
import StrictJSON
import Tensors
import TestSupport
import Testing

/// `quantize convert`: other spellings of the same weights.
@Suite struct ConvertTests {
  private let folder: TestFolder

  init() throws { folder = try TestFolder() }

  private func convert(_ source: String, _ output: String, _ target: String) throws -> JSONValue {
    let result = try Command.run(
      "convert", source, "-o", folder(output), "--to", target, "--json", "-q")
    try #require(result.status == 0, "\(result.error)")
    return try result.json()
  }

  private func logits(_ model: String, ids: String = "[1, 72, 105, 33, 9, 200, 17]") throws -> [Float] {
    let tokens = try folder.write("ids.json", ids)
    let result = try Command.run("logits", model, "--tokens", tokens, "-o", folder("logits.safetensors"), "-q")
    try #require(result.status == 0, "\(result.error)")
    return try SafetensorsFile(path: folder("logits.safetensors")).tensor("logits").floats()
  }

  /// The weights of every linear of the tiny model, however they are stored.
  private func weights(_ path: String) throws -> [String: [Float]] {
    let checkpoint = try Checkpoint(path)
    let stored = try StoredQuantization.of(checkpoint)
    var result: [String: [Float]] = [:]
    for (name, tensor) in TinyModel().drawnTensors() where name.hasSuffix("_proj.weight") {
      let linear = String(name.dropLast(".weight".count))
      if let stored, stored.scheme(of: linear) != nil {
        result[linear] = try stored.weight(
          of: linear, outFeatures: tensor.shape[0], inFeatures: tensor.shape[1], from: checkpoint.weights, file: path
        ).rows.matrix().values
      } else {
        result[linear] = try checkpoint.weights.tensor(name).floats()
      }
    }
    return result
  }

  @Test(arguments: QuantizedSource.allCases)
  func `codes of any layout stay, spelled as compressed-tensors`(_ kind: QuantizedSource) throws {
    try kind.model().write(to: folder("model"))
    let json = try convert(folder("model"), "ct/", "compressed-tensors")
    let decoded = kind == .gptqOutOfOrder ? 1 : 0
    #expect(json["linearsRecoded"] == .integer(14 - decoded) && json["linearsDecoded"] == .integer(decoded))
    let (expected, found) = (try weights(folder("model")), try weights(folder("ct")))
    #expect(expected.count == 14)
    for (name, values) in expected {
      if kind == .nvfp4, name.contains("layers.1.") {
        // Divided by one number instead of multiplied by it.
        #expect(Deviation.relative(found[name] ?? [], values) < 1e-5, "\(name)")
      } else if decoded == 1, name == QuantizedSource.unordered {
        #expect(Deviation.relative(found[name] ?? [], values) < 0.01, "\(name)")
      } else {
        #expect(found[name] == values, "\(name)")
      }
    }
    let notes = (json["notes"]?.arrayValue ?? []).compactMap(\.stringValue)
    switch kind {
    case .gptqOutOfOrder:
      #expect(notes.contains { $0.contains(QuantizedSource.unordered) && $0.contains("desc_act") }, "\(notes)")
    case .nvfp4: #expect(notes.contains { $0.contains("7 linears") && $0.contains("last place") }, "\(notes)")
    default: #expect(notes == [])
    }
    let configuration = try folder.json("ct/config.json")
    #expect(configuration["quantization_config"]?["quant_method"] == "compressed-tensors")
    #expect(configuration["_comment"] == "kept as it is" && configuration["torch_dtype"] != nil)
    #expect(Deviation.relative(try logits(folder("ct")), try logits(folder("model"))) < (decoded == 1 ? 0.05 : 1e-4))
    // And once more, from a folder to an artifact: the same tensors.
    _ = try convert(folder("ct"), "again.tar.zst", "compressed-tensors")
    let (one, two) = (try Checkpoint(folder("ct")), try Checkpoint(folder("again.tar.zst")))
    #expect(Set(one.weights.tensors) == Set(two.weights.tensors))
    for info in one.weights.tensors {
      let bytes = try one.weights.tensor(info.name).withBytes { Array($0) }
      #expect(try two.weights.tensor(info.name).withBytes { Array($0) } == bytes, "\(info.name)")
    }
  }

  @Test func `scales of activations go along, by the names of compressed-tensors`() throws {
    try QuantizedSource.float8Tensor.model().write(to: folder("fp8"))
    try QuantizedSource.nvfp4.model().write(to: folder("fp4"))
    _ = try convert(folder("fp8"), "fp8-ct/", "compressed-tensors")
    _ = try convert(folder("fp4"), "fp4-ct/", "compressed-tensors")
    let linear = "model.layers.1.mlp.up_proj"
    let eight = try Checkpoint(folder("fp8-ct")).weights
    #expect(try eight.tensor(linear + ".input_scale").floats() == [0.25])
    #expect(eight.info(linear + ".input_scale")?.shape == [1] && eight.info(linear + ".weight_scale")?.shape == [1])
    let four = try Checkpoint(folder("fp4-ct")).weights
    #expect(try four.tensor(linear + ".input_global_scale").floats() == [2])
    #expect(four.info(linear + ".input_scale") == nil && four.info(linear + ".weight_packed")?.dtype == .uint8)
    let groups = try folder.json("fp4-ct/config.json")["quantization_config"]?["config_groups"]?["group_0"]
    #expect(groups?["format"] == "nvfp4-pack-quantized" && groups?["weights"]?["strategy"] == "tensor_group")
    #expect(groups?["input_activations"]?["dynamic"] == "local")
  }

  @Test(arguments: QuantizedSource.allCases)
  func `everything is decoded, and float32 loses nothing`(_ kind: QuantizedSource) throws {
    try kind.model().write(to: folder("model"))
    let expected = try weights(folder("model"))
    for (target, type) in [("float32", DType.float32), ("bf16", .bfloat16), ("float16", .float16)] {
      let json = try convert(folder("model"), target + "/", target)
      #expect(json["linearsRecoded"] == 0 && json["linearsDecoded"] == 14)
      let checkpoint = try Checkpoint(folder(target))
      #expect(checkpoint.weights.tensors.allSatisfy { $0.dtype == type })
      // Names and shapes of a model that was never quantized.
      let plain = TinyModel().drawnTensors().map { TensorInfo(name: $0.name, dtype: type, shape: $0.tensor.shape) }
      #expect(Set(checkpoint.weights.tensors) == Set(plain))
      let name = target == "bf16" ? "bfloat16" : target
      #expect(checkpoint.configuration["torch_dtype"] == .string(name))
      #expect(checkpoint.configuration["quantization_config"] == nil)
      for (linear, values) in expected {
        let rounded = Tensor([values.count], floats: values, as: type).floats()
        #expect(try checkpoint.weights.tensor(linear + ".weight").floats() == rounded, "\(linear)")
      }
    }
    #expect(Deviation.relative(try logits(folder("float32")), try logits(folder("model"))) < 1e-4)
  }

  @Test func `an artifact becomes a folder, and keeps its recipe`() throws {
    let bench = try Workbench.shared.get()
    _ = try convert(bench.output, "folder/", "compressed-tensors")
    #expect(folder.has("folder/recipe.yaml") && folder.has("folder/tokenizer.json"))
    #expect(try weights(folder("folder")) == weights(bench.output))
    #expect(try logits(folder("folder")) == logits(bench.output))
  }

  @Test(.enabled(if: SharedFolder.exists, "needs the golden models beside the checkout"))
  func `DeepSeek in FP8 blocks gives the reference's logits`() throws {
    let golden = try #require(SharedFolder.path) + "/golden/deepseek_v3-fp8"
    let ids = String(decoding: try Data(contentsOf: URL(filePath: golden + "/tokens.json")), as: UTF8.self)
    let file = try SafetensorsFile(path: golden + "/logits.safetensors")
    let expected = try file.tensor(try #require(file.tensors.first).name).floats()
    // BF16 keeps 8 bits of what blocks' scales make of 4: measured 0.060 of the logits' deviation at the worst place.
    for (target, bound) in [("compressed-tensors", 1e-4), ("float32", 1e-4), ("bf16", 0.1)] {
      let json = try convert(golden, target + "/", target)
      #expect(json["linearsRecoded"] == (target == "compressed-tensors" ? 176 : 0))
      let distance = Deviation.relative(try logits(folder(target), ids: ids), expected)
      #expect(distance < bound, "\(target): \(distance)")
      if target == "bf16" { #expect(distance > 1e-3) }
    }
    // What corrects the choice of experts is never narrowed.
    let correction = "model.layers.1.mlp.gate.e_score_correction_bias"
    let stored = try #require(try Checkpoint(golden).weights.info(correction))
    #expect(try Checkpoint(folder("bf16")).weights.info(correction)?.dtype == stored.dtype)
  }

  @Test(.enabled(if: SharedFolder.exists, "needs the golden models beside the checkout"))
  func `experts of gpt-oss become one tensor again, or linears of their own`() throws {
    let golden = try #require(SharedFolder.path) + "/golden/gpt_oss"
    try StackedSource.write(to: folder, "mxfp4", from: golden)
    let expected = try logits(folder("mxfp4"))
    let plain = try convert(folder("mxfp4"), "plain/", "bf16")
    #expect(plain["linearsDecoded"] == 32)
    let (one, two) = (try Checkpoint(golden).weights.tensors, try Checkpoint(folder("plain")).weights.tensors)
    #expect(Set(one.map(\.name)) == Set(two.map(\.name)))
    for info in one { #expect(two.contains { $0.name == info.name && $0.shape == info.shape }, "\(info.name)") }
    // Four bits and a power of two are exact in BF16.
    let source = try Checkpoint(folder("mxfp4"))
    let stored = try #require(try StoredQuantization.of(source))
    let name = "model.layers.1.mlp.experts.gate_up_proj"
    let stack = try Checkpoint(folder("plain")).weights.tensor(name)
    let expert = try stored.weight(
      of: "model.layers.1.mlp.experts.2.gate_up_proj", outFeatures: stack.shape[2], inFeatures: stack.shape[1],
      from: source.weights, file: "mxfp4"
    ).rows.matrix()
    let slice = stack.rows(2..<3).floats()
    for row in 0..<expert.rows {
      for column in 0..<expert.columns where slice[column * expert.rows + row] != expert[row, column] {
        Issue.record("[\(row), \(column)]")
        return
      }
    }
    #expect(Deviation.relative(try logits(folder("plain")), expected) < 1e-5)
    let packed = try convert(folder("mxfp4"), "ct/", "compressed-tensors")
    #expect(packed["linearsRecoded"] == 32 && packed["notes"] == [])
    #expect(Deviation.relative(try logits(folder("ct")), expected) < 1e-4)
    let groups = try folder.json("ct/config.json")["quantization_config"]?["config_groups"]?["group_0"]
    #expect(groups?["format"] == "mxfp4-pack-quantized" && groups?["weights"]?["scale_dtype"] == "torch.uint8")
  }

  @Test func `a run that asks for what the source has keeps its codes, and quantizes those that cannot stay`() throws {
    try QuantizedSource.gptqOutOfOrder.model().write(to: folder("model"))
    let result = try Command.run(
      "run", folder("model"), "-o", folder("out/"), "--scheme", "W4A16_ASYM", "--group-size", "32", "--method", "rtn",
      "--no-verify", "-q")
    try #require(result.status == 0, "\(result.error)")
    let (expected, found) = (try weights(folder("model")), try weights(folder("out")))
    for (name, values) in expected where name != QuantizedSource.unordered {
      #expect(found[name] == values, "\(name)")
    }
    #expect(try Checkpoint(folder("out")).weights.info(QuantizedSource.unordered + ".weight_packed") != nil)
    let distance = Deviation.relative(
      found[QuantizedSource.unordered] ?? [], expected[QuantizedSource.unordered] ?? [0])
    #expect(distance > 0 && distance < 0.5, "\(distance)")
  }

  // MARK: Refusals

  @Test func `what cannot be meant is refused in one sentence`() throws {
    let bench = try Workbench.shared.get()
    func run(_ arguments: String...) throws -> Command.Result { try Command.run(["convert", bench.model] + arguments) }
    expect(
      try run("-o", folder("a/"), "--to", "gguff", "-q"), fails: 2, saying: ["--to gguff", "compressed-tensors, bf16"])
    expect(
      try run("-o", folder("a/"), "--to", "compressed-tensors", "-q"), fails: 3,
      saying: ["is in full precision", "quantize MODEL -o OUT"])
    expect(try run("-o", folder("a.zip"), "--to", "bf16", "-q"), fails: 2, saying: ["NAME.tar.zst"])
    #expect(try folder.names() == [])
  }

  @Test func `numbers that float16 cannot hold are refused, and nothing is left`() throws {
    var tiny = TinyModel()
    tiny.tensors["model.norm.weight"] = Tensor([64], floats: [Float](repeating: 1e6, count: 64), as: .bfloat16)
    try tiny.write(to: folder("model"))
    for output in ["a/", "a.tar.zst"] {
      let result = try Command.run("convert", folder("model"), "-o", folder(output), "--to", "float16", "-q")
      expect(result, fails: 3, saying: ["\"model.norm.weight\"", "element 0", "bf16 or float32"])
    }
    #expect(try folder.names() == ["model"])
    _ = try convert(folder("model"), "b/", "float32")
  }

  @Test func `a quantized module outside of the language model is refused by name`() throws {
    var tiny = QuantizedSource.awq.model()
    for (name, tensor) in tiny.tensors where name.hasPrefix("model.layers.0.mlp.up_proj.") {
      tiny.tensors[name.replacing("model.layers.0.mlp", with: "visual.blocks.0")] = tensor
    }
    try tiny.write(to: folder("model"))
    let result = try Command.run("convert", folder("model"), "-o", folder("a/"), "--to", "bf16", "-q")
    expect(result, fails: 3, saying: ["visual.blocks.0.up_proj", "no linear of the language model"])
  }
}
