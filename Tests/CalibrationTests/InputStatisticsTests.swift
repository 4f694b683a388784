import Kernels
import Tensors
import TestSupport
import Testing

@testable import Calibration

@Suite struct InputStatisticsTests {
  /// Sums in double, rounded to float once.
  static let onceRounded = 2 * 0x1p-24
  /// Gram blocks are summed in float, a thousand terms.
  static let gramRounding = 1000 * 0x1p-24

  private static func activations(_ tokens: Int, _ channels: Int, seed: UInt64) -> Matrix {
    var generator = SeededGenerator(seed: seed)
    var x = Matrix(rows: tokens, columns: channels, values: generator.normals(tokens * channels))
    for token in 0..<tokens {
      for channel in 0..<channels {
        x[token, channel] = x[token, channel] * Float(channel % 7 + 1) + Float(channel % 3)
      }
    }
    return x
  }

  /// Weighted moments in double.
  private static func reference(_ x: Matrix, _ weights: [Double], _ value: (Int) -> Double) -> Double {
    (0..<x.rows).reduce(0.0) { $0 + weights[$1] * value($1) } / weights.reduce(0, +)
  }

  private static func weights(_ x: Matrix) -> [Double] {
    let energies = (0..<x.rows).map { x.row($0).reduce(0.0) { $0 + Double($1) * Double($1) } }
    let cap = energies.sorted()[(x.rows - 1) / 2] * InputStatistics.energyCap
    return energies.map { $0 > cap ? cap / $0 : 1 }
  }

  @Test(arguments: [1, 2, 7, 1000])
  func `means, variances, magnitudes and squares agree with double precision`(tokens: Int) {
    let x = Self.activations(tokens, 43, seed: 5)
    var statistics = InputStatistics(channels: 43, groupSize: 0)
    statistics.add(x)
    let weights = Self.weights(x)
    for channel in 0..<43 {
      func mean(_ value: (Double) -> Double) -> Double {
        Self.reference(x, weights) { value(Double(x[$0, channel])) }
      }
      let (average, square) = (mean { $0 }, mean { $0 * $0 })
      #expect(abs(Double(statistics.means[channel]) - average) <= Self.onceRounded * mean(abs))
      #expect(abs(Double(statistics.magnitudes[channel]) - mean(abs)) <= Self.onceRounded * mean(abs))
      #expect(abs(Double(statistics.squares[channel]) - square) <= Self.onceRounded * square)
      let variance = square - average * average
      #expect(abs(Double(statistics.variances[channel]) - variance) <= Self.onceRounded * square)
    }
    #expect(abs(statistics.weight - weights.reduce(0, +)) < 1e-9 * Double(tokens))
    #expect(statistics.maximum == x.values.map(abs).max())
  }

  @Test(arguments: [[64, 32], [86, 32], [32, 32], [20, 1], [20, 7], [512, 512]])
  func `Gram blocks agree with double precision, the ragged last one too`(extents: [Int]) throws {
    let (channels, group) = (extents[0], extents[1])
    let x = Self.activations(100, channels, seed: 6)
    var statistics = InputStatistics(channels: channels, groupSize: group)
    statistics.add(x)
    let weights = Self.weights(x)
    for index in 0..<(channels + group - 1) / group {
      let columns = index * group..<min(channels, (index + 1) * group)
      let block = try #require(statistics.gramBlock(index))
      #expect(block.count == columns.count * columns.count)
      for row in stride(from: 0, to: columns.count, by: 13) {
        for column in stride(from: 0, to: columns.count, by: 11) {
          let (a, b) = (columns.lowerBound + row, columns.lowerBound + column)
          let expected = Self.reference(x, weights) { Double(x[$0, a]) * Double(x[$0, b]) }
          let magnitude = Self.reference(x, weights) { abs(Double(x[$0, a]) * Double(x[$0, b])) }
          let found = Double(block[row * columns.count + column])
          #expect(abs(found - expected) <= Self.gramRounding * magnitude, "block \(index), \(row), \(column)")
        }
      }
    }
  }

