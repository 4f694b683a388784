import Checkpoints
import Foundation
import Quantization
import StrictJSON
import Tensors
import TestSupport

/// A checkpoint of one quantized linear, written to a folder and opened as a user's would be.
struct StoredLinear {
  /// The linear's name.
  var name = "m"
  var tensors: [(name: String, tensor: Tensor)]
  /// `quantization_config`; `null` for none.
  var configuration: JSONValue
  var shape: [Int]
  /// Other members of `config.json`.
  var members: JSONObject = [:]
  /// Other files.
  var files: [String: JSONValue] = [:]

  /// A file of `Vectors/sources` or `Vectors/layouts`.
  static func vector(_ name: String, in folder: String = "sources") throws -> StoredLinear {
    let path = SafetensorsVectors.path("\(folder)/\(name)")
    let text = try Data(
      contentsOf: URL(filePath: path).deletingLastPathComponent().appending(path: "configurations.json"))
    let all = try JSONValue(parsing: Array(text))
    return try fixture(path, (folder == "layouts" ? all["files"] : all)?[name] ?? .null)
  }

  /// A file in the form of the fixtures: tensors of one linear, and what it stands for.
  static func fixture(_ path: String, _ configuration: JSONValue) throws -> StoredLinear {
    let file = try SafetensorsFile(path: path)
    let tensors = try file.tensors.filter { $0.name.hasPrefix("compressed.") }.map {
      (name: "m" + $0.name.dropFirst("compressed".count), tensor: try file.tensor($0.name))
    }
    let expected = try file.tensor("expected_dequant")
    var linear = StoredLinear(tensors: tensors, configuration: configuration, shape: expected.shape.extents)
    linear.expected = expected.floats()
    return linear
  }

  /// The weights, `[outFeatures, inFeatures]`, where they are known.
  var expected: [Float] = []

  var source: MemorySource { MemorySource(tensors) }

  subscript(part: String) -> Tensor? {
    get { tensors.first { $0.name == name + part }?.tensor }
    set {
      tensors.removeAll { $0.name == name + part }
      if let newValue { tensors.append((name + part, newValue)) }
    }
  }

  /// The same with a member of `quantization_config` set, or taken away.
  func setting(_ key: String, _ value: JSONValue?) -> StoredLinear {
    var copy = self
    var object = configuration.objectValue ?? JSONObject()
    object[key] = value
    copy.configuration = .object(object)
    return copy
  }

  /// The same with a tensor replaced, added, or taken away.
  func with(_ part: String, _ tensor: Tensor?) -> StoredLinear {
    var copy = self
    copy[part] = tensor
    return copy
  }

  /// The checkpoint in a folder of its own.
  func checkpoint() throws -> Checkpoint {
    let folder = try TestFolder()
    var object: JSONObject = ["model_type": "llama"]
    for member in members.members { object[member.name] = member.value }
    if !configuration.isNull { object["quantization_config"] = configuration }
    try folder.write("model/config.json", JSONValue.object(object).compactText)
    for (name, json) in files { try folder.write("model/" + name, json.compactText) }
    try TinyModel.write(tensors, to: folder("model/model.safetensors"))
    return try Checkpoint(folder("model"))
  }

  /// What the checkpoint says of its quantization.
  func quantization() throws -> StoredQuantization? { try StoredQuantization.of(try checkpoint()) }

  /// The linear's weight, opened for the fixture's shape.
  func weight() throws -> StoredWeight {
    let checkpoint = try checkpoint()
    guard let quantization = try StoredQuantization.of(checkpoint) else {
      throw CheckpointError.missingTensor("", file: "")
    }
    return try quantization.weight(
      of: name, outFeatures: shape[0], inFeatures: shape[1], from: checkpoint.weights, file: "f")
  }
}
