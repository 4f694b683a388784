internal import CKernels
internal import Kernels
public import Tensors

/// How the scales of float weights are chosen.
public struct FloatScaling: Sendable {
  /// What a scale is to achieve.
  public enum Choice: Sendable {
    /// The largest weight becomes the format's largest number, as quantizers have it that look at weights alone.
    case largest
    /// The least squared error among scales around that one, columns counting by their importance (the mean of x² of
    /// their inputs); all alike where there is none.
    case leastError(importance: [Float]?)
  }

  /// What a scale is to achieve.
  public var choice: Choice
  /// The largest magnitude among matrices that must share the divisor of their scales (``ScaleFormat/float8``): runtimes
  /// fuse what reads the same input. `nil` where the matrix has its own.
  public var sharedMaximum: Float?

  /// A choice.
  public init(_ choice: Choice, sharedMaximum: Float? = nil) {
    self.choice = choice
    self.sharedMaximum = sharedMaximum
  }

  /// By the largest weight of each rectangle.
  public static let largest = FloatScaling(.largest)
}

/// The scales of a matrix of floats: chosen before anything is rounded.
public struct FloatScales: Sendable {
  /// What codes are multiplied with, `[rowGroups, columnGroups]`; NaN where weights are not finite.
  public let values: [Float]
  /// The element type they are stored in.
  public let type: DType
  /// What stored scales of float8 are divided by.
  public let divisor: Float?

  /// Chooses the scales of a matrix, which is read twice, some rows at a time.
  ///
  /// What comes out does not depend on the number of threads.
  ///
  /// - Parameter scaleType: element type of ordinary scales: F32, BF16 or F16.
  public init(
    of weight: WeightRows, as quantization: WeightQuantization, scaleType: DType, scaling: FloatScaling = .largest
  ) {
    precondition(quantization.format.isFloat, "scales of floats")
    type = quantization.scaleType(ordinary: scaleType)
    let grid = ScaleGrid(quantization.granularity, outFeatures: weight.outFeatures, inFeatures: weight.inFeatures)
    let maxima = Self.maxima(weight, grid)
    var isSearched = false
    if case .leastError = scaling.choice { isSearched = true }
    if quantization.scales == .float8 {
      let largest = max(scaling.sharedMaximum ?? 0, maxima.reduce(0) { max($0, $1.isFinite ? $1 : 0) })
      // A searched scale may be half as large again as the plain one; the plain one is at most the largest float8.
      let top = Float8E4M3.largest * (isSearched ? 4 : Float4E2M1.largest)
      // By the reciprocal, as the library's: the same bits.
      divisor = largest > 0 ? min(1 / largest * top, 0x1p100) : 1
    } else {
      divisor = nil
    }
    let candidates = ScaleCandidates(quantization, type: type, divisor: divisor, isSearched: isSearched)
    if case .leastError(let importance) = scaling.choice {
      precondition(importance.map { $0.count == weight.inFeatures } ?? true, "an importance for each column")
      values = Self.searched(weight, grid, quantization.format, maxima, candidates, importance)
    } else {
      values = maxima.map { $0.isFinite ? candidates.scales($0)[0] : .nan }
    }
  }

  /// The largest magnitude of a matrix; what is not finite is passed over.
  public static func largestMagnitude(of weight: WeightRows) -> Float {
    let grid = ScaleGrid(.perChannel, outFeatures: weight.outFeatures, inFeatures: weight.inFeatures)
    return maxima(weight, grid).reduce(0) { max($0, $1.isFinite ? $1 : 0) }
  }

  /// Rows that are read at a time.
  private static let rowTile = 16

  /// Tiles of rows that lie within one row of scales: the scale row and the rows of each.
  private static func tiles(_ grid: ScaleGrid, rows: Int) -> [(group: Int, rows: Range<Int>)] {
    let height = grid.rowsPerScale == 1 ? 1 : grid.rowsPerScale
    return stride(from: 0, to: rows, by: height).flatMap { start in
      let end = min(rows, start + height)
      return stride(from: start, to: end, by: rowTile).map { (start / height, $0..<min(end, $0 + rowTile)) }
    }
  }

