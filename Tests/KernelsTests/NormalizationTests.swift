import Foundation
import Kernels
import Tensors
import TestSupport
import Testing

@Suite struct NormalizationTests {
  /// The definition in double precision, one column at a time.
  static func reference(
    _ kind: NormKind, _ x: Matrix, weight: [Float], epsilon: Float, width: Int
  ) -> [Double] {
    var result: [Double] = []
    for row in 0..<x.rows {
      for column in 0..<x.columns {
        let start = column / width * width
        let run = (start..<start + width).map { Double(x[row, $0]) }
        let mean = kind == .layer ? run.reduce(0, +) / Double(width) : 0
        let spread = run.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(width)
        result.append(
          Double(weight[column % weight.count]) * (Double(x[row, column]) - mean) / sqrt(spread + Double(epsilon)))
      }
    }
    return result
  }

  @Test(
    arguments: [NormKind.rms, .layer],
    [(1, nil, 1), (37, nil, 37), (48, 16, 16), (51, 17, 17), (51, 17, 51), (60, 4, 60), (64, 64, 64), (9, 1, 9)]
      as [(Int, Int?, Int)])
  func `norms agree with double precision`(kind: NormKind, shape: (columns: Int, width: Int?, weights: Int)) {
    var generator = SeededGenerator(seed: 8)
    let weight = generator.normals(shape.weights)
    for (factor, epsilon) in [(1, 1e-6), (1e-4, 1e-5), (1e4, 0.1)] as [(Float, Float)] {
      let x = Matrix.random(35, shape.columns, seed: 9, times: factor)
      let found = x.normalized(kind, weight: weight, epsilon: epsilon, width: shape.width)
      let expected = Self.reference(
        kind, x, weight: weight, epsilon: epsilon, width: shape.width ?? shape.columns)
      for (value, exact) in zip(found.values, expected) {
        #expect(abs(Double(value) - exact) <= 4 * RoundingBound.unit * abs(exact) + 1e-12)
      }
    }
  }

  @Test func `a large mean costs the layer norm no accuracy and a constant run becomes zero`() {
    var x = Matrix.random(4, 33, seed: 10)
    for index in x.values.indices { x.values[index] += 1e4 }
    for column in 0..<33 { x[3, column] = 1234.5 }
    let weight = [Float](repeating: 1, count: 33)
    let found = x.normalized(.layer, weight: weight, epsilon: 1e-5)
    let expected = Self.reference(.layer, x, weight: weight, epsilon: 1e-5, width: 33)
    #expect(zip(found.values, expected).allSatisfy { abs(Double($0) - $1) <= 4 * RoundingBound.unit * abs($1) + 1e-12 })
    #expect(found.row(3).allSatisfy { $0 == 0 })
  }

  @Test func `a head's norm is that of the head alone, and the number of threads changes no bit`() {
    let x = Matrix.random(100, 48, seed: 11)
    var generator = SeededGenerator(seed: 12)
    let weight = generator.normals(16)
    for kind in [NormKind.rms, .layer] {
      let all = x.normalized(kind, weight: weight, epsilon: 1e-6, width: 16)
      for head in 0..<3 {
        let columns = head * 16..<(head + 1) * 16
        #expect(
          x.columns(columns).normalized(kind, weight: weight, epsilon: 1e-6).isIdentical(to: all.columns(columns)))
      }
      expectSameForAnyThreadCount { x.normalized(kind, weight: weight, epsilon: 1e-6, width: 16) }
    }
    #expect(
      x.rmsNormalized(weight: x.values.suffix(48), epsilon: 1e-6)
        .isIdentical(to: x.normalized(.rms, weight: x.values.suffix(48), epsilon: 1e-6)))
  }
}
