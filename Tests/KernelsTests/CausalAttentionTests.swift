import CKernels
import Foundation
import Kernels
import Tensors
import TestSupport
import Testing

@Suite struct CausalAttentionTests {
  /// Shapes and options of one comparison with plain loops.
  struct Case: Sendable, CustomTestStringConvertible {
    var heads = 4
    var keyValueHeads = 2
    var width = 5
    var valueWidth: Int?
    var tokens = 9
    var past = 0
    var window: Int?
    var softcap: Float?
    var sinks: [Float]?
    /// Spread of queries and keys.
    var spread: Float = 1

    var testDescription: String {
      "\(heads)/\(keyValueHeads) heads of \(width) and \(valueWidth ?? width), \(past) + \(tokens) tokens, "
        + "window \(window ?? 0), softcap \(softcap ?? 0), sinks \(sinks ?? []), spread \(spread)"
    }

    var attention: CausalAttention {
      CausalAttention(
        heads: heads, keyValueHeads: keyValueHeads, headDimension: width, valueDimension: valueWidth,
        scale: 1 / Float(width).squareRoot(), window: window, softcap: softcap, sinks: sinks)
    }

    var queries: Matrix { .random(tokens, heads * width, seed: 1, times: spread) }
    var keys: Matrix { .random(past + tokens, keyValueHeads * width, seed: 2, times: spread) }
    var values: Matrix { .random(past + tokens, keyValueHeads * (valueWidth ?? width), seed: 3) }
  }

  static let cases: [Case] = [
    Case(), Case(heads: 1, keyValueHeads: 1, width: 1, tokens: 1), Case(heads: 6, keyValueHeads: 6, width: 16),
    Case(heads: 6, keyValueHeads: 1, width: 17, tokens: 131), Case(tokens: 1, past: 40), Case(tokens: 3, past: 40),
    Case(tokens: 300, window: 1), Case(tokens: 300, window: 7), Case(tokens: 129, past: 5, window: 128),
    Case(tokens: 1, past: 40, window: 6), Case(tokens: 20, window: 100),
    Case(heads: 3, keyValueHeads: 3, width: 24, valueWidth: 16, tokens: 133),
    Case(heads: 4, keyValueHeads: 2, width: 3, valueWidth: 7, tokens: 10),
    Case(heads: 4, keyValueHeads: 2, width: 24, valueWidth: 16, tokens: 1, past: 30),
    Case(softcap: 0.5), Case(tokens: 140, window: 17, softcap: 50, spread: 6), Case(tokens: 1, past: 33, softcap: 2),
    Case(sinks: [0.5, -1, 2, 4]), Case(tokens: 140, window: 4, sinks: [0, 3, -3, 30]),
    Case(tokens: 1, past: 18, sinks: [9, -9, 0, 1]),
    Case(
      width: 12, valueWidth: 9, tokens: 135, past: 3, window: 31, softcap: 3, sinks: [1, -1, 2, 0.25], spread: 2),
  ]

  /// The result of the definition in double precision, and a bound of what float rounding may add to each value.
  static func reference(_ test: Case) -> (result: [Double], bound: [Double]) {
    let (queries, keys, values) = (test.queries, test.keys, test.values)
    let valueWidth = test.valueWidth ?? test.width
    let scale = Double(test.attention.scale)
    let unit = RoundingBound.unit
    var (result, bound) = ([Double](), [Double]())
    for token in 0..<test.tokens {
      let position = test.past + token
      for head in 0..<test.heads {
        let group = head / (test.heads / test.keyValueHeads)
        let seen = (0...position).filter { position - $0 < test.window ?? Int.max }
        var (scores, magnitude) = ([Double](), 0.0)
        for key in seen {
          let products = (0..<test.width).map {
            Double(queries[token, head * test.width + $0]) * Double(keys[key, group * test.width + $0])
          }
          let score = scale * products.reduce(0, +)
          scores.append(test.softcap.map { Double($0) * tanh(score / Double($0)) } ?? score)
          magnitude = max(magnitude, scale * products.reduce(0) { $0 + abs($1) })
        }
        let sink = test.sinks.map { Double($0[head]) }
        let top = max(scores.max() ?? 0, sink ?? -.infinity)
        let weights = scores.map { exp($0 - top) }
        let total = weights.reduce(0, +) + (sink.map { exp($0 - top) } ?? 0)
        // A score errs by its products and their sum, and by its roundings on the way to the exponential.
        let score = (Double(test.width + 12) * magnitude + 2 * abs(sink ?? 0)) * unit
        let relative = 2 * score + Double(seen.count + 16) * unit
        for channel in 0..<valueWidth {
          var (sum, size) = (0.0, 0.0)
          for (key, weight) in zip(seen, weights) {
            let term = weight / total * Double(values[key, group * valueWidth + channel])
            sum += term
            size += abs(term)
          }
          result.append(sum)
          bound.append(relative * size + 1e-30)
        }
      }
    }
    return (result, bound)
  }

