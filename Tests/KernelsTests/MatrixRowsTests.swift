import CKernels
import Foundation
import Kernels
import Tensors
import TestSupport
import Testing

@Suite struct MatrixRowsTests {
  @Test func `rows are gathered in the order asked for`() {
    let x = Matrix.random(50, 7, seed: 20)
    let picked = [49, 0, 3, 3, 12] + Array(0..<50)
    let found = x.gathered(rows: picked)
    #expect(found.rows == picked.count && found.columns == 7)
    for (index, row) in picked.enumerated() { #expect(found.row(index).elementsEqual(x.row(row))) }
    #expect(x.gathered(rows: []) == Matrix(rows: 0, columns: 7))
    expectSameForAnyThreadCount { x.gathered(rows: picked) }
  }

  @Test(arguments: [(1, 1, 1), (6, 19, 9), (40, 33, 300), (3, 2050, 5000)])
  func `weighted rows are added in order, a row twice where it is named twice`(
    shape: (rows: Int, columns: Int, terms: Int)
  ) {
    let x = Matrix.random(shape.rows, shape.columns, seed: 21)
    let part = Matrix.random(shape.terms, shape.columns, seed: 22)
    var generator = SeededGenerator(seed: 23)
    let weights = generator.normals(shape.terms)
    let targets = (0..<shape.terms).map { _ in Int.random(in: 0..<shape.rows, using: &generator) }
    var expected = x
    for (index, target) in targets.enumerated() {
      for column in 0..<shape.columns { expected[target, column] += weights[index] * part[index, column] }
    }
    var found = x
    found.addRows(targets, of: part, weights: weights)
    #expect(found.isIdentical(to: expected))
    expectSameForAnyThreadCount {
      var sum = x
      sum.addRows(targets, of: part, weights: weights)
      return sum
    }
  }

  @Test func `adding no rows changes nothing`() {
    let x = Matrix.random(3, 5, seed: 24)
    var sum = x
    sum.addRows([], of: Matrix(rows: 0, columns: 5), weights: [])
    #expect(sum == x)
  }

  @Test(arguments: [(1, 1), (3, 17), (300, 501)])
  func `sums, multiples and added rows are those of single values`(shape: (rows: Int, columns: Int)) {
    let (x, y) = (
      Matrix.random(shape.rows, shape.columns, seed: 25), Matrix.random(shape.rows, shape.columns, seed: 26)
    )
    func changed(_ change: (inout Matrix) -> Void) -> Matrix {
      var matrix = x
      change(&matrix)
      return matrix
    }
    func expected(_ value: (Int) -> Float) -> Matrix {
      Matrix(rows: x.rows, columns: x.columns, values: x.values.indices.map(value))
    }
    #expect(changed { $0 += y }.isIdentical(to: expected { x.values[$0] + y.values[$0] }))
    #expect(changed { $0.add(y, times: -0.3) }.isIdentical(to: expected { x.values[$0] + -0.3 * y.values[$0] }))
    #expect(changed { $0.scale(by: 1.7) }.isIdentical(to: expected { x.values[$0] * 1.7 }))
    let bias = Array(y.row(0))
    #expect(changed { $0.addToRows(bias) }.isIdentical(to: expected { x.values[$0] + bias[$0 % x.columns] }))
    expectSameForAnyThreadCount {
      changed {
        $0.add(y, times: 2)
        $0.scale(by: 0.3)
        $0.softcap(1.5)
      }
    }
  }

  @Test(arguments: [1, 30, 50, 1e-3] as [Float])
  func `softcaps are within four units in the last place and never past the cap`(cap: Float) {
    // Magnitudes from 1e-12 to 1e12 of the cap, both signs, and the seam of the two branches.
    var values = (0...24000).flatMap { step -> [Float] in
      let magnitude = Float(pow(10, Double(step) / 1000 - 12)) * cap
      return [magnitude, -magnitude]
    }
    for step in -500...500 { values.append((0.625 + Float(step) * 0x1p-24) * cap) }
    var found = Matrix(rows: 1, columns: values.count, values: values)
    found.softcap(cap)
    for (value, x) in zip(found.values, values) {
      let expected = Double(cap) * tanh(Double(x) / Double(cap))
      let unit = Double(Float(abs(expected)).ulp)
      guard abs(Double(value) - expected) <= 4 * unit && abs(value) <= cap else {
        Issue.record("softcap of \(x) is \(value), expected \(expected)")
        return
      }
    }
    var special = Matrix(rows: 1, columns: 4, values: [.infinity, -.infinity, .nan, 0])
    special.softcap(cap)
    #expect(special.values[0] == cap && special.values[1] == -cap && special.values[2].isNaN)
    #expect(special.values[3] == 0)
  }
}
