import Checkpoints
import Foundation
import StrictJSON
import Tensors
import TestSupport
import Testing

/// The adapters of `Vectors/adapters`, which PEFT wrote and merged; `make_adapters.py` says how.
struct AdapterVector: CustomTestStringConvertible {
  let name: String
  /// The kind of base: `base-KIND.safetensors`.
  let base: String

  var testDescription: String { name }

  static let all = [
    "llama": [
      "lora", "bf16", "rslora", "dora", "patterns", "expression", "saved", "embedding", "embedding-dora", "tokens",
    ],
    "qwen2": ["biases", "adapted-biases", "lora-bias"],
    "tied": ["tied-tokens", "tied-embedding", "tied-saved", "tied-both-saved", "tied-kept"],
    "gpt2": ["gpt2", "gpt2-dora"], "moe": ["moe", "moe-down"], "oss": ["oss"],
  ].flatMap { kind, names in names.map { AdapterVector(name: $0, base: kind) } }.sorted { $0.name < $1.name }

  static func path(_ name: String) -> String {
    Bundle.module.resourcePath.map { "\($0)/Vectors/adapters/\(name)" } ?? name
  }

  /// All tensors of the base.
  static func base(_ kind: String) throws -> MemorySource {
    try memory(path("base-\(kind).safetensors"))
  }

  static func memory(_ file: String) throws -> MemorySource {
    let file = try SafetensorsFile(path: file)
    return MemorySource(try file.tensors.map { ($0.name, try file.tensor($0.name)) })
  }

  static func adapter(_ name: String) throws -> Adapter { try Adapter(folder: path(name)) }

  /// What PEFT's merge changed.
  func expected() throws -> MemorySource { try Self.memory(Self.path(name) + "/expected.safetensors") }

  func source() throws -> AdaptedSource { try AdaptedSource(Self.base(base), adapter: Self.adapter(name)) }
}

/// An adapter in memory, to be spoilt and written.
struct SpoiltAdapter {
  var configuration: JSONObject
  var tensors: [(name: String, tensor: Tensor)]

  init(_ name: String) throws {
    let json = try Data(contentsOf: URL(filePath: AdapterVector.path(name) + "/adapter_config.json"))
    configuration = try JSONValue(parsing: Array(json)).objectValue ?? JSONObject()
    tensors = try AdapterVector.memory(AdapterVector.path(name) + "/adapter_model.safetensors").entries
  }

  /// Puts a tensor under a name, or takes it away.
  mutating func set(_ name: String, _ tensor: Tensor?) {
    let place = tensors.firstIndex { $0.name == name }
    if let place { tensors.remove(at: place) }
    if let tensor { tensors.append((name, tensor)) }
  }

  /// Renames tensors.
  mutating func rename(_ change: (String) -> String) { tensors = tensors.map { (change($0.name), $0.tensor) } }

  func write(to folder: TestFolder) throws {
    try folder.write("adapter_config.json", JSONValue.object(configuration).prettyText)
    try TinyModel.write(tensors, to: folder("adapter_model.safetensors"))
  }

  /// The adapter as it is read back.
  func adapter() throws -> Adapter {
    let folder = try TestFolder()
    try write(to: folder)
    return try Adapter(folder: folder.path)
  }
}

extension MemorySource {
  /// The same tensors under other names.
  func renamed(_ change: (String) -> String) -> MemorySource {
    MemorySource(entries.map { (change($0.name), $0.tensor) })
  }
}

/// The largest difference between two tensors of one shape.
func difference(_ found: Tensor, _ expected: Tensor) -> Float {
  guard found.shape == expected.shape else { return .infinity }
  return zip(found.floats(), expected.floats()).map { abs($0 - $1) }.max() ?? 0
}
