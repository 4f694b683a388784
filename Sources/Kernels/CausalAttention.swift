internal import CKernels
internal import COpenBLAS
public import Tensors

/// Causal attention with grouped key-value heads (Ainslie et al., 2023).
///
/// With queries q, keys k and values v of a head, scores are s = scale · q·k, bent to c·tanh(s/c) where there is a
/// softcap c; a query's result is Σ e^s·v / (Σ e^s + e^sink) over the keys it sees, without e^sink where there are no
/// sinks.
public struct CausalAttention: Sendable {
  /// Number of query heads.
  public let heads: Int
  /// Number of key-value heads; query head h reads key-value head ⌊h / (heads / keyValueHeads)⌋.
  public let keyValueHeads: Int
  /// Channels a head of queries and keys.
  public let headDimension: Int
  /// Channels a head of values and results.
  public let valueDimension: Int
  /// Factor of the scores before the softmax.
  public let scale: Float
  /// Number of keys a query sees, itself included; `nil` sees all before it.
  public let window: Int?
  /// Bound of the scores, approached by a hyperbolic tangent (Gemma 2); `nil` leaves them as they are.
  public let softcap: Float?
  /// One logit a query head that takes its share of the softmax and has no value (gpt-oss).
  public let sinks: [Float]?

  private static let queryTile = 128

  /// Attention of these extents; `heads` is a multiple of `keyValueHeads`.
  ///
  /// - Parameters:
  ///   - valueDimension: `nil` for values as wide as keys.
  ///   - scale: positive.
  ///   - softcap: positive.
  ///   - sinks: one a query head.
  public init(
    heads: Int, keyValueHeads: Int, headDimension: Int, valueDimension: Int? = nil, scale: Float, window: Int? = nil,
    softcap: Float? = nil, sinks: [Float]? = nil
  ) {
    precondition(heads % keyValueHeads == 0, "\(heads) heads over \(keyValueHeads) key-value heads")
    precondition(sinks.map { $0.count == heads } ?? true, "\(sinks?.count ?? 0) sinks for \(heads) heads")
    precondition(scale > 0 && softcap.map { $0 > 0 } ?? true, "scale \(scale), softcap \(softcap ?? 0)")
    self.heads = heads
    self.keyValueHeads = keyValueHeads
    self.headDimension = headDimension
    self.valueDimension = valueDimension ?? headDimension
    self.scale = scale
    self.window = window
    self.softcap = softcap
    self.sinks = sinks
  }

  /// Attends within one sequence.
  ///
  /// - Parameters:
  ///   - queries: `[tokens, heads × headDimension]`, the last tokens of the sequence.
  ///   - keys: `[length, keyValueHeads × headDimension]`, of the whole sequence so far.
  ///   - values: `[length, keyValueHeads × valueDimension]`.
  /// - Returns: `[tokens, heads × valueDimension]`.
  public func callAsFunction(queries: Matrix, keys: Matrix, values: Matrix) -> Matrix {
    precondition(
      queries.columns == heads * headDimension && keys.columns == keyValueHeads * headDimension
        && values.columns == keyValueHeads * valueDimension,
      "\(queries.columns), \(keys.columns) and \(values.columns) columns of queries, keys and values")
    precondition(
      queries.rows <= keys.rows && keys.rows == values.rows,
      "\(queries.rows), \(keys.rows) and \(values.rows) rows of queries, keys and values")
    MatrixProduct.singleThreaded
    let past = keys.rows - queries.rows
    let tiles = (queries.rows + Self.queryTile - 1) / Self.queryTile
    return Matrix(rows: queries.rows, columns: heads * valueDimension) { result in
      guard let output = SharedPointer(result) else { return }
      Parallel.forEach(heads * tiles) { task in
        let head = task % heads
        let tile = task / heads
        let rows = tile * Self.queryTile..<min(queries.rows, (tile + 1) * Self.queryTile)
        attend(rows, head: head, past: past, queries: queries, keys: keys, values: values, output: output.base)
      }
    }
  }

  private func attend(
    _ rows: Range<Int>, head: Int, past: Int, queries: Matrix, keys: Matrix, values: Matrix,
    output: UnsafeMutablePointer<Float>
  ) {
    let length = past + rows.upperBound
    let first = window.map { max(0, past + rows.lowerBound - $0 + 1) } ?? 0
    let span = length - first
    let keyWidth = Int32(headDimension)
    let valueWidth = Int32(valueDimension)
    let outputColumns = heads * valueDimension
    let keyValueHead = head / (heads / keyValueHeads)
    withUnsafeTemporaryAllocation(of: Float.self, capacity: rows.count * span) { scores in
      queries.values.withUnsafeBufferPointer { queryBuffer in
        keys.values.withUnsafeBufferPointer { keyBuffer in
          values.values.withUnsafeBufferPointer { valueBuffer in
            guard let scores = scores.baseAddress, let q = queryBuffer.baseAddress, let k = keyBuffer.baseAddress,
              let v = valueBuffer.baseAddress
            else { return }
            let query = q + rows.lowerBound * queries.columns + head * headDimension
            let key = k + first * keys.columns + keyValueHead * headDimension
            let value = v + first * values.columns + keyValueHead * valueDimension
            let target = output + rows.lowerBound * outputColumns + head * valueDimension
            // One row goes to the matrix-vector product: sgemm is four times slower there.
            if rows.count == 1 {
              cblas_sgemv(
                CblasRowMajor, CblasNoTrans, Int32(span), keyWidth, 1, key, Int32(keys.columns), query, 1, 0, scores, 1)
            } else {
              cblas_sgemm(
                CblasRowMajor, CblasNoTrans, CblasTrans, Int32(rows.count), Int32(span), keyWidth, 1, query,
                Int32(queries.columns), key, Int32(keys.columns), 0, scores, Int32(span))
            }
            for row in rows {
              let line = scores + (row - rows.lowerBound) * span
              let end = past + row + 1 - first
              let start = window.map { max(0, end - $0) } ?? 0
              for hidden in 0..<start { line[hidden] = 0 }
              weigh(line + start, count: end - start, head: head)
              for hidden in end..<span { line[hidden] = 0 }
            }
            if rows.count == 1 {
              cblas_sgemv(
                CblasRowMajor, CblasTrans, Int32(span), valueWidth, 1, value, Int32(values.columns), scores, 1, 0,
                target, 1)
            } else {
              cblas_sgemm(
                CblasRowMajor, CblasNoTrans, CblasNoTrans, Int32(rows.count), valueWidth, Int32(span), 1, scores,
                Int32(span), value, Int32(values.columns), 0, target, Int32(outputColumns))
            }
          }
        }
      }
    }
  }

  /// Turns the products of one query with the keys it sees into the weights of their values, in place.
  func weigh(_ products: UnsafeMutablePointer<Float>, count: Int, head: Int) {
    var factor = scale
    if let softcap {
      ck_softcap(products, scale, softcap, count)
      factor = 1
    }
    if let sinks {
      ck_softmax_with_sink(products, factor, sinks[head], count)
    } else {
      ck_softmax(products, factor, count)
    }
  }
}
