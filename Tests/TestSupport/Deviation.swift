/// How far apart numbers are, and how wide they spread.
public enum Deviation {
  /// The largest difference of two lists of one length, over the standard deviation of the second.
  public static func relative(_ found: [Float], _ expected: [Float]) -> Double {
    guard found.count == expected.count, !found.isEmpty else { return .infinity }
    var largest = 0.0
    for (a, b) in zip(found, expected) {
      let difference = abs(Double(a) - Double(b))
      guard difference.isFinite else { return .infinity }
      largest = max(largest, difference)
    }
    return largest / standard(expected)
  }

  /// The standard deviation.
  public static func standard(_ values: [Float]) -> Double {
    let mean = values.reduce(0) { $0 + Double($1) } / Double(values.count)
    return (values.reduce(0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / Double(values.count)).squareRoot()
  }
}
