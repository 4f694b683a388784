import Tensors
import TestSupport
import Testing

@testable import Kernels

/// Sums over tokens, and the factor that is made of them.
@Suite(.serialized) struct MomentsTests {
  /// Sums of `count` products in float, of factors around one: three standard deviations of each and some more.
  private static func rounding(_ count: Int) -> Double { 16 * Double(count) * 0x1p-24 }

  private static func solve(_ x: inout Matrix, _ factor: MomentFactor) {
    let rows = x.rows
    x.values.withUnsafeMutableBufferPointer { buffer in
      if let base = buffer.baseAddress { factor.solve(base, rows: rows, deviations: factor.deviations) }
    }
  }

  // Around tiles of 256.
  @Test(arguments: [1, 7, 256, 257, 600])
  func `second moments are added to what is there`(columns: Int) {
    let x = Matrix.random(33, columns, seed: 1)
    var sum = [Float](repeating: 1, count: columns * columns)
    MatrixProduct.addGram(x, to: &sum)
    MatrixProduct.addGram(x.rows(0..<5), to: &sum)
    var largest = 0.0
    for row in 0..<columns {
      for column in 0...row {
        let expected = (0..<38).reduce(1.0) { sum, token in
          let token = token % 33
          return sum + Double(x[token, row]) * Double(x[token, column])
        }
        largest = max(largest, abs(expected - Double(sum[row * columns + column])))
      }
    }
    #expect(largest < Self.rounding(38), "\(largest)")
    // No token adds nothing.
    let before = sum
    MatrixProduct.addGram(Matrix(rows: 0, columns: columns), to: &sum)
    #expect(sum == before)
  }

  @Test(arguments: [[1, 1], [7, 300], [300, 7], [257, 513]])
  func `cross moments are added to what is there`(widths: [Int]) {
    let (x, y) = (Matrix.random(21, widths[0], seed: 1), Matrix.random(21, widths[1], seed: 2))
    var sum = (0..<widths[0] * widths[1]).map { Float($0 % 5) }
    MatrixProduct.addCrossGram(x, y, to: &sum)
    var largest = 0.0
    for row in 0..<widths[0] {
      for column in 0..<widths[1] {
        let index = row * widths[1] + column
        let expected = (0..<21).reduce(Double(index % 5)) { $0 + Double(x[$1, row]) * Double(y[$1, column]) }
        largest = max(largest, abs(expected - Double(sum[index])))
      }
    }
    #expect(largest < Self.rounding(21), "\(largest)")
  }

  // Around a tile of 256 rows.
  @Test(arguments: [3, 300])
  func `rows times a matrix`(rows: Int) {
    let (x, m) = (Matrix.random(rows, 70, seed: 1), Matrix.random(70, 70, seed: 2))
    let found = MatrixProduct.product(x, columnsOf: m)
    for row in 0..<rows {
      for column in 0..<70 {
        let expected = (0..<70).reduce(0.0) { $0 + Double(x[row, $1]) * Double(m[$1, column]) }
        #expect(abs(expected - Double(found[row, column])) < Self.rounding(70))
      }
    }
  }

  @Test func `sums are the same for any number of threads`() {
    let (x, y) = (Matrix.random(64, 600, seed: 1), Matrix.random(64, 520, seed: 2))
    expectSameForAnyThreadCount {
      var sum = [Float](repeating: 0, count: 600 * 600)
      MatrixProduct.addGram(x, to: &sum)
      return Matrix(rows: 600, columns: 600, values: sum)
    }
    expectSameForAnyThreadCount {
      var sum = [Float](repeating: 0, count: 600 * 520)
      MatrixProduct.addCrossGram(x, y, to: &sum)
      return Matrix(rows: 600, columns: 520, values: sum)
    }
  }

  // MARK: Factors

