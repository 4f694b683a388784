/// Which rows of a matrix of hidden states belong to which text; a text never sees another.
public struct Sequences: Sendable {
  /// Rows of each text, in order, without gaps.
  public let ranges: [Range<Int>]

  /// Texts of these lengths, one after the other.
  public init(lengths: [Int]) {
    var start = 0
    ranges = lengths.map { length in
      defer { start += length }
      return start..<start + length
    }
  }

  /// Windows put together so that a layer has enough rows to work on, and at most `rows` unless one is longer.
  public static func chunks(_ windows: [[Int]], rows limit: Int = chunkRows) -> [[[Int]]] {
    var result: [[[Int]]] = []
    var rows = 0
    for window in windows {
      if result.isEmpty || rows + window.count > limit {
        result.append([])
        rows = 0
      }
      result[result.count - 1].append(window)
      rows += window.count
    }
    return result
  }

  /// Rows that move through a layer together.
  public static let chunkRows = 2048

  /// Number of rows.
  public var rowCount: Int { ranges.last?.upperBound ?? 0 }

  /// The length of the longest text.
  public var longest: Int { ranges.map(\.count).max() ?? 0 }
}