  @Test(arguments: cases)
  func `attention agrees with double precision`(test: Case) {
    let found = test.attention(queries: test.queries, keys: test.keys, values: test.values)
    let (expected, bound) = Self.reference(test)
    #expect(found.rows == test.tokens && found.columns == test.heads * (test.valueWidth ?? test.width))
    for (index, value) in found.values.enumerated() where abs(Double(value) - expected[index]) > bound[index] {
      Issue.record("value \(index): \(value), expected \(expected[index]) ± \(bound[index])")
      return
    }
  }

  @Test func `the number of threads changes no bit`() {
    for test in [Self.cases[8], Self.cases[Self.cases.count - 1]] {
      expectSameForAnyThreadCount { test.attention(queries: test.queries, keys: test.keys, values: test.values) }
    }
  }

  @Test func `a query that sees itself alone returns its value`() {
    var test = Case(tokens: 260, window: 1, spread: 100)
    let values = test.values
    let repeated = Matrix(
      rows: 260, columns: 20,
      values: (0..<260).flatMap { row in
        (0..<4).flatMap { head in values.row(row).dropFirst(head / 2 * 5).prefix(5) }
      })
    #expect(test.attention(queries: test.queries, keys: test.keys, values: values) == repeated)
    test.softcap = 2
    #expect(test.attention(queries: test.queries, keys: test.keys, values: values) == repeated)
  }

  @Test func `huge scores choose one key without overflow`() {
    // Key 1 is the best by 2e12, so it takes all the weight; after a softcap all keys count alike.
    let keys = Matrix(rows: 3, columns: 2, values: [1e6, 0, 3e6, 0, -5e6, 0])
    let query = Matrix(rows: 1, columns: 2, values: [1e6, 0])
    let values = Matrix(rows: 3, columns: 2, values: [1, 2, 3, 4, 5, 6])
    func attend(_ softcap: Float?, _ sinks: [Float]?) -> [Float] {
      CausalAttention(heads: 1, keyValueHeads: 1, headDimension: 2, scale: 1, softcap: softcap, sinks: sinks)(
        queries: query, keys: keys, values: values
      ).values
    }
    #expect(attend(nil, nil) == [3, 4])
    #expect(attend(nil, [1e30]) == [0, 0])
    #expect(attend(nil, [3e12 / 2]) == [3, 4])
    // Two keys at the cap and one at minus the cap.
    let low = 1 / (2 * exp(2.0) + 1)
    let capped = attend(1, nil).map { Double($0) }
    let expected = [(1 - low) / 2 * 4 + low * 5, (1 - low) / 2 * 6 + low * 6]
    #expect(zip(capped, expected).allSatisfy { abs($0 - $1) < 1e-6 })
  }

  @Test func `a sink far below the scores changes no bit and far above leaves nothing`() {
    var test = Case(tokens: 30)
    let without = test.attention(queries: test.queries, keys: test.keys, values: test.values)
    test.sinks = [-1e30, -.infinity, -200, -.greatestFiniteMagnitude]
    #expect(test.attention(queries: test.queries, keys: test.keys, values: test.values).isIdentical(to: without))
    test.sinks = [1e30, 200, .greatestFiniteMagnitude, 1e10]
    let above = test.attention(queries: test.queries, keys: test.keys, values: test.values)
    #expect(above.values.allSatisfy { $0 == 0 })
  }

  @Test func `a softmax with a sink keeps the relative accuracy of small weights`() {
    for sink: Float in [-80, -3, 0, 0.5, 40, 80] {
      for count in [1, 15, 16, 17, 50] {
        var x = (0..<count).map { Float($0 % 7) * 0.25 }
        let scaled = x.map { Double($0) * 0.5 }
        ck_softmax_with_sink(&x, 0.5, sink, count)
        let total = scaled.reduce(exp(Double(sink))) { $0 + exp($1) }
        for (found, score) in zip(x, scaled) {
          let expected = exp(score) / total
          #expect(abs(Double(found) - expected) <= 100 * RoundingBound.unit * expected, "sink \(sink), \(count) scores")
        }
      }
    }
  }
}
