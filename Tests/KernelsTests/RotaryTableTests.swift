import Foundation
import Kernels
import Tensors
import TestSupport
import Testing

@Suite struct RotaryTableTests {
  static let frequencies: [Float] = [1, 0.3, 0.01]
  static let positions = [0, 1, 5, 900, 5, 77, 2]

  static func rotated(
    _ x: Matrix, _ headDimension: Int, offset: Int = 0, pairing: RotaryPairing = .halves, amplitude: Float = 1
  ) -> Matrix {
    var x = x
    RotaryTable(frequencies: frequencies, amplitude: amplitude, positions: 1000)
      .rotate(&x, headDimension: headDimension, offset: offset, pairing: pairing, positions: positions)
    return x
  }

  @Test(arguments: [(6, 0), (8, 0), (8, 2), (11, 5), (7, 1)], [RotaryPairing.halves, .neighbours])
  func `rotations agree with double precision and leave other channels`(
    head: (dimension: Int, offset: Int), pairing: RotaryPairing
  ) {
    let half = Self.frequencies.count
    for amplitude: Float in [1, 1.3465736] {
      let x = Matrix.random(Self.positions.count, 3 * head.dimension, seed: 4)
      let found = Self.rotated(x, head.dimension, offset: head.offset, pairing: pairing, amplitude: amplitude)
      var rest = found
      for (row, position) in Self.positions.enumerated() {
        for start in stride(from: head.offset, to: x.columns, by: head.dimension) {
          for (index, frequency) in Self.frequencies.enumerated() {
            let (first, second) =
              pairing == .halves ? (start + index, start + index + half) : (start + 2 * index, start + 2 * index + 1)
            let angle = Double(frequency * Float(position))
            let (c, s) = (cos(angle) * Double(amplitude), sin(angle) * Double(amplitude))
            let (a, b) = (Double(x[row, first]), Double(x[row, second]))
            let bound = 6 * RoundingBound.unit * (abs(a) + abs(b))
            #expect(abs(Double(found[row, first]) - (a * c - b * s)) <= bound)
            #expect(abs(Double(found[row, second]) - (b * c + a * s)) <= bound)
            rest[row, first] = x[row, first]
            rest[row, second] = x[row, second]
          }
        }
      }
      #expect(rest.isIdentical(to: x), "channels outside \(2 * half) from \(head.offset) changed")
    }
  }

  @Test func `by default the first channels of a head turn by halves`() {
    let x = Matrix.random(Self.positions.count, 16, seed: 5)
    var found = x
    RotaryTable(frequencies: Self.frequencies, amplitude: 1, positions: 1000)
      .rotate(&found, headDimension: 8, positions: Self.positions)
    #expect(found.isIdentical(to: Self.rotated(x, 8, offset: 0, pairing: .halves)))
  }

  @Test func `neighbours are halves in another order`() {
    let x = Matrix.random(Self.positions.count, 6, seed: 6)
    let (even, odd) = x.deinterleaved()
    var halves = Matrix(rows: x.rows, columns: 6)
    for row in 0..<x.rows {
      for index in 0..<3 { (halves[row, index], halves[row, 3 + index]) = (even[row, index], odd[row, index]) }
    }
    let turned = Self.rotated(halves, 6)
    let (first, second) = Self.rotated(x, 6, pairing: .neighbours).deinterleaved()
    #expect(first.isIdentical(to: turned.columns(0..<3)) && second.isIdentical(to: turned.columns(3..<6)))
  }

  @Test func `position 0 changes nothing and the number of threads no bit`() {
    let x = Matrix.random(200, 24, seed: 7)
    let table = RotaryTable(frequencies: Self.frequencies, amplitude: 1, positions: 200)
    for pairing in [RotaryPairing.halves, .neighbours] {
      var still = x
      table.rotate(&still, headDimension: 8, offset: 2, pairing: pairing, positions: [Int](repeating: 0, count: 200))
      #expect(still == x)
      expectSameForAnyThreadCount {
        var turned = x
        table.rotate(&turned, headDimension: 8, offset: 2, pairing: pairing, positions: Array(0..<200))
        return turned
      }
    }
  }
}
