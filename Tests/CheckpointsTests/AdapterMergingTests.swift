import Checkpoints
import Foundation
import Kernels
import StrictJSON
import Tensors
import TestSupport
import Testing

/// Merging against PEFT's own.
@Suite struct AdapterMergingTests {
  static let tolerance: Float = 5e-7

  @Test(arguments: AdapterVector.all)
  func `merged tensors are those of PEFT, and all others the base's`(_ vector: AdapterVector) throws {
    let (source, expected) = (try vector.source(), try vector.expected())
    let base = try AdapterVector.base(vector.base)
    for info in expected.tensors where source.info(info.name) != nil {
      #expect(difference(try source.tensor(info.name), try expected.tensor(info.name)) <= Self.tolerance, "\(info)")
      #expect(source.info(info.name) == TensorInfo(name: info.name, dtype: .float32, shape: info.shape))
      if let before = base.info(info.name) {
        // Otherwise agreement would mean that the test compares nothing.
        #expect(difference(try base.tensor(before.name), try expected.tensor(info.name)) > 1e-3)
      }
    }
    // A tied head is not stored, so that it may be missing from the merged tensors alone.
    let missing = Set(expected.tensors.map(\.name)).subtracting(source.tensors.map(\.name))
    #expect(missing.isEmpty || (vector.base == "tied" && missing == ["lm_head.weight"] && !source.breaksTie))
    for info in source.tensors where expected.info(info.name) == nil && base.info(info.name) != nil {
      #expect(difference(try source.tensor(info.name), try base.tensor(info.name)) == 0, "\(info.name)")
    }
  }

  @Test func `a tie that PEFT breaks gets a head of its own, one that it keeps does not`() throws {
    let broken = AdapterVector(name: "tied-saved", base: "tied")
    let source = try broken.source()
    #expect(source.breaksTie)
    #expect(source.warnings.contains { $0.contains("no longer tied") })
    let embedding = try AdapterVector.base("tied").tensor("model.embed_tokens.weight")
    #expect(difference(try source.tensor("lm_head.weight"), embedding) == 0)
    #expect(try AdapterVector(name: "tied-both-saved", base: "tied").source().breaksTie)
    for kept in ["tied-kept", "tied-embedding", "tied-tokens"] {
      let source = try AdapterVector(name: kept, base: "tied").source()
      #expect(!source.breaksTie && source.info("lm_head.weight") == nil)
    }
  }

