import Kernels
import Models
import Quantization
import Tensors
import TestSupport
import Testing

/// Packed kernels and BLAS sum the same float32 products in another order; facts of KernelsTests.
private let kernelTolerance = 5e-5

@Suite struct QuantizedModelTests {
  /// The tiny model's logits with every linear replaced.
  private static func logits(_ model: LanguageModel, _ ids: [Int], _ replace: (Linear) -> Linear.Weight) throws
    -> Matrix
  {
    try model.logits(
      of: ids,
      replacing: { layer in
        for linear in layer.layout.linears where !linear.isRouter {
          var held = try layer.linear(linear.name)
          held.weight = replace(held)
          layer.replace(linear.name, by: held)
        }
      })
  }

  private static func quantized(_ linear: Linear, _ scheme: QuantizationScheme) -> QuantizedTensor {
    RoundToNearest.quantized(linear.rows.matrix(), as: scheme.weights, scaleType: linear.rows.storedType)
  }

  @Test(
    arguments: [
      ("", 1), ("", 2), ("", 20), ("deepseek_v3", 20), ("gpt_oss", 20), ("granitemoe", 1), ("cohere", 20),
    ], QuantizationScheme.all.map(\.name))
  func `packed kernels give the logits of the dequantized floats`(
    _ source: (family: String, tokens: Int), _ name: String
  ) throws {
    let scheme = try #require(QuantizationScheme.named(name)).withGroupSize(32)
    let tokens = source.tokens
    let model =
      try source.family.isEmpty ? LanguageModel.tiny(TinyModel(modelType: "qwen2")) : ModelVectors.family(source.family)
    let ids = (0..<tokens).map { ($0 * 37 + 5) % 96 }
    let packed = try Self.logits(model, ids) { .quantized(Self.quantized($0, scheme).packed()) }
    let floats = try Self.logits(model, ids) { .matrix(Self.quantized($0, scheme).dequantized()) }
    #expect(Deviation.relative(packed.values, floats.values) <= kernelTolerance)
    // Were nothing quantized, the comparison above would say nothing.
    #expect(Deviation.relative(packed.values, try model.logits(of: ids).values) > 10 * kernelTolerance)
  }

  @Test func `every instruction set of this machine gives the same logits within rounding`() throws {
    let model = try LanguageModel.tiny(TinyModel())
    let scheme = QuantizationScheme.w4a16Asymmetric.withGroupSize(32)
    let all = try InstructionSet.available.map { set in
      try set.whileForced {
        try Self.logits(model, [1, 2, 3, 4, 5]) { .quantized(Self.quantized($0, scheme).packed()) }
      }
    }
    for other in all.dropFirst() { #expect(Deviation.relative(other.values, all[0].values) <= kernelTolerance) }
  }
}
