/// Gains of rows or columns on a logarithmic grid of sixteen steps an octave, one byte each.
///
/// The value of a code is 2^((code − one) / 16), defined bit for bit: one of sixteen F32 numbers, each 2^(i/16) rounded
/// to nearest, times a power of two.
public struct GainGrid: Hashable, Sendable {
  /// Those of rows: 2^−12 … 2^3.94.
  public static let rows = GainGrid(one: 192)
  /// Those of columns: 2^−8 … 2^7.94.
  public static let columns = GainGrid(one: 128)

  /// The code of gain 1, a multiple of sixteen.
  public let one: UInt8
  /// The value of each code.
  public let values: [Float]

  private init(one: UInt8) {
    self.one = one
    values = (0..<256).map { code in
      Float(sign: .plus, exponent: code / 16 - Int(one) / 16, significand: Self.steps[code % 16])
    }
  }

  /// 2^(i/16).
  private static let steps: [Float] = [
    0x1.000000p0, 0x1.0b5586p0, 0x1.172b84p0, 0x1.2387a6p0, 0x1.306fe0p0, 0x1.3dea64p0, 0x1.4bfdaep0, 0x1.5ab07ep0,
    0x1.6a09e6p0, 0x1.7a1148p0, 0x1.8ace54p0, 0x1.9c4918p0, 0x1.ae89fap0, 0x1.c199bep0, 0x1.d5818ep0, 0x1.ea4afap0,
  ]
  /// 2^((i + ½)/16): where one step ends and the next begins.
  private static let bounds: [Float] = [
    0x1.059b0ep0, 0x1.11301ep0, 0x1.1d4874p0, 0x1.29e9e0p0, 0x1.371a74p0, 0x1.44e086p0, 0x1.5342b6p0, 0x1.6247ecp0,
    0x1.71f75ep0, 0x1.82589ap0, 0x1.93737cp0, 0x1.a5503cp0, 0x1.b7f770p0, 0x1.cb720ep0, 0x1.dfc974p0, 0x1.f50766p0,
  ]

  /// The code whose value is nearest in ratio; what lies beyond the grid, zero too, becomes its end.
  ///
  /// - Precondition: the gain is not negative and not NaN.
  public func code(nearest gain: Float) -> UInt8 {
    precondition(gain >= 0, "a gain of \(gain)")
    guard gain > 0 else { return 0 }
    guard gain < .infinity else { return 255 }
    let step = Self.bounds.reduce(0) { $0 + ($1 <= gain.significand ? 1 : 0) }
    return UInt8(clamping: Int(one) + 16 * Int(gain.exponent) + step)
  }

  /// The code whose value is exactly this, if there is one.
  public func code(of gain: Float) -> UInt8? {
    guard gain > 0 else { return nil }
    let code = code(nearest: gain)
    return values[Int(code)] == gain ? code : nil
  }
}
