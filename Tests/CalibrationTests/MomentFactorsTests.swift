import Kernels
import Quantization
import Tensors
import TestSupport
import Testing

@testable import Calibration

/// How far moments are trusted.
@Suite struct MomentFactorsTests {
  /// Inputs of which neighbours go together by `share`, which may be negative.
  private static func inputs(_ tokens: Int, _ channels: Int, share: Float, seed: UInt64) -> Matrix {
    var generator = SeededGenerator(seed: seed)
    var x = Matrix(rows: tokens, columns: channels, values: generator.normals(tokens * channels))
    for token in 0..<tokens {
      for channel in stride(from: 1, to: channels, by: 2) {
        x[token, channel] = 0.4 * x[token, channel] + share * x[token, channel - 1]
      }
    }
    return x
  }

  private static func statistics(_ x: Matrix) -> InputStatistics {
    var result = InputStatistics(channels: x.columns, groupSize: 0, keepsMoments: true)
    result.add(x)
    return result
  }

  private static let weight: PreparedWeight = {
    var generator = SeededGenerator(seed: 5)
    return PreparedWeight(
      WeightRows(Matrix(rows: 80, columns: 64, values: generator.normals(80 * 64))),
      scheme: QuantizationScheme.w4a16.withGroupSize(32), storedType: .bfloat16)
  }()

  private static func choice(_ search: Matrix, heldOut: Matrix?) -> MomentFactors.Choice? {
    MomentFactors().choice("input", statistics(search), heldOut: heldOut, weight: weight)
  }

  @Test func `what held-out tokens confirm is used`() throws {
    let found = try #require(
      Self.choice(
        Self.inputs(2000, 64, share: 0.9, seed: 1), heldOut: Self.inputs(200, 64, share: 0.9, seed: 2)))
    #expect(found.shrinkage == 0.03, "\(found.shrinkage)")
    let few = Self.inputs(40, 64, share: 0.9, seed: 1)
    let careful = try #require(Self.choice(few, heldOut: Self.inputs(200, 64, share: 0.9, seed: 2)))
    #expect(careful.shrinkage > 0.03, "few tokens say less")
  }

  @Test func `what held-out tokens deny is not used`() {
    let found = Self.choice(
      Self.inputs(2000, 64, share: 0.9, seed: 1), heldOut: Self.inputs(200, 64, share: -0.9, seed: 2))
    #expect(found == nil)
  }

  @Test(arguments: [33, 40])
  func `where much trust does harm, less may do good`(tokens: Int) throws {
    // Half a token a channel.
    let found = Self.choice(
      Self.inputs(tokens, 64, share: 0.6, seed: 1), heldOut: Self.inputs(400, 64, share: 0.6, seed: 2))
    #expect(try #require(found).shrinkage == 0.3)
    // And where channels have little to do with each other, even that is too much.
    let chance = Self.choice(
      Self.inputs(tokens, 64, share: 0.2, seed: 1), heldOut: Self.inputs(400, 64, share: 0.2, seed: 2))
    #expect(chance == nil)
  }

  @Test func `without held-out tokens the middle is trusted`() throws {
    let search = Self.inputs(300, 64, share: 0.9, seed: 1)
    for heldOut in [nil, Self.inputs(31, 64, share: 0.9, seed: 2)] {
      #expect(try #require(Self.choice(search, heldOut: heldOut)).shrinkage == 0.1)
    }
  }

  @Test func `what was found is found once, and no moments give none`() {
    let factors = MomentFactors()
    let good = Self.statistics(Self.inputs(300, 64, share: 0.9, seed: 1))
    let none = InputStatistics(channels: 64, groupSize: 32)
    #expect(factors.choice("a", good, heldOut: nil, weight: Self.weight) != nil)
    #expect(factors.choice("a", none, heldOut: nil, weight: Self.weight) != nil)
    #expect(factors.choice("b", none, heldOut: nil, weight: Self.weight) == nil)
    #expect(factors.choice("b", good, heldOut: nil, weight: Self.weight) == nil)
    #expect(factors.choice("a", none, heldOut: nil, weight: Self.weight)?.shrinkage == 0.1)
  }
}
