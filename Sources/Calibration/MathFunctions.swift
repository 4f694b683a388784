internal import Foundation

/// The few functions of the mathematics library that calibration uses.
enum MathFunctions {
  static func power(_ base: Double, _ exponent: Double) -> Double { pow(base, exponent) }
  static func logarithm2(_ x: Double) -> Double { log2(x) }
}
