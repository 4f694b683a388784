/// Integers of any size as digits of 8 or 4 bits: z = Σ digit[i] · base^i, each digit in −base/2 … base/2 − 1.
///
/// A column of integers that one signed byte (or half a byte) cannot hold becomes several columns of codes.
public struct CodeDigits: Hashable, Sendable {
  /// Bits of a digit.
  public let bits: Int

  /// Digits of 8 or 4 bits.
  public init(bits: Int) {
    precondition(bits == 8 || bits == 4, "codes of \(bits) bits")
    self.bits = bits
  }

  /// What one digit is worth more than the one before.
  public var base: Int { 1 << bits }
  /// Digits that hold every integer of 32 bits.
  public var most: Int { bits == 8 ? 5 : 9 }

  /// Digits that hold all integers of a range; at least one.
  public func count(for range: ClosedRange<Int32>) -> Int {
    var (count, lower, upper) = (1, -base / 2, base / 2 - 1)
    while lower > Int(range.lowerBound) || upper < Int(range.upperBound) {
      count += 1
      lower = lower * base - base / 2
      upper = upper * base + base / 2 - 1
    }
    return count
  }

  /// The lowest digit, and what is left for the next ones.
  func split(_ integer: Int) -> (digit: Int, rest: Int) {
    let digit = ((integer + base / 2) & (base - 1)) - base / 2
    return (digit, (integer - digit) / base)
  }

  /// Digits that each column of `[rows, columns]` integers needs.
  public func counts(_ integers: [Int32], columns: Int) -> [Int] {
    precondition(
      columns > 0 ? integers.count % columns == 0 : integers.isEmpty, "\(integers.count) in \(columns) columns")
    var (lowest, highest) = ([Int32](repeating: 0, count: columns), [Int32](repeating: 0, count: columns))
    for start in stride(from: 0, to: integers.count, by: max(1, columns)) {
      for column in 0..<columns {
        lowest[column] = min(lowest[column], integers[start + column])
        highest[column] = max(highest[column], integers[start + column])
      }
    }
    return zip(lowest, highest).map { count(for: $0...$1) }
  }

  /// Further columns that `[rows, columns]` integers need.
  public func splitsNeeded(_ integers: [Int32], columns: Int) -> Int {
    counts(integers, columns: columns).reduce(0) { $0 + $1 - 1 }
  }
}
