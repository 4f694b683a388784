internal import CKernels
public import Tensors

/// Keys and values of the tokens that one layer has seen of one text.
///
/// Four bytes a number, whatever they were rounded to: a token takes 4 × (key columns + value columns) bytes.
public final class KeyValueCache {
  /// Blocks of `CachedAttention.h`, one after the other.
  private var keys: [Float] = []
  /// Row-major.
  private var values: [Float] = []
  private var keyColumns = 0
  private var valueColumns = 0

  /// Number of tokens held.
  public private(set) var length = 0

  /// An empty cache.
  public init() {}

  /// Adds tokens: rotated keys, `[tokens, key columns]`, and values, `[tokens, value columns]`.
  ///
  /// - Parameter range: the rows that are added; `nil` adds all.
  public func append(keys added: Matrix, values: Matrix, rows range: Range<Int>? = nil) {
    precondition(added.rows == values.rows, "\(added.rows) keys and \(values.rows) values")
    precondition(
      length == 0 || (added.columns == keyColumns && values.columns == valueColumns),
      "\(added.columns) and \(values.columns) columns after \(keyColumns) and \(valueColumns)")
    let range = range ?? 0..<added.rows
    (keyColumns, valueColumns) = (added.columns, values.columns)
    self.values += values.values[range.lowerBound * valueColumns..<range.upperBound * valueColumns]
    let (columns, block) = (keyColumns, Int(ck_key_block))
    let wanted = (length + range.count + block - 1) / block * block * columns
    if wanted > keys.count { keys += repeatElement(0, count: wanted - keys.count) }
    keys.withUnsafeMutableBufferPointer { keys in
      added.values.withUnsafeBufferPointer { added in
        guard let target = keys.baseAddress, let source = added.baseAddress else { return }
        for (index, row) in range.enumerated() {
          let token = length + index
          ck_place_keys(source + row * columns, columns, token % block, target + token / block * block * columns)
        }
      }
    }
    length += range.count
  }

  /// All keys and values, `[length, columns]`.
  public func matrices() -> (keys: Matrix, values: Matrix) {
    let (columns, block) = (keyColumns, Int(ck_key_block))
    let keys = Matrix(rows: length, columns: columns) { buffer in
      for token in 0..<length {
        let start = token / block * block * columns + token % block
        for column in 0..<columns { buffer[token * columns + column] = self.keys[start + column * block] }
      }
    }
    return (keys, Matrix(rows: length, columns: valueColumns, values: values))
  }

  fileprivate func read(_ body: (_ keys: UnsafePointer<Float>, _ values: UnsafePointer<Float>) -> Void) {
    keys.withUnsafeBufferPointer { keys in
      values.withUnsafeBufferPointer { values in
        guard let keys = keys.baseAddress, let values = values.baseAddress else { return }
        body(keys, values)
      }
    }
  }

  fileprivate var columns: (keys: Int, values: Int) { (keyColumns, valueColumns) }
}

extension CausalAttention {
  /// Query heads of a task; they share what they read.
  private static let headsPerTask = 4
  /// Multiply-adds that another thread is worth.
  private static let leastWork = 1 << 17

  /// Attends with one query of each text, that of the token added last.
  ///
  /// A query's result depends on its own text alone, in every bit, whatever the number of texts and threads; it is
  /// rounded differently from ``callAsFunction(queries:keys:values:)``.
  ///
  /// - Parameters:
  ///   - queries: `[texts, heads × headDimension]`.
  ///   - caches: one a query.
  /// - Returns: `[texts, heads × valueDimension]`.
  public func callAsFunction(queries: Matrix, caches: [KeyValueCache]) -> Matrix {
    attend(queries, caches, InstructionSet.current.kernels)
  }

  /// ``callAsFunction(queries:caches:)`` by given kernels.
  func attend(_ queries: Matrix, _ caches: [KeyValueCache], _ kernels: ck_kernels) -> Matrix {
    precondition(
      queries.rows == caches.count && queries.columns == heads * headDimension,
      "\(queries.rows) × \(queries.columns) queries for \(caches.count) texts")
    for cache in caches {
      let columns = cache.columns
      precondition(
        cache.length > 0 && columns.keys == keyValueHeads * headDimension
          && columns.values == keyValueHeads * valueDimension,
        "\(columns.keys) and \(columns.values) columns of \(cache.length) keys and values")
    }
    let sharing = heads / keyValueHeads
    let tasksPerHead = (sharing + Self.headsPerTask - 1) / Self.headsPerTask
    let tasksPerText = keyValueHeads * tasksPerHead
    let (queryWidth, resultWidth) = (heads * headDimension, heads * valueDimension)
    return Matrix(rows: queries.rows, columns: resultWidth) { result in
      queries.values.withUnsafeBufferPointer { queries in
        guard let queries = queries.baseAddress, let target = result.baseAddress else { return }
        nonisolated(unsafe) let (q, y, caches) = (queries, target, caches)
        let task: @Sendable (Int) -> Void = { task in
          let (text, part) = (task / tasksPerText, task % tasksPerText)
          let keyHead = part / tasksPerHead
          let first = keyHead * sharing + part % tasksPerHead * Self.headsPerTask
          let range = first..<min((keyHead + 1) * sharing, first + Self.headsPerTask)
          let cache = caches[text]
          cache.read { k, v in
            attend(
              range, keyHead, cache.length, q + text * queryWidth, k, cache.columns.keys, v, cache.columns.values,
              y + text * resultWidth, kernels)
          }
        }
        let tasks = caches.count * tasksPerText
        let length = caches.reduce(0) { $0 + $1.length }
        if length * heads * (headDimension + valueDimension) < Self.leastWork {
          for index in 0..<tasks { task(index) }
        } else {
          Parallel.forEach(tasks, task)
        }
      }
    }
  }

  /// Some heads that read the same keys and values.
  private func attend(
    _ range: Range<Int>, _ keyHead: Int, _ length: Int, _ query: UnsafePointer<Float>, _ keys: UnsafePointer<Float>,
    _ keyColumns: Int, _ values: UnsafePointer<Float>, _ valueColumns: Int, _ result: UnsafeMutablePointer<Float>,
    _ kernels: ck_kernels
  ) {
    let block = Int(ck_key_block)
    let first = window.map { max(0, length - $0) } ?? 0
    let blocks = (length + block - 1) / block
    let stride = blocks * block
    withUnsafeTemporaryAllocation(of: Float.self, capacity: range.count * stride) { scores in
      guard let scores = scores.baseAddress else { return }
      kernels.key_products(
        keys + keyHead * headDimension * block, keyColumns * block, headDimension, first / block, blocks,
        query + range.lowerBound * headDimension, range.count, scores, stride)
      for head in range {
        weigh(scores + (head - range.lowerBound) * stride + first, count: length - first, head: head)
      }
      kernels.value_sums(
        values + first * valueColumns + keyHead * valueDimension, valueColumns, valueDimension, length - first,
        scores + first, stride, range.count, result + range.lowerBound * valueDimension)
    }
  }
}
