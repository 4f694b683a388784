internal import Tensors

/// What an adapter adds to a matrix, row by row: W′ = W + L·R, for DoRA with every row or column brought to a length.
///
/// For a linear stored `[outFeatures, inFeatures]` L is s·B and R is A (arXiv:2106.09685); a matrix stored the other way,
/// and an embedding, take the transposes. Rows do not depend on the range in which they are asked for.
struct LowRankUpdate: Sendable {
  /// What DoRA does after the sum (arXiv:2402.09353).
  enum Magnitude: Sendable {
    case none
    /// One length a row.
    case rows([Float])
    /// One factor a column, the length already divided by the norm.
    case columns([Float])
  }

  /// `[rows, rank]`, the scale within.
  let left: Matrix
  /// `[rank, columns]`.
  let right: Matrix
  var magnitude = Magnitude.none

  /// Columns whose rows of R are used while they lie in the nearest cache.
  private static let columnTile = 512

  /// Adds to some rows of the base, row-major.
  func apply(to rows: Range<Int>, _ floats: UnsafeMutableBufferPointer<Float>) {
    guard let base = floats.baseAddress else { return }
    add(rows, to: base)
    let columns = right.columns
    switch magnitude {
    case .none: break
    case .rows(let lengths):
      for (place, row) in rows.enumerated() {
        let values = base + place * columns
        let factor = Float(Double(lengths[row]) / Self.norm(values, columns))
        for column in 0..<columns { values[column] *= factor }
      }
    case .columns(let factors):
      factors.withUnsafeBufferPointer { factors in
        for place in 0..<rows.count {
          let values = base + place * columns
          for column in 0..<columns { values[column] *= factors[column] }
        }
      }
    }
  }

  private func add(_ rows: Range<Int>, to base: UnsafeMutablePointer<Float>) {
    let (rank, columns) = (right.columns == 0 ? 0 : left.columns, right.columns)
    left.values.withUnsafeBufferPointer { left in
      right.values.withUnsafeBufferPointer { right in
        guard rank > 0, let left = left.baseAddress, let right = right.baseAddress else { return }
        withUnsafeTemporaryAllocation(of: Float.self, capacity: Self.columnTile) { sums in
          guard let sums = sums.baseAddress else { return }
          for begin in stride(from: 0, to: columns, by: Self.columnTile) {
            let width = min(Self.columnTile, columns - begin)
            for (place, row) in rows.enumerated() {
              Self.combine(left + row * rank, rank, right + begin, columns, into: sums, width)
              let target = base + place * columns + begin
              for column in 0..<width { target[column] += sums[column] }
            }
          }
        }
      }
    }
  }

  /// The sum of `rank` rows, each times its factor, in their order.
  private static func combine(
    _ factors: UnsafePointer<Float>, _ rank: Int, _ rows: UnsafePointer<Float>, _ stride: Int,
    into sums: UnsafeMutablePointer<Float>, _ width: Int
  ) {
    sums.update(repeating: 0, count: width)
    var index = 0
    // Four rows at a time, so that the sums are loaded and stored a quarter as often.
    while index + 4 <= rank {
      let (a, b, c, d) = (factors[index], factors[index + 1], factors[index + 2], factors[index + 3])
      let first = rows + index * stride
      let (second, third, fourth) = (first + stride, first + 2 * stride, first + 3 * stride)
      for column in 0..<width {
        sums[column] += a * first[column] + b * second[column] + c * third[column] + d * fourth[column]
      }
      index += 4
    }
    while index < rank {
      let (factor, row) = (factors[index], rows + index * stride)
      for column in 0..<width { sums[column] += factor * row[column] }
      index += 1
    }
  }

  private static func norm(_ values: UnsafePointer<Float>, _ count: Int) -> Double {
    var sums = SIMD4<Double>()
    var index = 0
    while index + 4 <= count {
      let four = SIMD4(
        Double(values[index]), Double(values[index + 1]), Double(values[index + 2]), Double(values[index + 3]))
      sums += four * four
      index += 4
    }
    while index < count {
      sums[0] += Double(values[index]) * Double(values[index])
      index += 1
    }
    return sums.sum().squareRoot()
  }

  /// The same update with columns brought to lengths; reads all rows of the base once.
  func withColumnLengths(_ lengths: [Float], of base: WeightRows) -> LowRankUpdate {
    var squares = [Double](repeating: 0, count: right.columns)
    for begin in stride(from: 0, to: base.outFeatures, by: 64) {
      let range = begin..<min(base.outFeatures, begin + 64)
      var part = base.rows(range)
      part.values.withUnsafeMutableBufferPointer { add(range, toRowsIn: $0) }
      for row in 0..<part.rows {
        for column in 0..<part.columns { squares[column] += Double(part[row, column]) * Double(part[row, column]) }
      }
    }
    var result = self
    result.magnitude = .columns(zip(lengths, squares).map { Float(Double($0) / $1.squareRoot()) })
    return result
  }

  private func add(_ rows: Range<Int>, toRowsIn floats: UnsafeMutableBufferPointer<Float>) {
    if let base = floats.baseAddress { add(rows, to: base) }
  }
}