  @Test func `parts in any order give the same but for rounding`() throws {
    let parts = (0..<4).map { Self.activations(50, 40, seed: UInt64($0) + 10) }
    var (forward, backward) = (
      InputStatistics(channels: 40, groupSize: 16), InputStatistics(channels: 40, groupSize: 16)
    )
    for part in parts { forward.add(part) }
    for part in parts.reversed() { backward.add(part) }
    for (a, b) in zip(forward.variances + forward.means, backward.variances + backward.means) {
      #expect(abs(a - b) <= Float(Self.onceRounded) * 50)
    }
    for block in 0..<3 {
      let (a, b) = (try #require(forward.gramBlock(block)), try #require(backward.gramBlock(block)))
      #expect(zip(a, b).allSatisfy { abs($0 - $1) <= Float(Self.gramRounding) * 50 })
    }
    #expect(forward.maximum == backward.maximum)
    // In the same order, every bit is the same.
    var again = InputStatistics(channels: 40, groupSize: 16)
    for part in parts { again.add(part) }
    #expect(again.gramBlock(2) == forward.gramBlock(2) && again.variances == forward.variances)
  }

  @Test func `groups that are too wide keep no blocks`() {
    var wide = InputStatistics(channels: 600, groupSize: InputStatistics.widestBlock + 1)
    wide.add(Self.activations(3, 600, seed: 1))
    #expect(wide.groupSize == 0 && wide.gramBlock(0) == nil)
    #expect(wide.variances.count == 600)
  }

  @Test func `no tokens change nothing`() {
    var statistics = InputStatistics(channels: 4, groupSize: 2)
    statistics.add(Matrix(rows: 0, columns: 4))
    #expect(statistics.weight == 0 && statistics.maximum == 0)
    statistics.add(Matrix(rows: 1, columns: 4))
    #expect(statistics.weight == 1 && statistics.means == [0, 0, 0, 0])
  }

  @Test(arguments: [2, 3, 10, 256])
  func `one sink token with a thousand times the norm is weighed down (trap 12)`(tokens: Int) throws {
    let quiet = Self.activations(tokens, 64, seed: 8)
    var loud = quiet
    for channel in 0..<64 { loud[0, channel] *= 1000 }
    var (with, without) = (InputStatistics(channels: 64, groupSize: 32), InputStatistics(channels: 64, groupSize: 32))
    with.add(loud)
    without.add(quiet)
    // The sink's energy counts as sixteen tokens: of each channel's energy no more than that can come from it.
    let (squares, plain) = (with.squares.reduce(0, +), without.squares.reduce(0, +))
    let share = 16 / Float(tokens - 1)
    #expect(squares <= plain * (1 + 2 * share) * 1.6, "\(squares / plain)")
    #expect(with.maximum >= 500, "static activation scales must still cover it")
    let (block, other) = (try #require(with.gramBlock(0)), try #require(without.gramBlock(0)))
    let (trace, plainTrace) = ((0..<32).reduce(0) { $0 + block[$1 * 33] }, (0..<32).reduce(0) { $0 + other[$1 * 33] })
    #expect(trace <= plainTrace * (1 + 2 * share) * 1.6)
  }

  // MARK: Second moments of all pairs

  @Test(arguments: [16, 24, 40])
  func `blocks are the same whether all moments are kept or not`(groupSize: Int) throws {
    var x = Self.activations(90, 40, seed: 9)
    for channel in 0..<40 { x[4, channel] *= 100 }
    var (all, blocks) = (
      InputStatistics(channels: 40, groupSize: groupSize, keepsMoments: true),
      InputStatistics(channels: 40, groupSize: groupSize)
    )
    for part in [0..<30, 30..<90] {
      all.add(x.rows(part))
      blocks.add(x.rows(part))
    }
    for group in 0..<(40 + groupSize - 1) / groupSize {
      let (found, expected) = (try #require(all.gramBlock(group)), try #require(blocks.gramBlock(group)))
      try #require(found.count == expected.count)
      let largest = expected.map(abs).max() ?? 0
      for (found, expected) in zip(found, expected) { #expect(abs(found - expected) <= largest * 1e-5) }
    }
    #expect(all.squares == blocks.squares && all.variances == blocks.variances)
    #expect(blocks.factor(shrinkage: 0.1) == nil)
    #expect(InputStatistics(channels: 40, groupSize: 0, keepsMoments: true).factor(shrinkage: 0.1) == nil)
  }

  @Test func `moments are those of the weighed tokens`() throws {
    var x = Self.activations(120, 24, seed: 10)
    for channel in 0..<24 { x[7, channel] *= 300 }
    var statistics = InputStatistics(channels: 24, groupSize: 24, keepsMoments: true)
    let weights = statistics.add(x)
    #expect(weights[7] < 1e-2 && weights.filter { $0 < 1 }.count == 1 && weights.count == 120)
    let block = try #require(statistics.gramBlock(0))
    for row in 0..<24 {
      for column in 0..<24 {
        let expected = Self.reference(x, weights) { Double(x[$0, row]) * Double(x[$0, column]) }
        #expect(abs(Double(block[row * 24 + column]) - expected) <= 1e-5 * Double(statistics.squares.max() ?? 0))
      }
    }
    let factor = try #require(statistics.factor(shrinkage: 0.1))
    for (deviation, square) in zip(factor.deviations, statistics.squares) {
      #expect(abs(deviation * deviation / square - 1) < 1e-4)
    }
  }

  @Test func `a sink at the start of each text does not decide how channels go together`() throws {
    // A sink says the same in every text, in a few channels, far louder than anything else.
    let quiet = Self.activations(512, 48, seed: 11)
    var loud = quiet
    for token in stride(from: 0, to: 512, by: 64) {
      for channel in 0..<48 { loud[token, channel] = channel % 16 == 5 ? 3000 : 0 }
    }
    var (with, without) = (
      InputStatistics(channels: 48, groupSize: 48, keepsMoments: true),
      InputStatistics(channels: 48, groupSize: 48, keepsMoments: true)
    )
    with.add(loud)
    without.add(quiet)
    let (found, expected) = (try #require(with.gramBlock(0)), try #require(without.gramBlock(0)))
    let trace = (0..<48).reduce(Float(0)) { $0 + expected[$1 * 49] }
    let difference = zip(found, expected).reduce(Float(0)) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }.squareRoot()
    // Eight of 512 tokens count as sixteen each: a quarter of the energy, where unweighed it would be all but all.
    #expect(difference < 0.3 * trace, "\(difference / trace)")
    #expect(with.maximum == 3000)
  }

  // MARK: Halves

  @Test func `the halves of each part are compared`() throws {
    var x = Matrix(rows: 8, columns: 3)
    for row in 0..<8 { for column in 0..<2 { x[row, column] = row % 4 < 2 || column == 0 ? 1 : 2 } }
    var statistics = InputStatistics(channels: 3, groupSize: 0)
    #expect(statistics.halfDifference == nil)
    statistics.add(x.rows(0..<4))
    statistics.add(x.rows(4..<8))
    // One channel is the same in both, one has 1 and 4, one is silent and does not count.
    #expect(abs(try #require(statistics.halfDifference) - (0 + 1.2) / 2) < 1e-12)
    var one = InputStatistics(channels: 3, groupSize: 0)
    one.add(x.rows(0..<1))
    #expect(one.halfDifference == nil, "one token has no halves")
  }

  @Test func `more text of one kind makes the halves alike`() throws {
    let differences = try [64, 1024, 16_384].map { tokens in
      var statistics = InputStatistics(channels: 16, groupSize: 0)
      statistics.add(Self.activations(tokens, 16, seed: 12))
      return try #require(statistics.halfDifference)
    }
    #expect(differences[0] > 2 * differences[1] && differences[1] > 2 * differences[2], "\(differences)")
    #expect(differences[2] < 0.03)
  }
}
