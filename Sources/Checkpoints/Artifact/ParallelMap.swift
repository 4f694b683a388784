internal import Kernels

extension Parallel {
  /// The values of a function at `0..<count`, found on all cores, in order.
  static func map<Value: Sendable>(_ count: Int, _ value: @Sendable (Int) -> Value) -> [Value] {
    [Value](unsafeUninitializedCapacity: count) { buffer, initialized in
      nonisolated(unsafe) let places = buffer
      forEach(count) { index in places.initializeElement(at: index, to: value(index)) }
      initialized = count
    }
  }
}
