import Foundation
import Kernels
import Tensors
import TestSupport
import Testing

@Suite struct GateFunctionTests {
  static let functions: [GateFunction] = [
    .silu, .geluTanh, .gelu, .clampedSwish(limit: 7, alpha: 1.702), .clampedSwish(limit: 0.5, alpha: 1),
  ]

  /// The definition in double precision, and how many times an error of its argument is larger in the result.
  static func reference(_ function: GateFunction, _ z: Double, _ up: Double) -> (value: Double, condition: Double) {
    switch function {
    case .silu: return (z / (1 + exp(-z)) * up, 1 + abs(z))
    case .geluTanh:
      let u = sqrt(2 / Double.pi) * (z + 0.044715 * z * z * z)
      // 1 + tanh(u), without its cancellation.
      return (z / (1 + exp(-2 * u)) * up, 1 + 8 * abs(u))
    case .gelu: return (z / 2 * erfc(-z / 2.0.squareRoot()) * up, 1 + 2 * z * z)
    case .clampedSwish(let limit, let alpha):
      let g = min(z, Double(limit))
      let u = max(-Double(limit), min(up, Double(limit)))
      return ((u + 1) * g / (1 + exp(-Double(alpha) * g)), 1 + abs(Double(alpha) * g))
    }
  }

  @Test(arguments: functions)
  func `gates agree with double precision`(function: GateFunction) {
    for spread: Float in [0.01, 1, 4, 20] {
      let gate = Matrix.random(31, 43, seed: 13, times: spread)
      let up = Matrix.random(31, 43, seed: 14, times: 5)
      let found = gate.gated(with: up, by: function)
      for index in gate.values.indices {
        let (expected, condition) = Self.reference(function, Double(gate.values[index]), Double(up.values[index]))
        // Below 1e-34 the factors may leave the range of normal floats.
        let bound = 8 * RoundingBound.unit * condition * abs(expected) + 1e-34
        #expect(
          abs(Double(found.values[index]) - expected) <= bound,
          "\(function) of \(gate.values[index]) and \(up.values[index]): \(found.values[index]), expected \(expected)")
      }
    }
  }

  @Test func `far from zero a gate is closed or open`() {
    let gate = Matrix(rows: 1, columns: 5, values: [-1000, -100, 0, 100, 1000])
    let up = Matrix(rows: 1, columns: 5, values: [2, 2, 2, 2, 2])
    for function in [GateFunction.silu, .geluTanh, .gelu] {
      let found = gate.gated(with: up, by: function).values
      #expect(abs(found[0]) < 1e-30 && abs(found[1]) < 1e-30 && found[2] == 0, "\(function)")
      #expect(found[3] == 200 && found[4] == 2000, "\(function)")
    }
  }

  @Test func `the clamped swish holds the gate from above and the other branch from both sides`() {
    let gate = Matrix(rows: 1, columns: 4, values: [100, 7, -100, 2])
    let up = Matrix(rows: 1, columns: 4, values: [100, 7, 3, -100])
    let found = gate.gated(with: up, by: .clampedSwish(limit: 7, alpha: 1.702)).values
    #expect(found[0] == found[1])
    #expect(abs(found[2]) < 1e-30)
    #expect(abs(found[3] - -6 * 2 / (1 + exp(-3.404))) < 1e-5)
  }

  @Test func `NaN comes through every gate`() {
    let nan = Matrix(rows: 1, columns: 1, values: [.nan])
    let one = Matrix(rows: 1, columns: 1, values: [1])
    for function in Self.functions {
      #expect(nan.gated(with: one, by: function).values[0].isNaN, "gate of \(function)")
      #expect(one.gated(with: nan, by: function).values[0].isNaN, "other branch of \(function)")
    }
  }

  @Test func `the number of threads changes no bit`() {
    let (gate, up) = (Matrix.random(50, 1001, seed: 15), Matrix.random(50, 1001, seed: 16))
    for function in Self.functions { expectSameForAnyThreadCount { gate.gated(with: up, by: function) } }
  }

  @Test func `alternating columns come apart`() {
    let x = Matrix(rows: 2, columns: 5, values: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    #expect(x.deinterleaved().even == Matrix(rows: 2, columns: 3, values: [0, 2, 4, 5, 7, 9]))
    #expect(x.deinterleaved().odd == Matrix(rows: 2, columns: 2, values: [1, 3, 6, 8]))
    let single = Matrix(rows: 2, columns: 1, values: [3, 4])
    #expect(single.deinterleaved().even == single && single.deinterleaved().odd == Matrix(rows: 2, columns: 0))
    let large = Matrix.random(70, 64, seed: 17)
    expectSameForAnyThreadCount { large.deinterleaved().odd }
  }
}
