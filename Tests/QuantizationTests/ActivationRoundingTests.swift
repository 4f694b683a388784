import Kernels
import Quantization
import Tensors
import TestSupport
import Testing

/// Activations as a runtime rounds them.
@Suite struct ActivationRoundingTests {
  static let schemes: [QuantizationScheme] = [
    .w8a8, .fp8, .fp8Dynamic, .fp8Block, .fp8BlockPowers, .mxfp8, .mxfp4, .nvfp4,
  ]

  private static func rounding(_ scheme: QuantizationScheme, width: Int, scale: Float = 0.5) throws
    -> ActivationRounding
  {
    try #require(ActivationRounding(scheme, width: width, inputScale: scale))
  }

  private static func row(_ values: [Float]) -> Matrix { Matrix(rows: 1, columns: values.count, values: values) }

  @Test func `each token has the scale of its own largest value`() throws {
    let x = Matrix(rows: 2, columns: 3, values: [448, 17, -3.3, 0.0448, 0.0017, 0])
    let found = try Self.rounding(.fp8Dynamic, width: 3)(x)
    // 17 lies half-way between the float8 numbers 16 and 18 and goes to the even code; −3.3 goes to −3.25.
    #expect(found.row(0) == [448, 16, -3.25])
    #expect(abs(found[1, 0] - 0.0448) < 1e-8 && abs(found[1, 1] - 0.0016) < 0.0002 && found[1, 2] == 0)
    let integers = try Self.rounding(.w8a8, width: 3)(Self.row([127, 2.4, -2.6]))
    #expect(integers.values == [127, 2, -3])
  }

  @Test func `a calibrated scale cuts off what is beyond it`() throws {
    let found = try Self.rounding(.fp8, width: 3, scale: 0.5)(Self.row([1000, -300, 0.5]))
    #expect(found.values == [224, -224, 0.5])
  }

  @Test func `groups do not see each other, and their scales are what the scheme says`() throws {
    var values = [Float](repeating: 0.01, count: 256)
    values[0] = 449
    values[130] = 5
    let plain = try Self.rounding(.fp8Block, width: 256)(Self.row(values))
    let powers = try Self.rounding(.fp8BlockPowers, width: 256)(Self.row(values))
    #expect(abs(plain[0, 0] - 449) < 1e-3 && powers[0, 0] == 448)
    #expect(abs(plain[0, 130] - 5) < 1e-5 && powers[0, 130] == 5)
    // In the second group 0.01 is far above the smallest step, beside 449 it is not.
    #expect(abs(powers[0, 131] - 0.01) < 0.0004 && abs(powers[0, 1] - 0.01) < 0.002)
    let four = try Self.rounding(.mxfp4, width: 32)(Self.row([6, 5.1, 0.2] + [Float](repeating: 0, count: 29)))
    #expect(Array(four.values.prefix(3)) == [6, 6, 0])
  }

  @Test func `NVFP4 rounds scales to float8 above the calibrated divisor`() throws {
    // Divisor 448: a group whose largest is 6 has the scale 448 / 448.
    let x = Self.row([6, 3.6, -1.2] + [Float](repeating: 0, count: 13) + [0.06] + [Float](repeating: 0, count: 15))
    let found = try Self.rounding(.nvfp4, width: 32, scale: 448)(x)
    #expect(Array(found.values.prefix(3)) == [6, 4, -1])
    #expect(found[0, 16] == 6 * (4.5 / 448))
  }

  @Test(arguments: schemes)
  func `tokens and threads do not change each other, zeros stay, and the error is the format's`(
    scheme: QuantizationScheme
  ) throws {
    var generator = SeededGenerator(seed: 4)
    var x = Matrix(rows: 50, columns: 160, values: generator.normals(8000))
    for column in 0..<160 { x[7, column] = 0 }
    let rounding = try Self.rounding(
      scheme, width: 160, scale: scheme.weights.scales == .float8 ? 600 : 1 / 100)
    let found = rounding(x)
    let threads = Parallel.threads
    defer { Parallel.threads = threads }
    Parallel.threads = 1
    #expect(rounding(x) == found)
    for row in [0, 7, 49] { #expect(rounding(x.rows(row..<row + 1)).values == Array(found.row(row))) }
    #expect(found.row(7).allSatisfy { $0 == 0 })
    let noise = zip(x.values, found.values).reduce(0.0) { $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) } / 8000
    let isFour = [QuantizationScheme.mxfp4, .nvfp4].contains(scheme)
    #expect(noise > 0 && noise < (isFour ? 0.03 : 0.0012), "\(noise)")
  }

  @Test func `without activations to round, or without the scale they need, nothing is done`() {
    for scheme in [QuantizationScheme.w4a16, .nvfp4A16, .mxfp8A16] {
      #expect(ActivationRounding(scheme, width: 8, inputScale: 1) == nil)
    }
    #expect(ActivationRounding(.fp8, width: 8, inputScale: nil) == nil)
    #expect(ActivationRounding(.nvfp4, width: 16, inputScale: nil) == nil)
  }
}
