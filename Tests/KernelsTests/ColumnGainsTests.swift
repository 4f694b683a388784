import CKernels
import Kernels
import Tensors
import TestSupport
import Testing

/// Products with a gain a row and a gain a column, and with columns that read an input feature again.
@Suite struct ColumnGainsTests {
  private struct Case {
    let packed: PackedMatrix
    /// Ŵ in double precision.
    let weights: [Double]
    let magnitudes: [Double]
    let (outFeatures, inFeatures): (Int, Int)
    let x: Matrix

    init(_ kind: PackedMatrix.Kind, _ outFeatures: Int, _ inFeatures: Int, sources: [Int], tokens: Int) {
      var generator = SeededGenerator(seed: UInt64(outFeatures * 1000 + inFeatures))
      let columns = inFeatures + sources.count
      let codes = (0..<outFeatures * columns).map { _ in
        UInt8.random(in: 0...255, using: &generator) & (kind == .uint4 ? 15 : 255)
      }
      let rowGains = (0..<outFeatures).map { _ in Float.random(in: 0.1..<2, using: &generator) }
      let gains = (0..<columns).map { _ in Float.random(in: 0.01..<10, using: &generator) }
      packed = PackedMatrix(
        kind, codes: codes, outFeatures: outFeatures, inFeatures: inFeatures, groupSize: columns, scales: rowGains,
        zeroPoints: kind == .uint4 ? rowGains.map { _ in 8 } : nil, columns: ColumnGains(gains, sources: sources))
      var weights = [Double](repeating: 0, count: outFeatures * inFeatures)
      var magnitudes = weights
      for row in 0..<outFeatures {
        for column in 0..<columns {
          let feature = column < inFeatures ? column : sources[column - inFeatures]
          let code = codes[row * columns + column]
          let number = kind == .uint4 ? Double(code) - 8 : Double(Int8(bitPattern: code))
          let factor = Double(rowGains[row]) * Double(gains[column])
          weights[row * inFeatures + feature] += number * factor
          magnitudes[row * inFeatures + feature] += (abs(number) + (kind == .uint4 ? 16 : 0)) * factor
        }
      }
      (self.weights, self.magnitudes) = (weights, magnitudes)
      (self.outFeatures, self.inFeatures) = (outFeatures, inFeatures)
      x = Matrix(rows: tokens, columns: inFeatures, values: generator.normals(tokens * inFeatures))
    }

    /// The worst error of a product, in units of the sum of magnitudes that an output is made of.
    func worstError(_ y: Matrix) -> Double {
      var worst = 0.0
      for token in 0..<x.rows {
        for row in 0..<outFeatures {
          var (value, magnitude) = (0.0, Double.leastNormalMagnitude)
          for k in 0..<inFeatures {
            value += weights[row * inFeatures + k] * Double(x[token, k])
            magnitude += magnitudes[row * inFeatures + k] * abs(Double(x[token, k]))
          }
          worst = max(worst, abs(Double(y[token, row]) - value) / magnitude)
        }
      }
      return worst
    }
  }

  static let shapes: [(Int, Int, [Int])] = [
    (1, 1, []), (3, 2, [1]), (17, 43, [0, 42, 42, 7]), (47, 257, []), (70, 400, Array(100..<180)),
  ]

  @Test(arguments: [PackedMatrix.Kind.int8, .uint4], shapes)
  func `products agree with double precision`(kind: PackedMatrix.Kind, shape: (Int, Int, [Int])) {
    for tokens in [1, 3, 20] {
      let weight = Case(kind, shape.0, shape.1, sources: shape.2, tokens: tokens)
      let bound = RoundingBound.vector(shape.1 + shape.2.count + 4)
      for kernels in Tables.vector + [Tables.portable] {
        #expect(weight.worstError(weight.packed.singleTokenProduct(weight.x, kernels)) <= bound)
        #expect(weight.worstError(weight.packed.manyTokenProduct(weight.x, kernels)) <= bound)
      }
    }
  }

  @Test(arguments: [PackedMatrix.Kind.int8, .uint4], shapes)
  func `rows of weights agree with double precision`(kind: PackedMatrix.Kind, shape: (Int, Int, [Int])) {
    let weight = Case(kind, shape.0, shape.1, sources: shape.2, tokens: 1)
    let rows = weight.packed.dequantizedRows(0..<shape.0)
    #expect((rows.rows, rows.columns) == (shape.0, shape.1))
    for (index, value) in rows.values.enumerated() {
      #expect(abs(Double(value) - weight.weights[index]) <= 4 * 0x1p-23 * weight.magnitudes[index])
    }
    let last = shape.0 - 1
    #expect(weight.packed.dequantizedRows(at: [last, 0]).row(0) == rows.row(last))
  }

  @Test func `results do not depend on the number of threads`() {
    let weight = Case(.int8, 330, 500, sources: [1, 2, 3], tokens: 37)
    expectSameForAnyThreadCount { weight.packed.product(weight.x) }
  }

  @Test func `a feature that is read again has the sum of its columns`() {
    let packed = PackedMatrix(
      .int8, codes: [3, 1, 255, 2], outFeatures: 1, inFeatures: 2, groupSize: 4, scales: [0.5],
      columns: ColumnGains([1, 2, 512, 131_072], sources: [1, 1]))
    #expect(packed.inFeatures == 2)
    let expected: [Float] = [1.5, 1 - 256 + 131_072]
    #expect(packed.dequantizedRows(0..<1).values == expected)
    #expect(packed.product(Matrix(rows: 1, columns: 2, values: [2, 1])).values == [3 + expected[1]])
  }
}
