internal import CKernels
internal import Kernels
public import Tensors

/// Rounds what a linear reads, as a runtime does that multiplies activations in few bits: to codes and back.
///
/// Scales of tokens and groups come from their own largest magnitude, so rows do not depend on each other.
public struct ActivationRounding: Sendable, Hashable {
  private enum Scale: Hashable {
    /// Calibrated.
    case fixed(Float)
    /// The largest magnitude of each run of so many channels over the format's largest number.
    case groups(size: Int)
    /// The same as a power of two.
    case powers(size: Int)
    /// The same as a float8, divided by a calibrated number.
    case float8(size: Int, divisor: Float)
  }

  private let format: NumberFormat
  private let scale: Scale

  /// What a runtime does to the input of a linear of this scheme; `nil` where activations stay floats, and where a scheme
  /// wants a calibrated scale and there is none.
  ///
  /// - Parameters:
  ///   - width: input features of the linear.
  ///   - inputScale: the calibrated scale of the input, or the divisor of its groups' scales (NVFP4), if there is one.
  public init?(_ scheme: QuantizationScheme, width: Int, inputScale: Float?) {
    switch scheme.activations {
    case .none: return nil
    case .staticPerTensor(let format):
      guard let inputScale else { return nil }
      (self.format, scale) = (format, .fixed(inputScale))
    case .dynamicPerToken(let format): (self.format, scale) = (format, .groups(size: width))
    case .dynamicPerGroup(let format, let size):
      self.format = format
      switch scheme.weights.scales {
      case .real: scale = .groups(size: size)
      case .powerOfTwo: scale = .powers(size: size)
      case .float8:
        guard let inputScale else { return nil }
        scale = .float8(size: size, divisor: inputScale)
      }
    }
  }

  /// Rounding by one scale for all.
  public init(_ format: NumberFormat, scale: Float) { (self.format, self.scale) = (format, .fixed(scale)) }

  /// The largest magnitude of the format.
  private var largest: Float {
    switch format {
    case .int(let bits): Float((1 << (bits - 1)) - 1)
    case .float8E4M3: Float8E4M3.largest
    case .float4E2M1: Float4E2M1.largest
    }
  }

  /// The scale of a run of values, by its largest magnitude.
  private func scale(of magnitude: Float) -> Float {
    let wanted: Float
    switch scale {
    case .fixed(let scale): return scale
    case .groups: wanted = magnitude / largest
    case .powers:
      guard magnitude.isNormal else { return 1 }
      return Float(sign: .plus, exponent: format.powerOfTwo(for: magnitude), significand: 1)
    case .float8(_, let divisor):
      wanted = Float8E4M3.decoded[Int(Float8E4M3.codes([magnitude / largest * divisor])[0])] / divisor
    }
    return wanted.isNormal ? wanted : 1
  }

  /// Rounds `[tokens, channels]`.
  public func callAsFunction(_ x: Matrix) -> Matrix {
    var result = x
    let width = x.columns
    let size =
      switch scale {
      case .fixed: width
      case .groups(let size), .powers(let size), .float8(let size, _): size
      }
    guard width > 0, size > 0 else { return result }
    result.values.withUnsafeMutableBufferPointer { values in
      guard let base = values.baseAddress else { return }
      nonisolated(unsafe) let start = base
      Parallel.forEachRange(of: x.rows, size: 16) { rows in
        for row in rows {
          for column in stride(from: 0, to: width, by: size) {
            let (run, count) = (start + row * width + column, min(size, width - column))
            round(run, count, by: scale(of: ck_largest_magnitude(run, count)))
          }
        }
      }
    }
    return result
  }

  private func round(_ run: UnsafeMutablePointer<Float>, _ count: Int, by scale: Float) {
    switch format {
    case .float8E4M3: ck_float_round_trip(run, count, ck_float8_e4m3, scale)
    case .float4E2M1: ck_float_round_trip(run, count, ck_float4_e2m1, scale)
    case .int: ck_int_round_trip(run, count, largest, scale)
    }
  }
}
