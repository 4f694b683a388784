internal import Quantization
internal import Tensors

/// The scales of one linear as its file holds them, read for some row groups at a time.
struct StoredScales: Sendable {
  /// A number that all of them are taken with.
  enum Whole: Sendable {
    case none
    /// compressed-tensors stores the reciprocal.
    case divisor(Float)
    case factor(Float)
  }

  /// One element a scale.
  let tensor: Tensor
  let grid: ScaleGrid
  /// Whether the elements are `[columnGroups, rowGroups]`, not `[rowGroups, columnGroups]`.
  let isTransposed: Bool
  let whole: Whole

  init(_ tensor: Tensor, _ grid: ScaleGrid, isTransposed: Bool = false, whole: Whole = .none) {
    self.tensor = tensor.reshaped(to: [grid.count])
    self.grid = grid
    self.isTransposed = isTransposed
    self.whole = whole
  }

  /// The scales of some row groups, `[rowGroups, columnGroups]`.
  func values(_ rows: Range<Int>) -> [Float] {
    var values: [Float]
    if isTransposed {
      values = [Float](repeating: 0, count: rows.count * grid.columnGroups)
      for group in 0..<grid.columnGroups {
        let start = group * grid.rowGroups
        let line = floats(start + rows.lowerBound..<start + rows.upperBound)
        for (row, value) in line.enumerated() { values[row * grid.columnGroups + group] = value }
      }
    } else {
      values = floats(rows.lowerBound * grid.columnGroups..<rows.upperBound * grid.columnGroups)
    }
    switch whole {
    case .none: break
    case .divisor(let divisor): for index in values.indices { values[index] /= divisor }
    case .factor(let factor): for index in values.indices { values[index] *= factor }
    }
    return values
  }

  private func floats(_ range: Range<Int>) -> [Float] {
    let part = tensor.rows(range)
    guard tensor.dtype == .uint8 || tensor.dtype == .float8E8M0 else { return part.floats() }
    // E8M0: 2^(code − 127); code 0 is a subnormal float.
    return part.withBytes { $0.map { Float(bitPattern: $0 == 0 ? 0x40_0000 : UInt32($0) << 23) } }
  }

  /// The narrowest type that holds the scales as they are multiplied with.
  var exactType: DType {
    if case .none = whole {
      switch tensor.dtype {
      case .uint8, .float8E8M0: return .bfloat16
      case let type where type.isFullPrecision: return type
      default: return .float32
      }
    }
    return .float32
  }

  /// What is wrong with the scales of a format, all of which are read.
  ///
  /// Scales of integers may be negative, so that the largest weight of either sign gets the code −2^(b−1), and 0 where a
  /// group's weights are too small for their type. A float8 scale of a group may be 0 for that reason too; all others of
  /// floats are positive.
  func problem(of format: NumberFormat) -> String? {
    let mayBeZero = tensor.dtype == .float8E4M3
    for start in stride(from: 0, to: grid.rowGroups, by: 64) {
      let values = values(start..<min(grid.rowGroups, start + 64))
      if format.isFloat {
        guard values.allSatisfy({ $0.isFinite && ($0 > 0 || mayBeZero && $0 == 0) }) else {
          return "a scale is not positive and finite"
        }
      } else if let odd = values.first(where: { !$0.isFinite }) {
        return "a scale is \(odd), not finite"
      }
    }
    return nil
  }
}
