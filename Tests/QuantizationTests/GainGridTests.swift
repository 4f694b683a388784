import Foundation
import Quantization
import Testing

@Suite struct GainGridTests {
  @Test(arguments: [GainGrid.rows, .columns])
  func `values are sixteen to the octave`(grid: GainGrid) {
    for code in 0..<256 {
      let exact = exp2(Double(code - Int(grid.one)) / 16)
      #expect(abs(Double(grid.values[code]) / exact - 1) <= 0x1p-24)
      if code % 16 == 0 { #expect(Double(grid.values[code]) == exact) }
    }
    #expect(grid.values[Int(grid.one)] == 1)
  }

  @Test(arguments: [GainGrid.rows, .columns])
  func `each value is its own nearest`(grid: GainGrid) {
    for code in UInt8.min...UInt8.max {
      let value = grid.values[Int(code)]
      #expect(grid.code(nearest: value) == code)
      #expect(grid.code(of: value) == code)
      #expect(grid.code(of: value.nextUp) == nil)
    }
  }

  @Test func `the nearest is nearest in ratio, and ends hold`() {
    let grid = GainGrid.columns
    for index in 0..<10_000 {
      let exponent = Double(index) / 10_000 * 17 - 8.5
      let expected = min(255, max(0, (128 + 16 * exponent).rounded()))
      // Not where two are equally near within rounding.
      guard abs(abs((16 * exponent).rounded() - 16 * exponent) - 0.5) > 1e-4 else { continue }
      #expect(Double(grid.code(nearest: Float(exp2(exponent)))) == expected)
    }
    #expect(grid.code(nearest: 0) == 0)
    #expect(grid.code(nearest: .leastNonzeroMagnitude) == 0)
    #expect(grid.code(nearest: .infinity) == 255)
    #expect(grid.code(of: 0) == nil)
    #expect(grid.code(of: -1) == nil)
  }
}
