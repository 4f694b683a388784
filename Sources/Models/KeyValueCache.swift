public import Tensors

/// Keys and values of the tokens that one layer has seen of one text.
public final class KeyValueCache {
  private var keys: [Float] = []
  private var values: [Float] = []

  /// Number of tokens held.
  public private(set) var length = 0

  /// An empty cache.
  public init() {}

  /// Adds tokens: rotated keys, `[tokens, key columns]`, and values, `[tokens, value columns]`.
  public func append(keys: Matrix, values: Matrix) {
    self.keys += keys.values
    self.values += values.values
    length += keys.rows
  }

  /// Lends all keys and values.
  public func read<Result>(_ body: (_ keys: Matrix, _ values: Matrix) -> Result) -> Result {
    let rows = max(1, length)
    return body(
      Matrix(rows: length, columns: keys.count / rows, values: keys),
      Matrix(rows: length, columns: values.count / rows, values: values))
  }
}
