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
  /// The largest magnitude among matrices that must share the divisor of their float8 scales; `nil` for a matrix's own.
  ///
  /// Runtimes fuse what reads the same input.
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
      // A shared one holds even where the matrix exceeds it: the divisors must be the same.
      let largest = scaling.sharedMaximum ?? maxima.reduce(0) { max($0, $1.isFinite ? $1 : 0) }
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
