#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

extension Double {
  /// eˣ.
  var exponential: Double { exp(self) }

  /// ln x.
  var naturalLogarithm: Double { log(self) }

  /// log₁₀ x.
  var decimalLogarithm: Double { log10(self) }

  /// 10ˣ.
  var powerOfTen: Double { pow(10, self) }

  /// Φ(x), the chance that a standard normal variable is at most x.
  var normalProbability: Double { 0.5 * erfc(-self / 2.0.squareRoot()) }
}
