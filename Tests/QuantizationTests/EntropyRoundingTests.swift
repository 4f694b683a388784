import Kernels
import Quantization
import Tensors
import TestSupport
import Testing

/// Entropy-coded rounding: what a step costs and leaves.
@Suite struct EntropyRoundingTests {
  /// Correlated inputs, two of them loud.
  private static let item = FeedbackCase(rows: 96, channels: 64, seed: 11)

  private static func estimate(_ step: Float, weights: [Float]? = nil) -> EntropyRounding.Estimate {
    EntropyRounding.estimate(
      item.weight, outFeatures: item.weight.rows, factor: item.factor, step: step, rowWeights: weights)
  }

  /// A step that gives about four bits.
  private static func step() throws -> Float {
    var step: Float = 1
    while estimate(step).bitsPerWeight > 4 { step *= 1.25 }
    while estimate(step).bitsPerWeight < 4 { step /= 1.25 }
    return step
  }

  @Test func `half the step is one bit more and a quarter of the error`() throws {
    let step = try Self.step()
    let (coarse, fine) = (Self.estimate(step), Self.estimate(step / 2))
    #expect(abs(fine.bitsPerWeight - coarse.bitsPerWeight - 1) < 0.1, "\(coarse.bitsPerWeight) \(fine.bitsPerWeight)")
    #expect(abs(coarse.loss / fine.loss - 4) < 0.3, "\(coarse.loss) \(fine.loss)")
  }

  @Test func `every column leaves the same error in the output`() throws {
    let step = try Self.step()
    let expected = Double(step * step) / 12 * Double(Self.item.weight.rows * Self.item.weight.columns)
    // Gains are on a grid of a sixteenth of an octave.
    #expect(abs(Self.estimate(step).loss / expected - 1) < 0.1, "\(Self.estimate(step).loss) \(expected)")
  }

  @Test func `codes stand for what the estimate says, and room for further columns is kept to`() throws {
    let step = try Self.step() / 64
    let estimate = Self.estimate(step)
    let rows = WeightRows(Self.item.weight)
    for (bits, needed) in [(8, estimate.splitColumns.bytes), (4, estimate.splitColumns.nibbles)] {
      #expect(needed > 0)
      let roomy = EntropyRounding.rounded(
        rows, factor: Self.item.factor, coding: EntropyCoding(step: step, splitColumns: needed), bits: bits)
      #expect(roomy.splitColumns == needed)
      let tight = EntropyRounding.rounded(
        rows, factor: Self.item.factor, coding: EntropyCoding(step: step, splitColumns: needed / 2), bits: bits)
      #expect(tight.splitColumns <= needed / 2)
      // Coarser, and still near.
      let (near, far) = (roomy.dequantized(), tight.dequantized())
      for (index, value) in Self.item.weight.values.enumerated() {
        #expect(abs(near.values[index] - value) < 0.05 && abs(far.values[index] - value) < 1)
      }
    }
  }

  @Test func `weights that no step reaches are cut off`() throws {
    let large = Matrix(
      rows: Self.item.weight.rows, columns: Self.item.weight.columns,
      values: Self.item.weight.values.map { $0 * 1e9 })
    let tensor = EntropyRounding.rounded(
      WeightRows(large), factor: Self.item.factor, coding: EntropyCoding(step: try Self.step(), splitColumns: 0),
      bits: 8)
    #expect(tensor.splitColumns == 0 && tensor.dequantized().firstNonFinite == nil)
  }

  @Test func `rows that weigh twice as much have half the step`() throws {
    let step = try Self.step()
    let weights = (0..<Self.item.weight.rows).map { Float($0 % 2 == 0 ? 2 : 1) }
    let tensor = EntropyRounding.rounded(
      WeightRows(Self.item.weight), factor: Self.item.factor,
      coding: EntropyCoding(step: step, splitColumns: 64, rowWeights: weights), bits: 8)
    for row in stride(from: 0, to: weights.count, by: 2) { #expect(tensor.scales[row + 1] == 2 * tensor.scales[row]) }
    let (plain, weighed) = (Self.estimate(step), Self.estimate(step, weights: weights))
    #expect(weighed.bitsPerWeight > plain.bitsPerWeight + 0.3)
  }

  @Test(arguments: [1, 3]) func `codes do not depend on the number of threads`(threads: Int) throws {
    let before = Parallel.threads
    defer { Parallel.threads = before }
    let coding = EntropyCoding(step: try Self.step(), splitColumns: 64)
    Parallel.threads = threads
    let one = EntropyRounding.rounded(WeightRows(Self.item.weight), factor: Self.item.factor, coding: coding, bits: 8)
    Parallel.threads = 2
    let other = EntropyRounding.rounded(WeightRows(Self.item.weight), factor: Self.item.factor, coding: coding, bits: 8)
    #expect(one.codes == other.codes && one.scales == other.scales)
  }
}
