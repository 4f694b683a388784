public import Tensors

/// Keys and values of the tokens that one layer has seen of one text.
public final class KeyValueCache {
  private var keys: [Float] = []
  private var values: [Float] = []
  private let columns: Int

  /// Number of tokens held.
  public private(set) var length = 0

  /// An empty cache for `columns = keyValueHeads × headDimension`.
  public init(columns: Int) { self.columns = columns }

  /// Adds tokens: rotated keys and values, both `[tokens, columns]`.
  public func append(keys: Matrix, values: Matrix) {
    self.keys += keys.values
    self.values += values.values
    length += keys.rows
  }

  /// Lends all keys and values.
  public func read<Result>(_ body: (_ keys: Matrix, _ values: Matrix) -> Result) -> Result {
    body(
      Matrix(rows: length, columns: columns, values: keys), Matrix(rows: length, columns: columns, values: values))
  }
}
