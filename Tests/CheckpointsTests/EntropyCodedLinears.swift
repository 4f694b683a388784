import Checkpoints
import Quantization
import StrictJSON
import Tensors
import TestSupport

/// Random integers as entropy-coded linears.
enum EntropyCodedLinears {
  /// Gaussian integers whose columns have steps of their own, a hundredth of them far larger.
  ///
  /// - Parameter deviation: of the codes of a middling column.
  static func random(
    _ rows: Int, _ columns: Int, bits: Int, deviation: Float, spread: Float = 0.5, outlier: Float = 15,
    seed: UInt64 = 1
  ) -> QuantizedTensor {
    var generator = SeededGenerator(seed: seed)
    let deviations = (0..<columns).map { column in
      // 2^x, by squaring: no library decides a test's bytes.
      var factor: Float = 1
      for _ in 0..<32 { factor *= 1 + spread / 32 * generator.normal() * 5.65 }
      return deviation * factor * (column % 100 == 7 ? outlier : 1)
    }
    let integers = (0..<rows * columns).map { Int32((generator.normal() * deviations[$0 % columns]).rounded()) }
    return QuantizedTensor(
      integers: integers, outFeatures: rows, inFeatures: columns,
      rowGains: (0..<rows).map { _ in UInt8.random(in: 90...110, using: &generator) },
      columnGains: (0..<columns).map { _ in UInt8.random(in: 100...140, using: &generator) }, bits: bits)
  }

  /// A stored linear "m" in a checkpoint of its own.
  static func stored(_ weight: QuantizedTensor, splitColumns: Int) -> StoredLinear {
    var linear = StoredLinear(
      tensors: EntropyCodedLayout.encode(weight, linear: "m", splitColumns: splitColumns),
      configuration: EntropyCodedConfiguration(ignore: ["lm_head"]).json(),
      shape: [weight.outFeatures, weight.inFeatures])
    linear.expected = weight.dequantized().values
    return linear
  }
}