  /// The largest magnitude of each rectangle; NaN where one is not finite.
  private static func maxima(_ weight: WeightRows, _ grid: ScaleGrid) -> [Float] {
    let (width, groups) = (weight.inFeatures, grid.columnGroups)
    var rowMaxima = [Float](repeating: 0, count: weight.outFeatures * groups)
    rowMaxima.withUnsafeMutableBufferPointer { maxima in
      nonisolated(unsafe) let maxima = maxima
      RoundToNearest.forEachTile(weight) { rows, base in
        for cell in rows.lowerBound * groups..<rows.upperBound * groups {
          let start = cell % groups * grid.columnsPerScale
          let line = base + (cell / groups - rows.lowerBound) * width + start
          let count = min(grid.columnsPerScale, width - start)
          maxima[cell] = ck_first_non_finite(line, count) == count ? ck_largest_magnitude(line, count) : .nan
        }
      }
    }
    guard grid.rowsPerScale > 1 else { return rowMaxima }
    var result = [Float](repeating: 0, count: grid.count)
    for (index, largest) in rowMaxima.enumerated() {
      let cell = index / groups / grid.rowsPerScale * groups + index % groups
      // NaN stays.
      if !(largest <= result[cell]) && !result[cell].isNaN { result[cell] = largest }
    }
    return result
  }

  private static func searched(
    _ weight: WeightRows, _ grid: ScaleGrid, _ format: NumberFormat, _ maxima: [Float], _ candidates: ScaleCandidates,
    _ importance: [Float]?
  ) -> [Float] {
    let (width, groups) = (weight.inFeatures, grid.columnGroups)
    let tried = maxima.map { $0.isFinite ? candidates.scales($0) : [] }
    let count = candidates.count
    let ckFormat = format == .float4E2M1 ? ck_float4_e2m1 : ck_float8_e4m3
    let isOwn = grid.rowsPerScale == 1
    let tiles = isOwn ? [] : Self.tiles(grid, rows: weight.outFeatures)
    var values = maxima.map { $0.isFinite ? Float(1) : .nan }
    /// Errors of one run of a row, for every scale that is tried.
    @Sendable func add(_ line: UnsafePointer<Float>, _ group: Int, _ cell: Int, _ errors: UnsafeMutablePointer<Double>)
    {
      let start = group * grid.columnsPerScale
      let columns = min(grid.columnsPerScale, width - start)
      guard !tried[cell].isEmpty else { return }
      guard let importance else {
        return ck_float_scale_errors(line + start, nil, columns, ckFormat, tried[cell], count, errors)
      }
      importance.withUnsafeBufferPointer { importance in
        ck_float_scale_errors(
          line + start, importance.baseAddress.map { $0 + start }, columns, ckFormat, tried[cell], count, errors)
      }
    }
    /// The first of the best.
    @Sendable func best(_ cell: Int, _ errors: UnsafePointer<Double>) -> Float {
      guard !tried[cell].isEmpty else { return .nan }
      var index = 0
      for candidate in 1..<count where errors[candidate] < errors[index] { index = candidate }
      return tried[cell][index]
    }
    if isOwn {
      values.withUnsafeMutableBufferPointer { values in
        nonisolated(unsafe) let values = values
        RoundToNearest.forEachTile(weight) { rows, base in
          withUnsafeTemporaryAllocation(of: Double.self, capacity: count) { errors in
            guard let sums = errors.baseAddress else { return }
            for cell in rows.lowerBound * groups..<rows.upperBound * groups {
              errors.initialize(repeating: 0)
              add(base + (cell / groups - rows.lowerBound) * width, cell % groups, cell, sums)
              values[cell] = best(cell, sums)
            }
          }
        }
      }
      return values
    }
    // Rows of one scale are many: each tile has sums of its own, which are added in order.
    var partial = [Double](repeating: 0, count: tiles.count * groups * count)
    partial.withUnsafeMutableBufferPointer { partial in
      guard let sums = partial.baseAddress else { return }
      nonisolated(unsafe) let target = sums
      Parallel.forEach(tiles.count) { index in
        let tile = tiles[index]
        withUnsafeTemporaryAllocation(of: Float.self, capacity: tile.rows.count * width) { floats in
          weight.copyRows(tile.rows, to: floats)
          guard let base = floats.baseAddress else { return }
          for row in 0..<tile.rows.count {
            for group in 0..<groups {
              add(base + row * width, group, tile.group * groups + group, target + (index * groups + group) * count)
            }
          }
        }
      }
    }
    var total = [Double](repeating: 0, count: grid.count * count)
    for (index, tile) in tiles.enumerated() {
      for offset in 0..<groups * count {
        total[tile.group * groups * count + offset] += partial[index * groups * count + offset]
      }
    }
    total.withUnsafeBufferPointer { total in
      guard let sums = total.baseAddress else { return }
      for cell in values.indices { values[cell] = best(cell, sums + cell * count) }
    }
    return values
  }
}

