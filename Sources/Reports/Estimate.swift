/// A number measured on a sample of text, with bounds that hold the true one 95 times in 100.
public struct Estimate: Sendable, Equatable {
  /// The value over all tokens that were scored.
  public var value: Double
  /// The lower 95 % bound; `nil` where there is none, as with fewer than two windows.
  public var low: Double?
  /// The upper 95 % bound; `nil` where there is none.
  public var high: Double?

  /// A value and, where known, its bounds.
  public init(_ value: Double, low: Double? = nil, high: Double? = nil) {
    self.value = value
    self.low = low
    self.high = high
  }
}
