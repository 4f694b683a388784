import Checkpoints
import Foundation
import StrictJSON
import Tensors
import TestSupport

/// A tiny model whose linears are stored quantized as other tools do it: random codes, packed here by the layout's rules.
enum QuantizedSource: String, CaseIterable {
  case awq, gptq, gptqOutOfOrder, float8Tensor, float8Rows, nvfp4

  /// The linear whose columns are out of order in ``gptqOutOfOrder``.
  static let unordered = "model.layers.0.mlp.down_proj"

  private static let group = 32

  /// The model, to be written.
  func model() -> TinyModel {
    var tiny = TinyModel()
    var generator = SeededGenerator(seed: 11)
    let linears = tiny.drawnTensors().filter { $0.name.hasSuffix("_proj.weight") }
    for (name, tensor) in linears {
      let linear = String(name.dropLast(".weight".count))
      tiny.missing.insert(name)
      for (part, tensor) in parts(linear, tensor.shape[0], tensor.shape[1], &generator) {
        tiny.tensors[linear + part] = tensor
      }
    }
    tiny.configuration["quantization_config"] = declaration
    if self == .awq || self == .gptq || self == .gptqOutOfOrder { tiny.configuration["torch_dtype"] = "float16" }
    return tiny
  }

  private var declaration: JSONValue {
    switch self {
    case .awq:
      ["quant_method": "awq", "bits": 4, "group_size": .integer(Self.group), "version": "gemm", "zero_point": true]
    case .gptq, .gptqOutOfOrder:
      [
        "quant_method": "gptq", "bits": 4, "group_size": .integer(Self.group), "sym": false,
        "desc_act": .bool(self == .gptqOutOfOrder),
      ]
    case .float8Tensor: ["quant_method": "modelopt", "quant_algo": "FP8"]
    case .float8Rows: ["quant_method": "fbgemm_fp8", "activation_scale_ub": 1200]
    case .nvfp4: ["quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16]
    }
  }

  private func parts(
    _ linear: String, _ rows: Int, _ columns: Int, _ generator: inout SeededGenerator
  ) -> [(String, Tensor)] {
    let groups = columns / Self.group
    func below(_ limit: Int) -> Int { Int.random(in: 0..<limit, using: &generator) }
    let spread = 0.3 / Float(columns).squareRoot()
    switch self {
    case .awq:
      let codes = (0..<rows * columns).map { _ in UInt32(below(16)) }
      let zeros = (0..<rows * groups).map { _ in UInt32(below(16)) }
      // Eight output features a word, in this order from the lowest bits up.
      let order = [0, 2, 4, 6, 1, 3, 5, 7]
      func words(_ height: Int, _ code: (_ line: Int, _ row: Int) -> UInt32) -> [UInt32] {
        (0..<height * rows / 8).map { index in
          let (line, word) = (index / (rows / 8), index % (rows / 8))
          return order.enumerated().reduce(0) { $0 | code(line, 8 * word + $1.element) << UInt32(4 * $1.offset) }
        }
      }
      return [
        (".qweight", Self.int32([columns, rows / 8], words(columns) { codes[$1 * columns + $0] })),
        (".qzeros", Self.int32([groups, rows / 8], words(groups) { zeros[$1 * groups + $0] })),
        (".scales", Self.scales([groups, rows], spread, .float16, &generator)),
      ]
    case .gptq, .gptqOutOfOrder:
      let codes = (0..<rows * columns).map { _ in UInt32(below(16)) }
      let weight = (0..<columns / 8 * rows).map { index in
        let (word, row) = (index / rows, index % rows)
        return (0..<8).reduce(UInt32(0)) { $0 | codes[row * columns + 8 * word + $1] << UInt32(4 * $1) }
      }
      // The first version of the format stores zero points less one.
      let zeros = (0..<groups * rows / 8).map { _ in
        (0..<8).reduce(UInt32(0)) { $0 | UInt32(below(15)) << UInt32(4 * $1) }
      }
      var order = (0..<columns).map { UInt32($0 / Self.group) }
      if self == .gptqOutOfOrder, linear == Self.unordered { order.shuffle(using: &generator) }
      return [
        (".qweight", Self.int32([columns / 8, rows], weight)), (".qzeros", Self.int32([groups, rows / 8], zeros)),
        (".scales", Self.scales([groups, rows], spread, .float16, &generator)),
        (".g_idx", Self.int32([columns], order)),
      ]
    case .float8Tensor, .float8Rows:
      let codes = (0..<rows * columns).map { _ in UInt8(below(2) << 7 | below(0x7F)) }
      let scales = self == .float8Tensor ? Shape([]) : [rows, 1]
      var result = [
        (".weight", Tensor(.float8E4M3, [rows, columns], bytes: codes)),
        (".weight_scale", Self.scales(scales, spread / 100, .float32, &generator)),
      ]
      if self == .float8Tensor { result.append((".input_scale", Tensor([], floats: [0.25]))) }
      return result
    case .nvfp4:
      let codes = (0..<rows * columns / 2).map { _ in UInt8(below(256)) }
      let scales = (0..<rows * columns / 16).map { _ in UInt8(1 + below(0x7E)) }
      return [
        (".weight", Tensor(.uint8, [rows, columns / 2], bytes: codes)),
        (".weight_scale", Tensor(.float8E4M3, [rows, columns / 16], bytes: scales)),
        // A power of two in one layer, in the other a number whose reciprocal F32 does not hold.
        (".weight_scale_2", Tensor([], floats: [linear.contains("layers.0.") ? 0x1p-13 : 0.0001234])),
        (".input_scale", Tensor([], floats: [0.5])),
      ]
    }
  }

  private static func int32(_ shape: Shape, _ words: [UInt32]) -> Tensor {
    Tensor(.int32, shape) { bytes in words.withUnsafeBytes { bytes.copyMemory(from: $0) } }
  }

  private static func scales(
    _ shape: Shape, _ spread: Float, _ type: DType, _ generator: inout SeededGenerator
  ) -> Tensor {
    let count = shape.elementCount ?? 0
    return Tensor(
      shape, floats: (0..<count).map { _ in spread * Float.random(in: 0.1...0.5, using: &generator) }, as: type)
  }
}

/// gpt-oss with experts in one tensor, and the same with them as MXFP4.
enum StackedSource {
  /// Copies a golden model and stores its experts as random MXFP4, as gpt-oss is published.
  static func write(to folder: TestFolder, _ name: String, from golden: String) throws {
    let source = try Checkpoint(golden)
    var generator = SeededGenerator(seed: 5)
    var tensors: [(name: String, tensor: Tensor)] = []
    for info in source.weights.tensors {
      guard info.name.hasSuffix("experts.gate_up_proj") || info.name.hasSuffix("experts.down_proj") else {
        tensors.append((info.name, try source.weights.tensor(info.name)))
        continue
      }
      let (experts, columns, rows) = (info.shape[0], info.shape[1], info.shape[2])
      let codes = (0..<experts * rows * columns / 2).map { _ in UInt8.random(in: 0...255, using: &generator) }
      let scales = (0..<experts * rows * columns / 32).map { _ in UInt8.random(in: 119...121, using: &generator) }
      tensors.append((info.name + "_blocks", Tensor(.uint8, [experts, rows, columns / 32, 16], bytes: codes)))
      tensors.append((info.name + "_scales", Tensor(.uint8, [experts, rows, columns / 32], bytes: scales)))
    }
    var configuration = source.configuration
    configuration["quantization_config"] = [
      "quant_method": "mxfp4",
      "modules_to_not_convert": [
        "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head",
      ],
    ]
    try folder.write(name + "/config.json", JSONValue.object(configuration).prettyText)
    try TinyModel.write(tensors, to: folder(name + "/model.safetensors"))
  }
}
