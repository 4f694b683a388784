import Kernels
import Quantization
import Tensors
import TestSupport
import Testing

@testable import Calibration

@Suite(.serialized) struct ClipSearchTests {
  /// Float32 sums: of near equals either may be chosen.
  static let tie = 1e-4

  /// Squared change of a group's own part of the output over all tokens, in double, with the moments between channels
  /// believed as far as the number of tokens allows.
  private static func error(
    _ weight: Matrix, _ restored: Matrix, _ x: Matrix, scales: [Float], row: Int, columns: Range<Int>
  ) -> Double {
    let squares = columns.map { column in
      (0..<x.rows).reduce(0.0) { $0 + Double(x[$1, column] * x[$1, column]) } / Double(x.rows)
    }
    let (kept, own) = ClipSearch.shrunk(squares.map { Float($0) }, tokens: Double(x.rows))
    var total = 0.0
    for token in 0..<x.rows {
      var sum = 0.0
      for column in columns {
        let delta = Double(restored[row, column]) - Double(weight[row, column])
        sum += delta * Double(x[token, column]) / Double(scales[column])
      }
      total += sum * sum
    }
    total *= Double(kept) / Double(x.rows)
    for (index, column) in columns.enumerated() {
      let delta = Double(restored[row, column] - weight[row, column]) / Double(scales[column])
      total += (Double(own[index]) - Double(kept) * squares[index]) * delta * delta
    }
    return total
  }

  @Test(arguments: [true, false], [4, 3])
  func `the factor is the best of every other one and of its neighbours, measured on the activations`(
    isSymmetric: Bool, bits: Int
  ) {
    var generator = SeededGenerator(seed: UInt64(bits))
    let (rows, columns, group, tokens) = (70, 22, 8, 50)
    let quantization = WeightQuantization(.int(bits: bits), .perGroup(size: group), isSymmetric: isSymmetric)
    let weight = Matrix(rows: rows, columns: columns, values: generator.normals(rows * columns))
    var x = Matrix(rows: tokens, columns: columns, values: generator.normals(tokens * columns))
    for token in 0..<tokens { for column in 0..<columns { x[token, column] += Float(column % 2) } }
    let scales = (0..<columns).map { Float($0 % 4 + 1) / 2 }
    var statistics = InputStatistics(channels: columns, groupSize: group)
    statistics.add(x)
    let found = ClipSearch.run(
      WeightRows(weight), as: quantization, scaleType: .bfloat16, statistics: statistics, scales: scales)
    #expect(found.count == rows * 3)
    let candidates = ClipSearch.shrinks.map { shrink in
      RoundToNearest.quantized(
        weight, as: quantization, scaleType: .bfloat16, shrink: [Float](repeating: shrink, count: rows * 3)
      ).dequantized()
    }
    var clipped = 0
    for row in 0..<rows {
      for index in 0..<3 {
        let range = index * group..<min(columns, (index + 1) * group)
        let errors = candidates.map {
          Self.error(weight, $0, x, scales: scales, row: row, columns: range)
        }
        let chosen = ClipSearch.shrinks.firstIndex(of: found[row * 3 + index])
        // Every other factor, and those beside the best of them.
        let coarse = ClipSearch.shrinks.indices.filter { ClipSearch.coarseShrinks.contains(ClipSearch.shrinks[$0]) }
        let nearest = coarse.min { errors[$0] < errors[$1] } ?? 0
        let tried = ClipSearch.shrinks.indices.filter {
          coarse.contains($0) || abs(ClipSearch.shrinks[$0] - ClipSearch.shrinks[nearest]) < 0.03
        }
        let least = tried.map { errors[$0] }.min() ?? 0
        #expect(errors[chosen ?? 0] <= least * (1 + Self.tie) + 1e-12, "row \(row), group \(index)")
        #expect(errors[chosen ?? 0] <= errors[0] * (1 + Self.tie), "never worse than no clipping")
        if chosen != 0 { clipped += 1 }
      }
    }
    #expect(clipped > 20 && clipped < rows * 3, "\(clipped) of \(rows * 3) are clipped: the case shows something")
  }

  @Test(arguments: [1, 2, 4, 16, 64, 1000], [32, 0])
  func `clipping by few tokens does no harm on others (trap 8)`(tokens: Int, blocks: Int) {
    let quantization = WeightQuantization(.int(bits: 4), .perGroup(size: 32), isSymmetric: false)
    var statistics = InputStatistics(channels: 128, groupSize: blocks)
    let seen = LoudLinear(rows: 256, tokens: tokens, loud: [], seed: 6)
    statistics.add(seen.x)
    let shrink = ClipSearch.run(
      WeightRows(seen.weight), as: quantization, scaleType: .bfloat16, statistics: statistics,
      scales: [Float](repeating: 1, count: 128))
    let other = LoudLinear(tokens: 1000, loud: [], seed: 7).x
    let errors = [nil, shrink].map { shrink in
      var change = RoundToNearest.quantized(
        seen.weight, as: quantization, scaleType: .bfloat16, shrink: shrink
      ).dequantized()
      for index in change.values.indices { change.values[index] -= seen.weight.values[index] }
      return MatrixProduct.product(other, transposed: change).values.reduce(0.0) { $0 + Double($1) * Double($1) }
    }
    #expect(errors[1] < errors[0], "\(errors[1] / errors[0])")
  }