/// The scales that are tried for a rectangle, the plain one first.
private struct ScaleCandidates: Sendable {
  let quantization: WeightQuantization
  let type: DType
  let divisor: Float?
  /// Steps from the plain scale: of 1/16 octave, of an octave, or of one float8 code.
  private let steps: [Int]

  init(_ quantization: WeightQuantization, type: DType, divisor: Float?, isSearched: Bool) {
    self.quantization = quantization
    self.type = type
    self.divisor = divisor
    guard isSearched else {
      steps = [0]
      return
    }
    switch (quantization.scales, quantization.format) {
    // A whole octave above: floats repeat themselves there. A little below only the largest weight is lost.
    case (.real, .float8E4M3): steps = Array(0...15) + [-1]
    // float4 gains by clipping, and by the largest weight at 4, where steps are finer.
    case (.real, _): steps = Array(0...12) + Array(-8 ... -1)
    case (.powerOfTwo, _): steps = [0, -1, 1]
    // To 4 in place of 6 it is 5 codes up, and 2 down clip.
    case (.float8, _): steps = Array(0...6) + [-1, -2, -3]
    }
  }

  var count: Int { steps.count }

  /// - Parameter largest: the largest magnitude, finite.
  func scales(_ largest: Float) -> [Float] {
    let top = quantization.format == .float4E2M1 ? Float4E2M1.largest : Float8E4M3.largest
    switch quantization.scales {
    case .real:
      // Rounded up, since a smaller scale would push the largest weights out of range.
      let plain = ck_round_scale_up(largest / top, ck_scale_type(type))
      guard plain > 0 else { return [Float](repeating: 1, count: count) }
      return steps.map { step in
        let scale = step == 0 ? plain : ck_round_scale(plain * Self.octave[step + 16], ck_scale_type(type))
        return scale.isNormal ? scale : plain
      }
    case .powerOfTwo:
      guard largest > 0 else { return [Float](repeating: 1, count: count) }
      // Of float4, magnitudes from 1¾ · 2ⁿ on belong to the next power, below it they are clipped to 1½ · 2ⁿ (as the
      // compressed-tensors library has it); of float8 none is clipped.
      let ratio = largest / top
      let isLarge = quantization.format == .float4E2M1 ? largest.significand >= 1.75 : ratio.significand > 1
      let exponent =
        quantization.format == .float4E2M1
        ? Int(largest.exponent) - 2 + (isLarge ? 1 : 0) : Int(ratio.exponent) + (isLarge ? 1 : 0)
      return steps.map { Float(sign: .plus, exponent: min(127, max(-126, exponent + $0)), significand: 1) }
    case .float8:
      guard let divisor else { preconditionFailure("float8 scales have a divisor") }
      let code = Float8E4M3.codes([largest / top * divisor])[0]
      // Code 0 would be a scale of 0, and 0x7f is NaN.
      return steps.map { Float8E4M3.decoded[min(0x7E, max(1, Int(code) + $0))] / divisor }
    }
  }

  /// 2^(k/16) from k = −16 on.
  private static let octave: [Float] = {
    // ¹⁶√2, by square roots: the same everywhere.
    let root = Double(2).squareRoot().squareRoot().squareRoot().squareRoot()
    var result = [Double](repeating: 0.5, count: 33)
    for index in 1...32 { result[index] = index == 16 ? 1 : index == 32 ? 2 : result[index - 1] * root }
    return result.map { Float($0) }
  }()
}
