internal import Synchronization
internal import Tensors

/// The largest magnitudes of the keys and values that attention has seen: for the scales of a cache.
public final class CacheMaxima: Sendable {
  private let seen = Mutex<(keys: Float, values: [Float])>((0, []))

  /// Nothing seen.
  public init() {}

  /// The largest |k| of any channel after the rotary embedding.
  public var keys: Float { seen.withLock { $0.keys } }

  /// The largest |v| of each channel: folding divides channels by factors of their own.
  public var values: [Float] { seen.withLock { $0.values } }

  func add(keys: Matrix, values: Matrix) {
    var largest = [Float](repeating: 0, count: values.columns)
    values.values.withUnsafeBufferPointer { numbers in
      for row in 0..<values.rows {
        for column in 0..<values.columns {
          largest[column] = max(largest[column], abs(numbers[row * values.columns + column]))
        }
      }
    }
    let key = keys.values.reduce(Float(0)) { max($0, abs($1)) }
    seen.withLock { seen in
      seen.keys = max(seen.keys, key)
      seen.values = seen.values.isEmpty ? largest : zip(seen.values, largest).map { max($0, $1) }
    }
  }
}
