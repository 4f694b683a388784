import Checkpoints
import StrictJSON
import Tensors
import TestSupport
import Testing

/// The spellings of one module's name that files and adapters have.
@Suite struct AdapterNamesTests {
  private func check(_ adapter: Adapter, _ base: MemorySource, like name: String, _ rename: (String) -> String) throws {
    let source = try AdaptedSource(base, adapter: adapter)
    let expected = try AdapterVector(name: name, base: "llama").expected()
    #expect(source.changedNames == Set(expected.tensors.map { rename($0.name) }))
    for info in expected.tensors {
      let found = try source.tensor(rename(info.name))
      #expect(difference(found, try expected.tensor(info.name)) <= AdapterMergingTests.tolerance)
    }
  }

  @Test(arguments: [("model.", "language_model.model."), ("model.", "model.language_model."), ("model.", "")])
  func `a base may spell the text model otherwise`(_ old: String, _ new: String) throws {
    let rename = { (name: String) in name.hasPrefix(old) ? new + name.dropFirst(old.count) : name }
    try check(
      AdapterVector.adapter("patterns"), AdapterVector.base("llama").renamed(rename), like: "patterns", rename)
  }

  @Test(arguments: [
    ("base_model.model.", ""), ("base_model.model.model.", "base_model.model.model.language_model."),
    ("lora_A.weight", "lora_A.default.weight"), ("lora_B.weight", "lora_B.other.weight"),
    ("lora_magnitude_vector", "lora_magnitude_vector.weight"),
    ("lora_magnitude_vector", "lora_magnitude_vector.default"),
  ])
  func `an adapter may spell its tensors otherwise`(_ old: String, _ new: String) throws {
    var spelled = try SpoiltAdapter("dora")
    spelled.rename { $0.replacing(old, with: new) }
    try check(spelled.adapter(), AdapterVector.base("llama"), like: "dora") { $0 }
  }

  @Test func `of two modules that an adapter could mean, the one of exactly its name is taken`() throws {
    let base = try AdapterVector.base("llama")
    let both = MemorySource(base.entries + base.renamed { "language_model." + $0 }.entries)
    try check(AdapterVector.adapter("lora"), both, like: "lora") { $0 }
  }

  @Test(arguments: ["mlp.experts", "block_sparse_moe.experts"])
  func `adapters of fused experts fit checkpoints that store each projection`(_ path: String) throws {
    let isMixtral = path.hasPrefix("block")
    let names = isMixtral ? ["w1", "w3", "w2"] : ["gate_proj", "up_proj", "down_proj"]
    func split(_ source: MemorySource) throws -> MemorySource {
      var entries: [(name: String, tensor: Tensor)] = []
      for (name, tensor) in source.entries {
        guard name.contains(".experts.") else {
          entries.append((name, tensor))
          continue
        }
        let prefix = name.split(separator: ".").prefix(3).joined(separator: ".") + "." + path
        for expert in 0..<tensor.shape[0] {
          let part = tensor.rows(expert..<expert + 1).reshaped(to: Shape(Array(tensor.shape.extents.dropFirst())))
          func add(_ projection: String, _ rows: Range<Int>) {
            entries.append(("\(prefix).\(expert).\(projection).weight", part.rows(rows)))
          }
          if name.hasSuffix("down_proj") {
            add(names[2], 0..<part.shape[0])
          } else {
            add(names[0], 0..<part.shape[0] / 2)
            add(names[1], part.shape[0] / 2..<part.shape[0])
          }
        }
      }
      return MemorySource(entries)
    }
    let vector = AdapterVector(name: "moe", base: "moe")
    let base = try split(AdapterVector.base("moe"))
    let source = try AdaptedSource(base, adapter: AdapterVector.adapter("moe"))
    let expected = try split(try vector.expected())
    #expect(source.changedNames == Set(expected.tensors.map(\.name)))
    for info in expected.tensors {
      #expect(
        difference(try source.tensor(info.name), try expected.tensor(info.name)) <= AdapterMergingTests.tolerance)
      // Rows of a quantized projection take the same way.
      let rows = WeightRows(try base.tensor(info.name))
      let merged = try AdapterVector.adapter("moe").merged(rows, module: String(info.name.dropLast(".weight".count)))
      let whole = Matrix(try source.tensor(info.name))
      #expect(merged?.matrix() == whole)
    }
  }
}
