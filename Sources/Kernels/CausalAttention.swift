internal import CKernels
internal import COpenBLAS
public import Tensors

/// Causal attention with grouped key-value heads (Ainslie et al., 2023).
public struct CausalAttention: Sendable {
  /// Number of query heads.
  public let heads: Int
  /// Number of key-value heads; query head h reads key-value head ⌊h / (heads / keyValueHeads)⌋.
  public let keyValueHeads: Int
  /// Channels a head.
  public let headDimension: Int
  /// Factor of the scores before the softmax.
  public let scale: Float
  /// Number of keys a query sees, itself included; `nil` sees all before it.
  public let window: Int?

  private static let queryTile = 128

  /// Attention of these extents; `heads` is a multiple of `keyValueHeads`.
  public init(heads: Int, keyValueHeads: Int, headDimension: Int, scale: Float, window: Int? = nil) {
    precondition(heads % keyValueHeads == 0, "\(heads) heads over \(keyValueHeads) key-value heads")
    self.heads = heads
    self.keyValueHeads = keyValueHeads
    self.headDimension = headDimension
    self.scale = scale
    self.window = window
  }

  /// Attends within one sequence.
  ///
  /// - Parameters:
  ///   - queries: `[tokens, heads × headDimension]`, the last tokens of the sequence.
  ///   - keys: `[length, keyValueHeads × headDimension]`, of the whole sequence so far.
  ///   - values: like the keys.
  /// - Returns: `[tokens, heads × headDimension]`.
  public func callAsFunction(queries: Matrix, keys: Matrix, values: Matrix) -> Matrix {
    MatrixProduct.singleThreaded
    let past = keys.rows - queries.rows
    let tiles = (queries.rows + Self.queryTile - 1) / Self.queryTile
    return Matrix(rows: queries.rows, columns: queries.columns) { result in
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
    let width = Int32(headDimension)
    let keyHead = head / (heads / keyValueHeads) * headDimension
    withUnsafeTemporaryAllocation(of: Float.self, capacity: rows.count * span) { scores in
      queries.values.withUnsafeBufferPointer { queryBuffer in
        keys.values.withUnsafeBufferPointer { keyBuffer in
          values.values.withUnsafeBufferPointer { valueBuffer in
            guard let scores = scores.baseAddress, let q = queryBuffer.baseAddress, let k = keyBuffer.baseAddress,
              let v = valueBuffer.baseAddress
            else { return }
            let query = q + rows.lowerBound * queries.columns + head * headDimension
            let key = k + first * keys.columns + keyHead
            let value = v + first * values.columns + keyHead
            let target = output + rows.lowerBound * queries.columns + head * headDimension
            // One row goes to the matrix-vector product: sgemm is four times slower there.
            if rows.count == 1 {
              cblas_sgemv(
                CblasRowMajor, CblasNoTrans, Int32(span), width, 1, key, Int32(keys.columns), query, 1, 0, scores, 1)
            } else {
              cblas_sgemm(
                CblasRowMajor, CblasNoTrans, CblasTrans, Int32(rows.count), Int32(span), width, 1, query,
                Int32(queries.columns), key, Int32(keys.columns), 0, scores, Int32(span))
            }
            for row in rows {
              let line = scores + (row - rows.lowerBound) * span
              let end = past + row + 1 - first
              let start = window.map { max(0, end - $0) } ?? 0
              for hidden in 0..<start { line[hidden] = 0 }
              ck_softmax(line + start, scale, end - start)
              for hidden in end..<span { line[hidden] = 0 }
            }
            if rows.count == 1 {
              cblas_sgemv(
                CblasRowMajor, CblasTrans, Int32(span), width, 1, value, Int32(values.columns), scores, 1, 0, target, 1)
            } else {
              cblas_sgemm(
                CblasRowMajor, CblasNoTrans, CblasNoTrans, Int32(rows.count), width, Int32(span), 1, scores,
                Int32(span),
                value, Int32(values.columns), 0, target, Int32(queries.columns))
            }
          }
        }
      }
    }
  }
}
