import Checkpoints
import Foundation
import Kernels
import Quantization
import StrictJSON
import Tensors
import TestSupport
import Testing

@Suite struct LayoutDecodingTests {
  private static func check(
    _ file: SafetensorsFile, _ configuration: JSONValue, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let read = try CompressedTensorsConfiguration(reading: configuration, file: "config.json")
    let scheme = try #require(read.scheme(of: "compressed"), sourceLocation: sourceLocation)
    let expected = Matrix(try file.tensor("expected_dequant"))
    let found = try CompressedTensorsLayout.decode(
      linear: "compressed", scheme.weights, outFeatures: expected.rows, inFeatures: expected.columns, from: file,
      file: "x")
    #expect(found.dequantized() == expected, sourceLocation: sourceLocation)
    #expect(found.packed().dequantizedRows(0..<expected.rows) == expected, sourceLocation: sourceLocation)
    // And what was decoded is written as the same bytes.
    for (name, tensor) in CompressedTensorsLayout.encode(found, linear: "compressed") {
      let expected = try file.tensor(name)
      #expect(tensor.bytes == expected.bytes, "\(name)", sourceLocation: sourceLocation)
      #expect(tensor.dtype == file.info(name)?.dtype, "\(name)", sourceLocation: sourceLocation)
      #expect(tensor.shape == file.info(name)?.shape, "\(name)", sourceLocation: sourceLocation)
    }
  }

