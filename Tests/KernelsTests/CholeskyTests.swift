import Tensors
import Testing

@testable import Kernels

@Suite(.serialized) struct CholeskyTests {
  /// A sum of outer products over twice as many samples as channels, with some correlation, over the number of samples.
  static func moments(_ size: Int, seed: UInt64) -> [Float] {
    let x = Matrix.random(2 * size + 8, size + 1, seed: seed)
    // Neighbours share a part.
    let mixed = Matrix(
      rows: x.rows, columns: size,
      values: (0..<x.rows).flatMap { row in (0..<size).map { x[row, $0] + 0.7 * x[row, $0 + 1] } })
    var sum = [Float](repeating: 0, count: size * size)
    MatrixProduct.addGram(mixed, to: &sum)
    for row in 0..<size {
      for column in 0...row {
        sum[row * size + column] /= Float(x.rows)
        sum[column * size + row] = sum[row * size + column]
      }
    }
    return sum
  }

  private static func factored(_ a: [Float], size: Int) -> [Float]? {
    var a = a
    let isPositive = a.withUnsafeMutableBufferPointer { buffer in
      buffer.baseAddress.map { Cholesky.factor($0, size: size) } ?? true
    }
    return isPositive ? a : nil
  }

  // Sizes around the blocks of 256 and tiles of 128.
  @Test(arguments: [1, 7, 256, 257, 300, 600])
  func `the lower triangle becomes L with L times its transpose the matrix`(size: Int) throws {
    let a = Self.moments(size, seed: UInt64(size))
    let l = try #require(Self.factored(a, size: size))
    // Row by row against the textbook's recurrence in double.
    var expected = [Double](repeating: 0, count: size * size)
    var largest = 0.0
    for row in 0..<size {
      for column in 0...row {
        var rest = Double(a[row * size + column])
        for k in 0..<column { rest -= expected[row * size + k] * expected[column * size + k] }
        let value = row == column ? rest.squareRoot() : rest / expected[column * size + column]
        expected[row * size + column] = value
        largest = max(largest, abs(Double(l[row * size + column]) - value))
      }
    }
    // The smallest eigenvalue is about a tenth: float's rounding of sums of `size` terms, ten times over.
    #expect(largest < 10 * Double(size + 8) * 0x1p-24, "\(largest)")
  }

  @Test(arguments: [1, 7, 300, 600])
  func `a matrix that is not positive is refused`(size: Int) {
    for place in Set([0, size / 2, size - 1]) {
      for wrong in [Float(-1), 0, .nan] {
        var a = Self.moments(size, seed: 3)
        a[place * size + place] = wrong
        #expect(Self.factored(a, size: size) == nil, "\(wrong) at \(place) of \(size)")
      }
    }
  }

  @Test func `two channels that say the same are refused, unless they are drawn apart`() {
    var a = Self.moments(300, seed: 4)
    for other in 0..<300 {
      let value = a[17 * 300 + other]
      a[280 * 300 + other] = value
      a[other * 300 + 280] = value
    }
    a[280 * 300 + 280] = a[17 * 300 + 17] * 0.99
    #expect(MomentFactor(a, channels: 300, shrinkage: 0) == nil)
    #expect(MomentFactor(a, channels: 300, shrinkage: 0.03) != nil)
  }

  @Test func `the factor is the same for any number of threads`() throws {
    let a = Self.moments(600, seed: 5)
    expectSameForAnyThreadCount {
      let l = Self.factored(a, size: 600) ?? []
      return Matrix(rows: 600, columns: l.count / 600, values: l)
    }
  }
}
