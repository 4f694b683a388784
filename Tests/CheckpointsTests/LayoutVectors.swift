import Checkpoints
import Foundation
import Quantization
import StrictJSON
import Tensors

/// The files of `Vectors/layouts`, see the README there.
enum LayoutVectors {
  static let names = [
    "ct_fp8", "ct_fp8_block", "ct_fp8_dynamic", "ct_w4_asym_g32", "ct_w4_channel", "ct_w4_sym_g32", "ct_w8_sym_g32",
  ]

  static func file(_ name: String) throws -> SafetensorsFile {
    try SafetensorsFile(path: SafetensorsVectors.path("layouts/" + name))
  }

  /// A member of `configurations.json`: `files` or `presets`.
  static func configurations(_ part: String) throws -> JSONObject {
    let path = SafetensorsVectors.path("layouts/x").replacing("x.safetensors", with: "configurations.json")
    return try JSONValue(parsing: Array(try Data(contentsOf: URL(filePath: path))))[part]?.objectValue ?? JSONObject()
  }
}

/// Tensors in memory, to be spoilt one by one.
struct MemorySource: WeightSource {
  var entries: [(name: String, tensor: Tensor)]

  init(_ entries: [(name: String, tensor: Tensor)]) { self.entries = entries }

  var tensors: [TensorInfo] {
    entries.map { TensorInfo(name: $0.name, dtype: $0.tensor.dtype, shape: $0.tensor.shape) }
  }

  func info(_ name: String) -> TensorInfo? { tensors.first { $0.name == name } }

  func tensor(_ name: String) throws(CheckpointError) -> Tensor {
    guard let entry = entries.first(where: { $0.name == name }) else { throw .missingTensor(name, file: "memory") }
    return entry.tensor
  }

  /// The same with one tensor replaced, added, or taken away.
  func with(_ name: String, _ tensor: Tensor?) -> MemorySource {
    var entries = entries.filter { $0.name != name }
    if let tensor { entries.append((name, tensor)) }
    return MemorySource(entries)
  }
}

extension Tensor {
  /// Whole numbers as I32.
  static func int32(_ shape: Shape, _ values: [Int32]) -> Tensor {
    Tensor(.int32, shape) { bytes in values.withUnsafeBytes { bytes.copyMemory(from: $0) } }
  }
}

extension WeightQuantization {
  /// Every preset's with scales of an ordinary type, and what else the layout can hold.
  static let manyLayouts: [WeightQuantization] =
    QuantizationScheme.all.map(\.weights).filter { $0.scaleType(ordinary: .float32) == .float32 } + [
      WeightQuantization(.int(bits: 2), .perGroup(size: 32), isSymmetric: false),
      WeightQuantization(.int(bits: 3), .perGroup(size: 43), isSymmetric: false),
      WeightQuantization(.int(bits: 4), .perGroup(size: 32), isSymmetric: false),
      WeightQuantization(.int(bits: 4), .perChannel, isSymmetric: false),
      WeightQuantization(.int(bits: 5), .perChannel),
      WeightQuantization(.int(bits: 6), .perGroup(size: 1)),
      WeightQuantization(.int(bits: 7), .perGroup(size: 64), isSymmetric: false),
      WeightQuantization(.int(bits: 8), .perGroup(size: 128), isSymmetric: false),
      WeightQuantization(.float8E4M3, .perBlock(rows: 16, columns: 32)),
      WeightQuantization(.float8E4M3, .perGroup(size: 32)),
    ]
}
