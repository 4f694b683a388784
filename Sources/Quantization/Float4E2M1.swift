/// The numbers of float4 E2M1: one sign bit, two of exponent, one of significand.
public enum Float4E2M1 {
  /// The largest number.
  public static let largest: Float = 6

  /// The value of each code.
  public static let decoded: [Float] = {
    let magnitudes: [Float] = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    return magnitudes + magnitudes.map { -$0 }
  }()

  /// The code of the nearest number, ties to the even code; what is beyond the largest becomes the largest.
  public static func code(_ value: Float) -> UInt8 {
    let magnitude = abs(value)
    let code: UInt8 =
      switch magnitude {
      case ...0.25: 0
      case ..<0.75: 1
      case ...1.25: 2
      case ..<1.75: 3
      case ...2.5: 4
      case ..<3.5: 5
      case ...5: 6
      default: 7
      }
    return value.sign == .minus ? code | 8 : code
  }
}
