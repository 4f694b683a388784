import Foundation
import StrictJSON
import Tensors
import TestSupport
import Testing

@testable import Reports

@Suite struct TokenScoresTests {
  /// Both sides sum 211 doubles in different orders; NumPy's own plain formula loses 1e-16 in absolute terms.
  let relative = 1e-9
  let absolute = 1e-14

  private func near(_ a: Double, _ b: Double) -> Bool { abs(a - b) <= relative * abs(b) + absolute }

  @Test func `three logits by hand`() throws {
    // p = (1/2, 1/4, 1/4), q = (1/4, 1/4, 1/2): KL = ½·ln 2 − ¼·ln 2 = ¼·ln 2.
    let half = Float(log(2.0))
    let scores = try TokenScores(
      reference: Matrix(rows: 1, columns: 3, values: [half, 0, 0]),
      candidate: Matrix(rows: 1, columns: 3, values: [5, 5, 5 + half]), targets: [2])
    let score = try #require(scores.positions.first)
    let candidate = try #require(score.candidate)
    let rounding = 1e-7  // ln 2 as a float
    #expect(abs(candidate.divergence - log(2.0) / 4) < rounding)
    #expect(abs(score.referenceLoss - log(4.0)) < rounding)
    #expect(abs(candidate.loss - log(2.0)) < rounding)
    #expect(abs(score.targetProbability - 0.25) < rounding && abs(candidate.targetProbability - 0.5) < rounding)
    #expect(!candidate.agrees)
  }

  @Test func `scores are those of NumPy in float64`() throws {
    let golden = try Golden.json("scores.json")
    let columns = try #require(golden["vocabulary"]?.intValue)
    func matrix(_ name: String) throws -> Matrix {
      let values = try numbers(golden[name]).map { Float($0 / 64) }
      return Matrix(rows: values.count / columns, columns: columns, values: values)
    }
    let targets = try numbers(golden["targets"]).map { Int($0) }
    let scores = try TokenScores(reference: matrix("reference"), candidate: matrix("candidate"), targets: targets)
    let expected = try #require(golden["scores"])
    for (index, score) in scores.positions.enumerated() {
      let candidate = try #require(score.candidate)
      #expect(try near(candidate.divergence, numbers(expected["divergence"])[index]))
      #expect(try near(score.referenceLoss, numbers(expected["referenceLoss"])[index]))
      #expect(try near(candidate.loss, numbers(expected["candidateLoss"])[index]))
      #expect(try candidate.agrees == (numbers(expected["agrees"])[index] == 1))
    }
    let alone = try TokenScores(reference: matrix("reference"), candidate: nil, targets: targets)
    for (one, other) in zip(alone.positions, scores.positions) {
      #expect(one.candidate == nil && one.referenceLoss == other.referenceLoss)
    }
  }

  @Test func `a vocabulary of 151,936 and a divergence near 1e-7 are exact`() throws {
    var generator = SeededGenerator(seed: 5)
    let count = 151_936
    let x = generator.normals(count).map { $0 * 3 }
    let y = x.map { $0 + generator.normal() * 0.0005 }
    func logSum(_ z: [Float]) -> Double { log(z.reduce(0) { $0 + exp(Double($1)) }) }
    // The mean of small differences, free of the cancellation of the plain formula: KL = E[d] + ln E[exp(−d)].
    let sum = logSum(x)
    let weights = x.map { exp(Double($0) - sum) }
    let differences = zip(x, y).map { Double($0) - Double($1) }
    let mean = zip(weights, differences).reduce(0) { $0 + $1.0 * $1.1 }
    let spread = zip(weights, differences).reduce(0) { $0 + $1.0 * expm1(mean - $1.1) }
    let scores = try TokenScores(
      reference: Matrix(rows: 1, columns: count, values: x), candidate: Matrix(rows: 1, columns: count, values: y),
      targets: [17])
    let found = try #require(scores.positions.first)
    let divergence = try #require(found.candidate?.divergence)
    #expect(divergence > 1e-8 && divergence < 1e-6)
    #expect(abs(divergence - log1p(spread)) < 1e-6 * divergence)
    #expect(abs(found.referenceLoss - (sum - Double(x[17]))) < 1e-12 * sum)
  }

  @Test func `a model does not differ from itself`() throws {
    var generator = SeededGenerator(seed: 6)
    let logits = Matrix(rows: 5, columns: 1003, values: generator.normals(5015).map { $0 * 20 })
    let scores = try TokenScores(reference: logits, candidate: logits, targets: [0, 1, 2, 3, 4])
    for score in scores.positions {
      #expect(score.candidate?.divergence == 0 && score.candidate?.agrees == true)
      #expect(score.candidate?.loss == score.referenceLoss)
    }
  }

  @Test func `the lowest of equal indices is the likeliest`() throws {
    let reference = Matrix(rows: 1, columns: 20, values: [Float](repeating: 1, count: 20))
    var values = reference.values
    #expect(try agrees(reference, values))
    values[3] = 2
    values[19] = 2
    #expect(try !agrees(reference, values))
    values[0] = 2
    #expect(try agrees(reference, values))
  }

  private func agrees(_ reference: Matrix, _ values: [Float]) throws -> Bool {
    let candidate = Matrix(rows: 1, columns: values.count, values: values)
    let scores = try TokenScores(reference: reference, candidate: candidate, targets: [0])
    return try #require(scores.positions[0].candidate).agrees
  }

  @Test(arguments: [Float.nan, .infinity])
  func `a candidate that is not finite is infinitely far away, such a reference an error`(_ bad: Float) throws {
    let good = Matrix(rows: 2, columns: 11, values: [Float](repeating: 0.5, count: 22))
    var broken = good
    broken[1, 9] = bad
    let scores = try TokenScores(reference: good, candidate: broken, targets: [0, 0])
    #expect(scores.positions[0].candidate?.divergence == 0)
    #expect(
      scores.positions[1].candidate == TokenScore.Candidate(divergence: .infinity, loss: .infinity, agrees: false))
    #expect(throws: ReportsError.referenceNotFinite(position: 1)) {
      try TokenScores(reference: broken, candidate: good, targets: [0, 0])
    }
    #expect(throws: ReportsError.referenceNotFinite(position: 1)) {
      try TokenScores(reference: broken, candidate: nil, targets: [0, 0])
    }
  }

  @Test func `tokens ruled out by minus infinity keep everything finite`() throws {
    let reference = Matrix(rows: 1, columns: 4, values: [0, 0, -.infinity, -.infinity])
    let candidate = Matrix(rows: 1, columns: 4, values: [0, 0, 0, -.infinity])
    let score = try TokenScores(reference: reference, candidate: candidate, targets: [1]).positions[0]
    let found = try #require(score.candidate)
    #expect(near(found.divergence, log(1.5)) && near(score.referenceLoss, log(2)))
    let reversed = try TokenScores(reference: candidate, candidate: reference, targets: [1]).positions[0]
    #expect((reversed.candidate?.divergence ?? 0) > 200)
    #expect(reversed.candidate?.divergence.isFinite == true)
  }
}

/// The numbers of a JSON array.
func numbers(_ value: JSONValue?) throws -> [Double] {
  try #require(value?.arrayValue).map { try #require($0.doubleValue) }
}
