internal import CKernels
internal import Tensors

extension NumberFormat {
  /// The exponent of the power of two that brings a positive magnitude into a float format's range.
  ///
  /// Of float4, magnitudes from 1¾ · 2ⁿ on belong to the next power, and below it they are clipped to 1½ · 2ⁿ, as the
  /// compressed-tensors library has it; of float8 none is clipped.
  func powerOfTwo(for magnitude: Float) -> Int {
    let exponent: Int
    if self == .float4E2M1 {
      exponent = Int(magnitude.exponent) - 2 + (magnitude.significand >= 1.75 ? 1 : 0)
    } else {
      let ratio = magnitude / Float8E4M3.largest
      exponent = Int(ratio.exponent) + (ratio.significand > 1 ? 1 : 0)
    }
    return max(-126, exponent)
  }
}

/// The scales that are tried for a rectangle, the plain one first.
struct ScaleCandidates: Sendable {
  let quantization: WeightQuantization
  let type: DType
  let divisor: Float?
  /// Steps from the plain scale: of 1/16 octave, of an octave, or of one float8 code.
  private let steps: [Int]

  init(_ quantization: WeightQuantization, type: DType, divisor: Float?, isSearched: Bool) {
    self.quantization = quantization
    self.type = type
    self.divisor = divisor
    guard isSearched else {
      steps = [0]
      return
    }
    switch (quantization.scales, quantization.format) {
    // A whole octave above: floats repeat themselves there. A little below only the largest weight is lost.
    case (.real, .float8E4M3): steps = Array(0...15) + [-1]
    // float4 gains by clipping, and by the largest weight at 4, where steps are finer.
    case (.real, _): steps = Array(0...12) + Array(-8 ... -1)
    case (.powerOfTwo, _): steps = [0, -1, 1]
    // To 4 in place of 6 it is 5 codes up, and 2 down clip.
    case (.float8, _): steps = Array(0...6) + [-1, -2, -3]
    }
  }

  var count: Int { steps.count }

  /// - Parameter largest: the largest magnitude, finite.
  func scales(_ largest: Float) -> [Float] {
    let top = quantization.format == .float4E2M1 ? Float4E2M1.largest : Float8E4M3.largest
    switch quantization.scales {
    case .real:
      // Rounded up, since a smaller scale would push the largest weights out of range.
      let plain = ck_round_scale_up(largest / top, ck_scale_type(type))
      guard plain > 0 else { return [Float](repeating: 1, count: count) }
      return steps.map { step in
        let scale = step == 0 ? plain : ck_round_scale(plain * Self.octave[step + 16], ck_scale_type(type))
        return scale.isNormal ? scale : plain
      }
    case .powerOfTwo:
      guard largest > 0 else { return [Float](repeating: 1, count: count) }
      let exponent = quantization.format.powerOfTwo(for: largest)
      return steps.map { Float(sign: .plus, exponent: min(127, max(-126, exponent + $0)), significand: 1) }
    case .float8:
      guard let divisor else { preconditionFailure("float8 scales have a divisor") }
      let code = Float8E4M3.codes([largest / top * divisor])[0]
      // Code 0 would be a scale of 0, and 0x7f is NaN.
      return steps.map { Float8E4M3.decoded[min(0x7E, max(1, Int(code) + $0))] / divisor }
    }
  }

  /// 2^(k/16) from k = −16 on.
  private static let octave: [Float] = {
    // ¹⁶√2, by square roots: the same everywhere.
    let root = Double(2).squareRoot().squareRoot().squareRoot().squareRoot()
    var result = [Double](repeating: 0.5, count: 33)
    for index in 1...32 { result[index] = index == 16 ? 1 : index == 32 ? 2 : result[index - 1] * root }
    return result.map { Float($0) }
  }()
}
