/// SplitMix64: the same numbers on every machine, so that a failing case can be replayed from its seed.
public struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  /// A generator for one seed.
  public init(seed: UInt64) { state = seed }

  /// The next 64 random bits.
  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// A float of mean 0 and variance about 1: the sum of twelve uniforms.
  public mutating func normal() -> Float {
    (0..<12).reduce(into: Float(-6)) { sum, _ in sum += Float.random(in: 0..<1, using: &self) }
  }

  /// Many such floats.
  public mutating func normals(_ count: Int) -> [Float] {
    (0..<count).map { _ in normal() }
  }
}