  @Test func `moments of many tokens are believed, of few they are drawn together`() {
    let (kept, squares) = ClipSearch.shrunk([1, 3], tokens: 8)
    #expect(kept == 0.2 && squares == [1.5, 2.5])
    let (most, own) = ClipSearch.shrunk([1, 3], tokens: 1e9)
    #expect(most > 0.999999 && abs(own[0] - 1) < 1e-6 && abs(own[1] - 3) < 1e-6)
  }

  @Test func `no clipping is tried first, then factors from 1.05 to 0.6`() {
    #expect(ClipSearch.shrinks[0] == 1 && Set(ClipSearch.shrinks).count == ClipSearch.shrinks.count)
    #expect(ClipSearch.shrinks.allSatisfy { $0 > 0.5 && $0 < 1.06 })
    #expect(abs((ClipSearch.shrinks.last ?? 0) - 0.6) < 1e-6)
  }

  @Test func `a group wider than the widest block is clipped by means and variances`() {
    var generator = SeededGenerator(seed: 4)
    let columns = InputStatistics.widestBlock + 88
    let quantization = WeightQuantization(.int(bits: 4), .perChannel, isSymmetric: false)
    var weight = Matrix(rows: 20, columns: columns, values: generator.normals(20 * columns))
    for row in 0..<20 { weight[row, row] = 9 }
    var x = Matrix(rows: 30, columns: columns, values: generator.normals(30 * columns))
    for index in x.values.indices { x.values[index] += 0.3 }
    var statistics = InputStatistics(channels: columns, groupSize: columns)
    statistics.add(x)
    #expect(statistics.gramBlock(0) == nil)
    let scales = (0..<columns).map { Float($0 % 3 + 1) }
    let found = ClipSearch.run(
      WeightRows(weight), as: quantization, scaleType: .float32, statistics: statistics, scales: scales)
    #expect(found.count == 20)
    let (kept, squares) = ClipSearch.shrunk(statistics.squares, tokens: 30)
    for row in 0..<20 {
      let errors = ClipSearch.shrinks.map { shrink in
        let restored = RoundToNearest.quantized(
          weight.rows(row..<row + 1), as: quantization, scaleType: .float32, shrink: [shrink]
        ).dequantized()
        var (spread, shift) = (0.0, 0.0)
        for column in 0..<columns {
          let delta = Double(restored[0, column] - weight[row, column]) / Double(scales[column])
          let mean = Double(statistics.means[column])
          spread += (Double(squares[column]) - Double(kept) * mean * mean) * delta * delta
          shift += mean * delta
        }
        return spread + Double(kept) * shift * shift
      }
      let chosen = ClipSearch.shrinks.firstIndex(of: found[row]) ?? 0
      #expect(errors[chosen] <= (errors.min() ?? 0) * (1 + Self.tie), "row \(row)")
    }
    #expect(found.contains { $0 < 1 })
  }

  @Test func `statistics of another group size fall back to means and variances`() {
    let linear = LoudLinear(tokens: 300, groupSize: 64)
    let quantization = WeightQuantization(.int(bits: 4), .perGroup(size: 32))
    let ones = [Float](repeating: 1, count: 128)
    let found = ClipSearch.run(
      WeightRows(linear.weight), as: quantization, scaleType: .bfloat16, statistics: linear.statistics, scales: ones)
    var none = InputStatistics(channels: 128, groupSize: 0)
    none.add(linear.x)
    let same = ClipSearch.run(
      WeightRows(linear.weight), as: quantization, scaleType: .bfloat16, statistics: none, scales: ones)
    #expect(found == same && found.contains { $0 < 1 })
  }

  @Test func `float weights are not clipped`() {
    let linear = LoudLinear(tokens: 10)
    let found = ClipSearch.run(
      WeightRows(linear.weight), as: WeightQuantization(.float8E4M3, .perChannel), scaleType: .float32,
      statistics: linear.statistics, scales: [Float](repeating: 1, count: 128))
    #expect(found.isEmpty)
  }

  @Test func `the result does not depend on threads`() {
    let linear = LoudLinear(rows: 200, tokens: 300)
    let quantization = WeightQuantization(.int(bits: 4), .perGroup(size: 32), isSymmetric: false)
    let threads = Parallel.threads
    defer { Parallel.threads = threads }
    let results = [1, 2, 5].map { count in
      Parallel.threads = count
      return ClipSearch.run(
        WeightRows(linear.weight), as: quantization, scaleType: .bfloat16, statistics: linear.statistics,
        scales: [Float](repeating: 1, count: 128))
    }
    #expect(Set(results).count == 1)
  }
}
