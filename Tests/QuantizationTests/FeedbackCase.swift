import Kernels
import Quantization
import Tensors
import TestSupport

/// Weights, inputs that go together, and what rounding with feedback should do, in double precision.
struct FeedbackCase {
  let weight: Matrix
  /// The mean of x·xᵀ, `[channels, channels]`; both halves.
  let moments: [Float]
  let shrinkage: Float
  let factor: MomentFactor

  var channels: Int { weight.columns }

  /// Inputs of which each has something of some hidden ones, and channels of many sizes.
  ///
  /// - Parameter dead: channels that are always 0.
  init(rows: Int, channels: Int, tokens: Int = 0, shrinkage: Float = 0.1, dead: Set<Int> = [], seed: UInt64 = 1) {
    var generator = SeededGenerator(seed: seed)
    let tokens = tokens > 0 ? tokens : 2 * channels + 16
    let causes = max(1, channels / 4)
    let mixing = generator.normals(causes * channels)
    let sizes = (0..<channels).map { dead.contains($0) ? 0 : 1 + Float($0 * 7 % 11) / 4 }
    var x = Matrix(rows: tokens, columns: channels, values: generator.normals(tokens * channels))
    for token in 0..<tokens {
      let hidden = generator.normals(causes)
      for channel in 0..<channels {
        var sum = 0.5 * x[token, channel]
        for cause in 0..<causes {
          sum += hidden[cause] * mixing[cause * channels + channel] / Float(causes).squareRoot()
        }
        x[token, channel] = sum * sizes[channel]
      }
    }
    let weight = Matrix(rows: rows, columns: channels, values: generator.normals(rows * channels))
    self.init(weight: weight, moments: Self.moments(x), shrinkage: shrinkage)
  }

  init(weight: Matrix, moments: [Float], shrinkage: Float) {
    self.weight = weight
    self.moments = moments
    self.shrinkage = shrinkage
    guard let factor = MomentFactor(moments, channels: weight.columns, shrinkage: shrinkage) else {
      preconditionFailure("no moments")
    }
    self.factor = factor
  }

  private static func moments(_ x: Matrix) -> [Float] {
    let size = x.columns
    var sum = [Double](repeating: 0, count: size * size)
    for token in 0..<x.rows {
      for row in 0..<size {
        let value = Double(x[token, row]) / Double(x.rows)
        for column in 0...row { sum[row * size + column] += value * Double(x[token, column]) }
      }
    }
    return (0..<size * size).map { index in
      let (row, column) = (index / size, index % size)
      return Float(sum[max(row, column) * size + min(row, column)])
    }
  }

  /// The moments drawn to the diagonal, H′.
  var drawn: [Double] {
    let keep = 1 - Double(shrinkage)
    return moments.enumerated().map { Double($1) * ($0 / channels == $0 % channels ? 1 : keep) }
  }

  /// The expected squared error of each row's output, e·H′·eᵀ.
  func losses(_ values: Matrix) -> [Double] {
    let h = drawn
    return (0..<weight.rows).map { row in
      let error = (0..<channels).map { Double(weight[row, $0]) - Double(values[row, $0]) }
      var sum = 0.0
      for i in 0..<channels {
        var inner = 0.0
        for j in 0..<channels { inner += h[i * channels + j] * error[j] }
        sum += error[i] * inner
      }
      return sum
    }
  }

  /// What GPTQ asks each weight to be rounded from, given what columns before it were rounded to: with U the upper
  /// Cholesky factor of H′⁻¹ in the order of rounding, each error is divided by U_ii and taken from what follows, times
  /// U_ij (Frantar et al., 2023, algorithm 1).
  func targets(_ values: Matrix) -> [[Double]] {
    let order = Array(factor.order.reversed())
    let u = Self.upperFactorOfInverse(drawn, order)
    return (0..<weight.rows).map { row in
      var line = (0..<channels).map { Double(weight[row, order[$0]]) }
      var result = [Double](repeating: 0, count: channels)
      for place in 0..<channels {
        result[order[place]] = line[place]
        let error = (line[place] - Double(values[row, order[place]])) / u[place * channels + place]
        for later in place..<channels { line[later] -= error * u[place * channels + later] }
      }
      return result
    }
  }

  /// U with H⁻¹ = Uᵀ·U, rows and columns in the given order; channels without a moment stand alone.
  private static func upperFactorOfInverse(_ h: [Double], _ order: [Int]) -> [Double] {
    let size = order.count
    var a = [[Double]](repeating: [Double](repeating: 0, count: 2 * size), count: size)
    for row in 0..<size {
      for column in 0..<size { a[row][column] = h[order[row] * size + order[column]] }
      if a[row][row] == 0 { a[row][row] = 1 }
      a[row][size + row] = 1
    }
    // Gauss and Jordan.
    for pivot in 0..<size {
      let scale = 1 / a[pivot][pivot]
      for column in 0..<2 * size { a[pivot][column] *= scale }
      let line = a[pivot]
      for row in 0..<size where row != pivot {
        let factor = a[row][pivot]
        guard factor != 0 else { continue }
        a[row].withUnsafeMutableBufferPointer { target in
          for column in 0..<2 * size { target[column] -= factor * line[column] }
        }
      }
    }
    var lower = [Double](repeating: 0, count: size * size)
    for row in 0..<size {
      for column in 0...row {
        var rest = a[row][size + column]
        for k in 0..<column { rest -= lower[row * size + k] * lower[column * size + k] }
        lower[row * size + column] = row == column ? rest.squareRoot() : rest / lower[column * size + column]
      }
    }
    return (0..<size * size).map { lower[$0 % size * size + $0 / size] }
  }
}

extension QuantizedTensor {
  /// The numbers of the format before zero points and scales.
  var numbers: [Float] {
    switch quantization.format {
    case .int(let bits): (-(1 << (bits - 1))..<(1 << (bits - 1))).map { Float($0) }
    case .float8E4M3: Float8E4M3.decoded.filter { $0.isFinite }
    case .float4E2M1: Float4E2M1.decoded
    }
  }

  /// The index of a weight's scale.
  func cell(_ row: Int, _ column: Int) -> Int {
    row / grid.rowsPerScale * grid.columnGroups + column / grid.columnsPerScale
  }
}
