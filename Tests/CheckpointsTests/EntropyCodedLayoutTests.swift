import Foundation
import Kernels
import Quantization
import StrictJSON
import Tensors
import TestSupport
import Testing

@testable import Checkpoints

/// Entropy-coded linears written and read back.
@Suite struct EntropyCodedLayoutTests {
  static let shapes = [[1, 1], [3, 2], [17, 43], [130, 65], [64, 300]]

  @Test(arguments: shapes, [8, 4])
  func `what is written is read`(shape: [Int], bits: Int) throws {
    for spare in [0, 3] {
      let weight = EntropyCodedLinears.random(shape[0], shape[1], bits: bits, deviation: bits == 8 ? 20 : 3)
      let columns = weight.splitColumns + spare
      let linear = EntropyCodedLinears.stored(weight, splitColumns: columns)
      let planned = EntropyCodedLayout.plan(
        linear: "m", bits: bits, outFeatures: shape[0], inFeatures: shape[1], splitColumns: columns)
      #expect(
        linear.tensors.map { TensorInfo(name: $0.name, dtype: $0.tensor.dtype, shape: $0.tensor.shape) }
          == planned.map(\.info))
      let read = try linear.weight()
      #expect(read.quantization == weight.quantization)
      let codes = try #require(try read.codes?())
      #expect(codes.codes == weight.codes)
      #expect(codes.scales == weight.scales)
      #expect(codes.columns == weight.columns)
      #expect(codes.integers() == weight.integers())
      #expect(read.rows.matrix().values == linear.expected)
      let part = shape[0] / 3..<shape[0]
      #expect(read.rows.rows(part).values == Array(linear.expected.dropFirst(part.lowerBound * shape[1])))
      try read.check()
      #expect(codes.packed().dequantizedRows(0..<shape[0]).values == linear.expected)
    }
  }

  @Test func `the tables are small where nothing is split`() throws {
    let weight = EntropyCodedLinears.random(8, 8, bits: 8, deviation: 3, outlier: 1)
    let linear = EntropyCodedLinears.stored(weight, splitColumns: 0)
    #expect(linear[".weight_split_source"] == nil)
    #expect(try linear.weight().rows.matrix().values == linear.expected)
  }

  @Test func `scheme, method and tensors are known from the file`() throws {
    for bits in [8, 4] {
      let weight = EntropyCodedLinears.random(6, 5, bits: bits, deviation: 2)
      let quantization = try #require(try EntropyCodedLinears.stored(weight, splitColumns: 9).quantization())
      #expect(quantization.method == "quantize-ec")
      #expect(quantization.isMultipliedAsStored)
      #expect(quantization.warnings.isEmpty)
      #expect(quantization.scheme(of: "m") == .entropyCoded(bits: bits))
      #expect(quantization.scheme(of: "lm_head") == nil)
    }
  }

  @Test func `other linears are as compressed-tensors describes them`() throws {
    var generator = SeededGenerator(seed: 4)
    let floats = Matrix(rows: 8, columns: 32, values: generator.normals(256))
    let scheme = QuantizationScheme.w4a16.withGroupSize(32)
    let other = RoundToNearest.quantized(floats, as: scheme.weights, scaleType: .bfloat16)
    let weight = EntropyCodedLinears.random(6, 5, bits: 8, deviation: 2)
    var linear = EntropyCodedLinears.stored(weight, splitColumns: 0)
    linear.tensors += CompressedTensorsLayout.encode(other, linear: "head")
    linear.tensors.append(("kept.weight", Tensor([2, 2], floats: [1, 2, 3, 4], as: .bfloat16)))
    linear.configuration = EntropyCodedConfiguration(
      ignore: ["kept"],
      others: CompressedTensorsConfiguration(groups: [.init(scheme: scheme, targets: ["head"])], ignore: [])
    ).json()
    let checkpoint = try linear.checkpoint()
    let quantization = try #require(try StoredQuantization.of(checkpoint))
    #expect(quantization.scheme(of: "m")?.name == "EC")
    #expect(quantization.scheme(of: "head")?.weights == scheme.weights)
    #expect(quantization.scheme(of: "kept") == nil)
    let read = try quantization.weight(
      of: "head", outFeatures: 8, inFeatures: 32, from: checkpoint.weights, file: "f")
    #expect(read.rows.matrix() == other.dequantized())
    let all = quantization.storedTensors(of: "m", in: checkpoint.weights).map(\.name)
    #expect(all == ["codes", "column_class", "row_gain", "column_gain"].map { "m.weight_" + $0 })
  }

  @Test(arguments: [("8 bits, 4.0", 8, 4.3, 0.02), ("8 bits, 3.0", 8, 2.1, 0.03), ("4 bits, 2.3", 4, 1.2, 0.03)])
  func `an artifact takes hardly more than the entropy of each class`(
    _ title: String, _ bits: Int, _ deviation: Float, _ excess: Double
  ) throws {
    let (rows, columns) = (1024, 1536)
    let weight = EntropyCodedLinears.random(rows, columns, bits: bits, deviation: deviation)
    let splits = weight.splitColumns
    let planned = EntropyCodedLayout.plan(
      linear: "m", bits: bits, outFeatures: rows, inFeatures: columns, splitColumns: splits + 40)
    let folder = try TestFolder()
    let plan = ArtifactPlan(
      members: [.init(name: "config.json", bytes: Array("{}".utf8)), .init(name: "recipe.yaml", bytes: [])],
      tensors: planned.enumerated().map { index, tensor in
        .init(tensor.info, compression: tensor.compression, endsGroup: index == planned.count - 1)
      })
    var writer = try ArtifactWriter(path: folder("a.tar.zst"), plan: plan, fingerprint: "")
    for (name, tensor) in EntropyCodedLayout.encode(weight, linear: "m", splitColumns: splits + 40) {
      try writer.write(tensor, named: name)
    }
    let summary = try writer.finish()
    let weights = Double(rows * columns)
    let stored = summary.tensors.map { 8 * Double($0.compressedByteCount) / weights }
    let entropy = weight.codeEntropy
    print(
      "EC \(title): \(splits) further columns; bits a weight: pooled \(entropy.pooled), by class \(entropy.byClass), "
        + "codes on disk \(stored[0]), the rest \(stored.dropFirst().reduce(0, +))")
    #expect(stored[0] <= entropy.byClass * (1 + excess))
    #expect(stored.dropFirst().reduce(0, +) < 0.03)
    // Gaussian columns of many deviations: one distribution for all would be worse.
    #expect(entropy.byClass < entropy.pooled - 0.1)
    let artifact = try Artifact(path: folder("a.tar.zst"))
    try artifact.check()
    #expect(
      try artifact.tensor("m.weight_codes").withBytes { Array($0) }
        == EntropyCodedLayout.encode(weight, linear: "m", splitColumns: splits + 40)[0].tensor.withBytes { Array($0) })
  }

  @Test func `the specification's example is what is written and read`() throws {
    let page = String(
      decoding: try Data(contentsOf: URL(filePath: SharedFolder.repository + "/formats/entropy-coded.md")),
      as: UTF8.self)
    var tensors: [(name: String, tensor: Tensor)] = []
    for line in page.split(separator: "\n") where line.contains(".weight_") && line.contains("  ") {
      guard let open = line.firstIndex(of: "["), let close = line.firstIndex(of: "]"), !line.hasPrefix("|") else {
        continue
      }
      let words = line[..<open].split(separator: " ")
      guard words.count == 2, let type = DType(rawValue: String(words[1])) else { continue }
      let extents = line[line.index(after: open)..<close].split(separator: ",").compactMap {
        Int($0.filter { $0 != " " })
      }
      let bytes = line[line.index(after: close)...].split(separator: " ").compactMap { UInt8($0, radix: 16) }
      tensors.append((String(words[0]), Tensor(type, Shape(extents), bytes: bytes)))
    }
    #expect(tensors.count == 10)
    let examples: [(String, [Int32], [Int], [UInt8], [UInt8], Int, Int, [Float])] = [
      ("m", [1, -300, 0, 44, -2, 200], [3, 2], [192, 176, 208], [128, 96], 8, 2, [1, -75, 0, 5.5, -4, 100]),
      ("p", [3, -9, 7], [3, 1], [192, 192, 192], [128], 4, 1, [3, -9, 7]),
    ]
    for (name, integers, shape, rowGains, columnGains, bits, splits, weights) in examples {
      let own = tensors.filter { $0.name.hasPrefix(name + ".") }
      let weight = QuantizedTensor(
        integers: integers, outFeatures: shape[0], inFeatures: shape[1], rowGains: rowGains, columnGains: columnGains,
        bits: bits)
      let encoded = EntropyCodedLayout.encode(weight, linear: name, splitColumns: splits)
      #expect(encoded.map(\.name) == own.map(\.name))
      for (ours, example) in zip(encoded, own) {
        #expect(ours.tensor.shape == example.tensor.shape && ours.tensor.dtype == example.tensor.dtype)
        #expect(ours.tensor.withBytes { Array($0) } == example.tensor.withBytes { Array($0) }, "\(ours.name)")
      }
      var linear = StoredLinear(
        tensors: own, configuration: EntropyCodedConfiguration(ignore: []).json(), shape: shape)
      linear.name = name
      #expect(try linear.weight().rows.matrix().values == weights)
      #expect(try linear.weight().codes?().integers() == integers)
    }
  }
}
