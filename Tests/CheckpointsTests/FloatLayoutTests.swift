import Checkpoints
import Foundation
import Quantization
import StrictJSON
import Tensors
import TestSupport
import Testing

/// The narrow float formats, against what the library makes of the same weights (`Vectors/layouts/make_floats.py`).
@Suite struct FloatLayoutTests {
  static let schemes: [QuantizationScheme] = [.mxfp4A16, .nvfp4A16, .mxfp8A16]

  private static func encoded(_ scheme: QuantizationScheme, _ weight: Matrix) -> MemorySource {
    let tensor = RoundToNearest.quantized(weight, as: scheme.weights, scaleType: .bfloat16)
    return MemorySource(CompressedTensorsLayout.encode(tensor, linear: "m"))
  }

  @Test(arguments: schemes)
  func `plain scales and codes are the library's, byte for byte`(scheme: QuantizationScheme) throws {
    let file = try LayoutVectors.file("floats")
    let weight = Matrix(try file.tensor("weight"))
    let found = Self.encoded(scheme, weight)
    let groupSize = scheme.weights.scales == .float8 ? 16 : 32
    for part in ["weight_global_scale", "weight_scale", "weight_packed", "weight"] {
      guard let expected = try? file.tensor(scheme.name + "." + part) else {
        #expect(found.info("m." + part) == nil, "\(part)")
        continue
      }
      let tensor = try found.tensor("m." + part)
      #expect(tensor.shape == expected.shape, "\(part)")
      var differences: [Int] = []
      for (index, (mine, theirs)) in zip(tensor.bytes, expected.bytes).enumerated() where mine != theirs {
        differences.append(index)
      }
      if part == "weight_scale" {
        // A group of zeros has no scale that matters; one too small for float8 has the least here, 2⁻³ in the library.
        let groups = 64 / groupSize
        differences.removeAll { index in
          let start = index % groups * groupSize
          let isZero = (start..<start + groupSize).allSatisfy { weight[index / groups, $0] == 0 }
          return isZero || expected.dtype == .uint8 && tensor.dtype == .float8E4M3 && tensor.bytes[index] == 1
        }
      }
      #expect(differences.isEmpty, "\(part) differs at \(differences.prefix(8)) of \(tensor.bytes.count)")
    }
  }

  @Test(arguments: schemes)
  func `what is written is read as the library reads it, and as it was meant`(scheme: QuantizationScheme) throws {
    let file = try LayoutVectors.file("floats")
    let weight = Matrix(try file.tensor("weight"))
    let configuration = CompressedTensorsConfiguration(
      groups: [.init(scheme: scheme, targets: ["Linear"])], ignore: [])
    var linear = StoredLinear(
      tensors: Self.encoded(scheme, weight).entries, configuration: configuration.json(), shape: [24, 64])
    #expect(try linear.quantization()?.scheme(of: "m") == scheme)
    linear.tensors = try file.tensors.filter { $0.name.hasPrefix(scheme.name + ".weight") }.map { info in
      // The library's script writes float8 as bytes.
      let tensor = try file.tensor(info.name)
      let isFloat = info.name.hasSuffix("A16.weight") || scheme == .nvfp4A16 && info.name.hasSuffix("_scale")
      let type: DType = isFloat && tensor.dtype == .uint8 ? .float8E4M3 : tensor.dtype
      return ("m" + info.name.dropFirst(scheme.name.count), Tensor(type, tensor.shape, bytes: tensor.bytes))
    }
    // The library expands to BF16, which rounds products with scales of float8.
    let read = try linear.weight().rows.matrix().values
    #expect(
      Tensor([read.count], floats: read, as: .bfloat16).floats() == (try file.tensor(scheme.name + ".decoded")).floats()
    )
    if scheme.weights.scales == .powerOfTwo {
      #expect(Tensor([read.count], floats: read, as: .bfloat16).floats() == read)
    }
    for scaling in [FloatScaling(.leastError(importance: nil)), FloatScaling(.largest, sharedMaximum: 900)] {
      let tensor = RoundToNearest.quantized(weight, as: scheme.weights, scaleType: .bfloat16, scaling: scaling)
      linear.tensors = CompressedTensorsLayout.encode(tensor, linear: "m")
      #expect(try linear.weight().rows.matrix().values == tensor.dequantized().values)
      let plan = CompressedTensorsLayout.plan(
        linear: "m", scheme.weights, outFeatures: 24, inFeatures: 64, scaleType: .bfloat16)
      #expect(plan == linear.source.tensors, "the plan is what comes out")
    }
  }

  @Test(arguments: QuantizationScheme.all)
  func `a configuration that is written names the same scheme when it is read`(scheme: QuantizationScheme) throws {
    let written = CompressedTensorsConfiguration(groups: [.init(scheme: scheme, targets: ["Linear"])], ignore: [])
    let read = try CompressedTensorsConfiguration(reading: written.json(), file: "f")
    #expect(read.groups.map(\.scheme) == [scheme])
  }

  @Test func `integers that are multiplied by integers are a byte each`() throws {
    let weight = Matrix(try LayoutVectors.file("floats").tensor("weight"))
    let tensor = RoundToNearest.quantized(weight, as: QuantizationScheme.w8a8.weights, scaleType: .bfloat16)
    let configuration = CompressedTensorsConfiguration(
      groups: [.init(scheme: .w8a8, targets: ["Linear"])], ignore: []
    ).json()
    #expect(configuration["format"] == "int-quantized")
    let linear = StoredLinear(
      tensors: CompressedTensorsLayout.encode(tensor, linear: "m", asBytes: true), configuration: configuration,
      shape: [24, 64])
    #expect(linear[".weight"]?.dtype == .int8 && linear.tensors.count == 2)
    #expect(try linear.weight().rows.matrix().values == tensor.dequantized().values)
    let plan = CompressedTensorsLayout.plan(
      linear: "m", tensor.quantization, outFeatures: 24, inFeatures: 64, scaleType: .bfloat16, asBytes: true)
    #expect(plan == linear.source.tensors)
  }

  @Test func `powers of two of blocks are said as DeepSeek says it, unless only some blocks have them`() throws {
    let powers = CompressedTensorsConfiguration.Group(scheme: .fp8BlockPowers, targets: ["a"])
    let ordinary = CompressedTensorsConfiguration.Group(scheme: .fp8Block, targets: ["b"])
    #expect(CompressedTensorsConfiguration(groups: [powers], ignore: []).json()["scale_fmt"] == "ue8m0")
    let mixed = CompressedTensorsConfiguration(groups: [powers, ordinary], ignore: []).json()
    #expect(mixed["scale_fmt"] == nil)
    #expect(throws: (any Error).self) {
      var json = mixed.objectValue ?? [:]
      json["scale_fmt"] = "e5m2"
      _ = try CompressedTensorsConfiguration(reading: .object(json), file: "f")
    }
  }
}