  @Test func `a stored copy of a tied head follows the embedding`() throws {
    let base = try AdapterVector.base("tied")
    let copied = base.with("lm_head.weight", try base.tensor("model.embed_tokens.weight"))
    let source = try AdaptedSource(copied, adapter: AdapterVector.adapter("tied-embedding"), isTied: true)
    let expected = try AdapterVector(name: "tied-embedding", base: "tied").expected()
    #expect(
      difference(try source.tensor("lm_head.weight"), try expected.tensor("lm_head.weight")) <= Self.tolerance)
  }

  @Test func `lora on a tied head gives the head weights of its own and leaves the embedding`() throws {
    var spoilt = try SpoiltAdapter("embedding")
    spoilt.tensors = spoilt.tensors.filter { $0.name.contains("lm_head.lora") }
    spoilt.configuration["target_modules"] = ["lm_head"]
    let base = try AdapterVector.base("tied")
    let source = try AdaptedSource(base, adapter: spoilt.adapter())
    #expect(source.breaksTie)
    #expect(source.changedNames == ["lm_head.weight"])
    let a = Matrix(try #require(spoilt.tensors.first { $0.name.contains("lora_A") }).tensor)
    let b = Matrix(try #require(spoilt.tensors.first { $0.name.contains("lora_B") }).tensor)
    let embedding = Matrix(try base.tensor("model.embed_tokens.weight"))
    let head = Matrix(try source.tensor("lm_head.weight"))
    for row in 0..<head.rows {
      for column in 0..<head.columns {
        let sum = (0..<2).reduce(embedding[row, column]) { $0 + 4 * b[row, $1] * a[$1, column] }
        #expect(abs(head[row, column] - sum) <= Self.tolerance)
      }
    }
  }

  @Test func `the worked example of the format page`() throws {
    // W = [[1, 0, 2], [0, 1, 0]], A = [[1, 2, 0]], B = [[1], [-1]], alpha 2.
    let rows = WeightRows(Matrix(rows: 2, columns: 3, values: [1, 0, 2, 0, 1, 0]))
    var example = try SpoiltAdapter("lora")
    example.configuration["r"] = 1
    example.configuration["lora_alpha"] = 2
    let name = "base_model.model.model.layers.0.self_attn.q_proj."
    example.tensors = [
      (name + "lora_A.weight", Tensor([1, 3], floats: [1, 2, 0])),
      (name + "lora_B.weight", Tensor([2, 1], floats: [1, -1])),
    ]
    let module = "model.layers.0.self_attn.q_proj"
    #expect(try example.adapter().merged(rows, module: module)?.matrix().values == [3, 4, 2, -2, -3, 0])
    example.configuration["use_dora"] = true
    example.set(name + "lora_magnitude_vector", Tensor([2], floats: [3, 1]))
    let found = try #require(try example.adapter().merged(rows, module: module)).matrix().values
    let expected: [Float] = [1.67125804, 2.22834406, 1.11417203, -0.5547002, -0.83205029, 0]
    #expect(zip(found, expected).allSatisfy { abs($0 - $1) <= 3e-7 })
  }

  @Test func `the worked example of fused experts`() throws {
    var example = try SpoiltAdapter("moe-down")
    example.configuration["r"] = 2
    example.configuration["lora_alpha"] = 2
    let name = "base_model.model.model.layers.0.mlp.experts."
    example.tensors = [
      (name + "lora_A.weight", Tensor([4, 1], floats: [1, 2, 3, 4])),
      (name + "lora_B.weight", Tensor([1, 4], floats: [10, 20, 30, 40])),
    ]
    let fused = "model.layers.0.mlp.experts."
    // That gate_up_proj is [experts, 2, 1] tells how the square down_proj lies.
    let base = MemorySource([
      (fused + "gate_up_proj", Tensor([2, 2, 1], floats: [0, 0, 0, 0])),
      (fused + "down_proj", Tensor([2, 1, 1], floats: [0, 0])),
    ])
    let source = try AdaptedSource(base, adapter: example.adapter())
    #expect(try source.tensor(fused + "down_proj").floats() == [70, 220])
  }

  @Test(arguments: ["lora", "rslora", "dora", "patterns", "embedding", "embedding-dora", "tokens", "saved"])
  func `rows asked for in any ranges are the rows of the merged tensor`(_ name: String) throws {
    let source = try AdapterVector(name: name, base: "llama").source()
    let adapter = try AdapterVector.adapter(name)
    let base = try AdapterVector.base("llama")
    for info in base.tensors where info.shape.rank == 2 {
      let module = String(info.name.dropLast(".weight".count))
      let merged = try adapter.merged(WeightRows(try base.tensor(info.name)), module: module)
      #expect((merged != nil) == source.changedNames.contains(info.name), "\(module)")
      guard let merged else { continue }
      let whole = Matrix(try source.tensor(info.name))
      for row in 0..<whole.rows { #expect(Array(merged.rows(row..<row + 1).values) == Array(whole.row(row))) }
      #expect(merged.rows(1..<whole.rows) == whole.rows(1..<whole.rows))
    }
  }

  @Test func `the number of threads changes no bit`() throws {
    // Wider than a tile of columns, more rows than a task.
    var generator = SeededGenerator(seed: 3)
    var wide = try SpoiltAdapter("dora")
    wide.configuration["r"] = 7
    wide.configuration["target_modules"] = ["q_proj"]
    let name = "base_model.model.model.layers.0.self_attn.q_proj."
    wide.tensors = [
      (name + "lora_A.weight", Tensor([7, 1300], floats: generator.normals(7 * 1300))),
      (name + "lora_B.weight", Tensor([200, 7], floats: generator.normals(200 * 7))),
      (name + "lora_magnitude_vector", Tensor([200], floats: generator.normals(200))),
    ]
    let weight = "model.layers.0.self_attn.q_proj.weight"
    let base = MemorySource([(weight, Tensor([200, 1300], floats: generator.normals(200 * 1300)))])
    let source = try AdaptedSource(base, adapter: wide.adapter())
    let threads = Parallel.threads
    defer { Parallel.threads = threads }
    var results: [[UInt8]] = []
    for count in [1, 2, 3] {
      Parallel.threads = count
      results.append(try source.tensor(weight).bytes)
    }
    #expect(results[0] == results[1] && results[0] == results[2])
    // Against sums in doubles: of row 150, the whole formula.
    let (a, b) = (Matrix(wide.tensors[0].tensor), Matrix(wide.tensors[1].tensor))
    let w = Matrix(try base.tensor(weight))
    let sums = (0..<1300).map { column in
      (0..<7).reduce(Double(w[150, column])) { $0 + 8.0 / 7.0 * Double(b[150, $1]) * Double(a[$1, column]) }
    }
    let factor = Double(wide.tensors[2].tensor.floats()[150]) / sums.reduce(0) { $0 + $1 * $1 }.squareRoot()
    let found = Matrix(try source.tensor(weight)).row(150)
    #expect(zip(found, sums).allSatisfy { abs(Double($0) - $1 * factor) <= 1e-6 })
  }
}

/// All cases of the shared folder, made with another version of transformers.
@Suite(.enabled(if: SharedFolder.exists, "needs the shared folder's adapters")) struct SharedAdapterTests {
  @Test(arguments: [
    "basic", "rslora", "dora", "pattern", "save", "bias_all", "lora_bias", "embed", "embed_dora", "gpt2", "gpt2dora",
    "tokens", "params_moe", "params_oss",
  ])
  func `a fixture's changed tensors are PEFT's`(_ name: String) throws {
    let fixtures = try #require(SharedFolder.path) + "/facts/fixtures/lora/"
    let kind = try String(contentsOfFile: fixtures + name + "/BASE", encoding: .utf8)
      .trimmingCharacters(in: .whitespacesAndNewlines)
    let source = try AdaptedSource(
      SafetensorsSource(folder: fixtures + kind), adapter: Adapter(folder: fixtures + name))
    let expected = try SafetensorsFile(path: fixtures + name + "/expected_changed.safetensors")
    #expect(source.changedNames == Set(expected.tensors.map(\.name)))
    for info in expected.tensors {
      #expect(
        difference(try source.tensor(info.name), try expected.tensor(info.name)) <= AdapterMergingTests.tolerance)
    }
  }
}
