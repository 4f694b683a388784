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
    let rotary = model.configuration.rotary.table(positions: ids.count)
    var hidden = try model.embedding()(ids)
    for index in 0..<model.configuration.layerCount {
      var layer = try model.layer(index)
      for name in DecoderLayer.linearNames { layer[linear: name].weight = replace(layer[linear: name]) }
      layer(&hidden, sequences: Sequences(lengths: [ids.count]), rotary: rotary)
    }
    return try model.head()(hidden)
  }

  private static func quantized(_ linear: Linear, _ scheme: QuantizationScheme) -> QuantizedTensor {
    guard case .dense(let tensor) = linear.weight else { preconditionFailure("the tiny model is dense") }
    return RoundToNearest.quantized(Matrix(tensor), as: scheme.weights, scaleType: tensor.dtype)
  }

  @Test(arguments: QuantizationScheme.all.map(\.name), [1, 2, 20])
  func `packed kernels give the logits of the dequantized floats`(_ name: String, _ tokens: Int) throws {
    let scheme = try #require(QuantizationScheme.named(name)).withGroupSize(32)
    let model = try LanguageModel.tiny(TinyModel(modelType: "qwen2"))
    let ids = (0..<tokens).map { ($0 * 37 + 5) % 257 }
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