  @Test(arguments: LayoutVectors.names)
  func `a file of compressed-tensors means what the library makes of it`(name: String) throws {
    try Self.check(try LayoutVectors.file(name), try #require(try LayoutVectors.configurations("files")[name]))
  }

  @Test(.enabled(if: SharedFolder.exists, "the shared folder is not here"))
  func `every fixture of a layout that is also written is read`() throws {
    let folder = (SharedFolder.path ?? "") + "/facts/fixtures/quant"
    let index = try JSONValue(parsing: Array(try Data(contentsOf: URL(filePath: folder + "/index.json"))))
    var count = 0
    // The others are read as StoredQuantization.
    let others = ["ct_w8a8_int", "ct_nvfp4", "ct_mxfp4", "ct_mxfp8"]
    for member in index.objectValue?.members ?? []
    where member.name.hasPrefix("ct_") && !others.contains(member.name) {
      count += 1
      try Self.check(
        try SafetensorsFile(path: "\(folder)/\(member.name).safetensors"), try #require(member.value["config"]))
    }
    #expect(count == 7)
  }

  // MARK: Refusals

  private static let integers = WeightQuantization(.int(bits: 4), .perGroup(size: 32), isSymmetric: false)
  private static let floats = WeightQuantization(.float8E4M3, .perChannel)

  private static func good(_ quantization: WeightQuantization) -> MemorySource {
    var generator = SeededGenerator(seed: 1)
    let weight = Matrix(rows: 16, columns: 64, values: generator.normals(1024))
    let tensor = RoundToNearest.quantized(weight, as: quantization, scaleType: .bfloat16)
    return MemorySource(CompressedTensorsLayout.encode(tensor, linear: "m"))
  }

  private static func decode(_ source: MemorySource, _ quantization: WeightQuantization) throws -> QuantizedTensor {
    try CompressedTensorsLayout.decode(
      linear: "m", quantization, outFeatures: 16, inFeatures: 64, from: source, file: "f")
  }

  private static func refusal(_ part: String, _ problem: String) -> CheckpointError {
    .malformed(file: "f", offset: nil, tensor: "m" + part, problem: problem)
  }

  @Test(arguments: [integers, floats])
  func `a missing partner is named`(quantization: WeightQuantization) throws {
    let good = Self.good(quantization)
    for entry in good.entries {
      #expect(throws: CheckpointError.missingTensor(entry.name, file: "f"), "\(entry.name)") {
        try Self.decode(good.with(entry.name, nil), quantization)
      }
    }
  }

  @Test(arguments: [integers, floats])
  func `another shape or type of any part is refused with both`(quantization: WeightQuantization) throws {
    let good = Self.good(quantization)
    for (name, tensor) in good.entries {
      let part = String(name.dropFirst())
      let expected = "expected \(tensor.dtype.rawValue) \(tensor.shape), found "
      for shape in [
        Shape(tensor.shape.extents + [1]), Shape(tensor.shape.extents.reversed()), [tensor.elementCount, 2],
      ]
      where shape != tensor.shape {
        let other = Tensor(
          tensor.dtype, shape, bytes: [UInt8](repeating: 1, count: shape.byteCount(of: tensor.dtype) ?? 0))
        // A scale a row may leave out or add an axis.
        guard part != ".weight_scale" || quantization != Self.floats || shape.rank != 3 else { continue }
        #expect(throws: Self.refusal(part, expected + "\(tensor.dtype.rawValue) \(shape)"), "\(name) \(shape)") {
          try Self.decode(good.with(name, other), quantization)
        }
      }
      guard part != ".weight_scale" else { continue }
      let other = Tensor(.float32, tensor.shape, bytes: [UInt8](repeating: 1, count: 4 * tensor.elementCount))
      #expect(throws: Self.refusal(part, expected + "F32 \(tensor.shape)"), "\(name)") {
        try Self.decode(good.with(name, other), quantization)
      }
    }
  }

  @Test func `scales of a type that is no ordinary number are refused`() throws {
    let scale = Tensor(.uint8, [16, 2], bytes: [UInt8](repeating: 127, count: 32))
    #expect(throws: Self.refusal(".weight_scale", "scales of type U8")) {
      try Self.decode(Self.good(Self.integers).with("m.weight_scale", scale), Self.integers)
    }
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity, 0, -0.0, -0.5])
  func `a scale that is not finite is refused, and of floats one that is not positive`(scale: Float) throws {
    for (quantization, extents) in [(Self.integers, [16, 2]), (Self.floats, [16, 1])] {
      let shape = Shape(extents)
      var scales = [Float](repeating: 1, count: shape.elementCount ?? 0)
      scales[5] = scale
      let source = Self.good(quantization).with("m.weight_scale", Tensor(shape, floats: scales, as: .bfloat16))
      guard quantization.format.isFloat || !scale.isFinite else {
        let found = try Self.decode(source, quantization)
        #expect(found.scales == scales)
        continue
      }
      let problem =
        quantization.format.isFloat ? "a scale is not positive and finite" : "a scale is \(scale), not finite"
      #expect(throws: Self.refusal(".weight_scale", problem)) { try Self.decode(source, quantization) }
    }
  }

  @Test(arguments: [UInt8(0x7F), 0xFF])
  func `a float8 code that is NaN is refused`(code: UInt8) throws {
    var codes = [UInt8](repeating: 0x38, count: 1024)
    codes[77] = code
    let source = Self.good(Self.floats).with("m.weight", Tensor(.float8E4M3, [16, 64], bytes: codes))
    #expect(throws: Self.refusal(".weight", "a float8 code is NaN")) { try Self.decode(source, Self.floats) }
  }

  @Test func `a weight_shape that disagrees with the configuration is refused, I32 is as good as I64`() throws {
    let good = Self.good(Self.integers)
    let problem = "is [64, 16], the configuration says [16, 64]"
    #expect(throws: Self.refusal(".weight_shape", problem)) {
      try Self.decode(good.with("m.weight_shape", .int32([2], [64, 16])), Self.integers)
    }
    let older = try Self.decode(good.with("m.weight_shape", .int32([2], [16, 64])), Self.integers)
    let newer = try Self.decode(good, Self.integers)
    #expect(older.codes == newer.codes)
  }

  @Test func `columns out of order are refused, an order that changes nothing is not`() throws {
    let good = Self.good(Self.integers)
    var order = (0..<64).map { Int32($0 / 32) }
    let natural = try Self.decode(good.with("m.weight_g_idx", .int32([64], order)), Self.integers)
    let plain = try Self.decode(good, Self.integers)
    #expect(natural.codes == plain.codes)
    _ = try Self.decode(good.with("m.weight_g_idx", .int32([64], [Int32](repeating: -1, count: 64))), Self.integers)
    order.swapAt(0, 63)
    #expect(throws: Self.refusal(".weight_g_idx", "puts columns out of order (actorder), which is not read")) {
      try Self.decode(good.with("m.weight_g_idx", .int32([64], order)), Self.integers)
    }
    let floats = Tensor([64], floats: [Float](repeating: 0, count: 64))
    #expect(throws: Self.refusal(".weight_g_idx", "is F32, expected I32")) {
      try Self.decode(good.with("m.weight_g_idx", floats), Self.integers)
    }
  }

  @Test func `two kinds of weights, and zero points that the configuration denies, are refused`() throws {
    let dense = Tensor([16, 64], floats: [Float](repeating: 0, count: 1024), as: .bfloat16)
    #expect(throws: Self.refusal(".weight", "is there beside weight_packed; which of them counts is unclear")) {
      try Self.decode(Self.good(Self.integers).with("m.weight", dense), Self.integers)
    }
    let packed = Tensor.int32([16, 8], [Int32](repeating: 0, count: 128))
    #expect(throws: Self.refusal(".weight_packed", "is there beside weight; which of them counts is unclear")) {
      try Self.decode(Self.good(Self.floats).with("m.weight_packed", packed), Self.floats)
    }
    let symmetric = WeightQuantization(.int(bits: 4), .perGroup(size: 32))
    let problem = "is there, but the configuration says that weights are symmetric"
    #expect(throws: Self.refusal(".weight_zero_point", problem)) {
      try Self.decode(Self.good(Self.integers), symmetric)
    }
  }

  @Test func `a scale a matrix or a row may leave out its last axes`() throws {
    for (quantization, shapes) in [
      (WeightQuantization(.float8E4M3, .perTensor), [[], [1], [1, 1]] as [Shape]),
      (Self.floats, [[16], [16, 1]]),
    ] {
      let good = Self.good(quantization)
      let scale = try good.tensor("m.weight_scale")
      for shape in shapes {
        let found = try Self.decode(good.with("m.weight_scale", scale.reshaped(to: shape)), quantization)
        #expect(found.scales == scale.floats())
      }
    }
  }
}