  @Test func `channels come in ascending second moment, and each knows its root`() throws {
    var moments = CholeskyTests.moments(9, seed: 1)
    let scales: [Float] = [3, 1, 0.5, 100, 7, 2, 0, 0.01, 5]
    for row in 0..<9 { for column in 0..<9 { moments[row * 9 + column] *= scales[row] * scales[column] } }
    let factor = try #require(MomentFactor(moments, scale: 0.25, channels: 9, shrinkage: 0.1))
    #expect(factor.order.map { factor.deviations[$0] } == factor.deviations.sorted())
    #expect(factor.order[0] == 6 && factor.deviations[6] == 0, "a channel that was always 0 comes last")
    for channel in 0..<9 {
      let square = Double(moments[channel * 9 + channel]) * 0.25
      #expect(abs(Double(factor.deviations[channel]) - square.squareRoot()) <= square.squareRoot() * 0x1p-22)
    }
  }

  @Test func `what is above the diagonal of the moments does not count`() throws {
    let moments = CholeskyTests.moments(300, seed: 2)
    var other = moments
    for row in 0..<300 { for column in row + 1..<300 { other[row * 300 + column] = .nan } }
    let (one, two) = (
      try #require(MomentFactor(moments, channels: 300, shrinkage: 0.1)),
      try #require(MomentFactor(other, channels: 300, shrinkage: 0.1))
    )
    var (a, b) = (Matrix.random(4, 300, seed: 3), Matrix.random(4, 300, seed: 3))
    Self.solve(&a, one)
    Self.solve(&b, two)
    #expect(a.isIdentical(to: b) && a.firstNonFinite == nil)
  }

  @Test(arguments: [Float.nan, .infinity, -2])
  func `moments that are none are refused`(value: Float) {
    for (row, column) in [(0, 0), (5, 5), (5, 2), (290, 100), (299, 299)] where row == column || value != -2 {
      var moments = CholeskyTests.moments(300, seed: 2)
      moments[row * 300 + column] = value
      #expect(MomentFactor(moments, channels: 300, shrinkage: 0.1) == nil, "\(value) at \(row), \(column)")
    }
  }

  @Test(arguments: [1, 7, 300])
  func `solving undoes the product with the moments that were drawn to the diagonal`(size: Int) throws {
    let (moments, shrinkage) = (CholeskyTests.moments(size, seed: 6), Float(0.1))
    let factor = try #require(MomentFactor(moments, channels: size, shrinkage: shrinkage))
    let wanted = Matrix.random(5, size, seed: 7)
    var values = Matrix(rows: 5, columns: size)
    for row in 0..<5 {
      for column in 0..<size {
        values[row, column] = Float(
          (0..<size).reduce(0.0) { sum, k in
            let moment = Double(moments[k * size + column]) * (k == column ? 1 : 1 - Double(shrinkage))
            return sum + Double(wanted[row, k]) * moment
          })
      }
    }
    Self.solve(&values, factor)
    let largest = zip(values.values, wanted.values).map { abs(Double($0 - $1)) }.max() ?? 0
    #expect(largest < 1e-4, "\(largest)")
  }

  @Test func `uncorrelated channels are those of diagonal moments`() throws {
    let squares: [Float] = [0, 0.25, 1, 3, 4, 100]
    var moments = [Float](repeating: 0, count: 36)
    for (channel, square) in squares.enumerated() { moments[channel * 7] = square }
    let diagonal = try #require(MomentFactor(moments, channels: 6, shrinkage: 0.1))
    let uncorrelated = MomentFactor(uncorrelated: squares.map { $0.squareRoot() })
    #expect(
      uncorrelated.order == diagonal.order && uncorrelated.conditionalDeviations == diagonal.conditionalDeviations)
    var (a, b) = (Matrix.random(4, 6, seed: 8), Matrix.random(4, 6, seed: 8))
    Self.solve(&a, diagonal)
    Self.solve(&b, uncorrelated)
    #expect(a.isIdentical(to: b) && a[1, 3] != 0 && a[1, 0] == 0)
  }

  @Test func `a channel that was always 0 is not solved for`() throws {
    var moments = CholeskyTests.moments(7, seed: 6)
    for other in 0..<7 { (moments[3 * 7 + other], moments[other * 7 + 3]) = (0, 0) }
    let factor = try #require(MomentFactor(moments, channels: 7, shrinkage: 0.1))
    var values = Matrix.random(2, 7, seed: 7)
    Self.solve(&values, factor)
    #expect(values.firstNonFinite == nil && values[0, 3] == 0 && values[1, 3] == 0 && values[0, 2] != 0)
  }
}
