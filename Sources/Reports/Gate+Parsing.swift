extension Gate {
  /// The fraction that a text such as `1%`, `0.01` or `95%` means.
  ///
  /// A number without a percent sign is the fraction itself. Two spellings are refused because they are usually slips:
  /// a number above 1 (`95` for `95%`) and a bare `1`, which may mean 1 % or 100 %; `1.0` is taken.
  ///
  /// - Parameters:
  ///   - text: what the user wrote.
  ///   - option: the option's name, for the error.
  ///   - largest: the largest fraction that makes sense, such as 1 for an agreement.
  public static func fraction(
    parsing text: String, option: String, atMost largest: Double = .infinity
  ) throws(ReportsError) -> Double {
    let isPercent = text.hasSuffix("%")
    guard let number = plainNumber(isPercent ? String(text.dropLast()) : text) else {
      throw .badLimit(option: option, text: text, expected: "a percentage such as 1% or a fraction such as 0.01")
    }
    if !isPercent && text == "1" {
      throw .badLimit(option: option, text: text, expected: "1% or 100%, since a bare 1 may mean either")
    }
    if !isPercent && number > 1 {
      throw .badLimit(option: option, text: text, expected: "a fraction up to 1.0, or \(text)% with the percent sign")
    }
    let fraction = isPercent ? number / 100 : number
    guard fraction <= largest else {
      throw .badLimit(option: option, text: text, expected: "at most \(NumberText.roundPercent(largest))")
    }
    return fraction
  }

  /// The divergence in nats that a text such as `0.03` means.
  public static func divergence(parsing text: String, option: String) throws(ReportsError) -> Double {
    guard let number = plainNumber(text) else {
      throw .badLimit(option: option, text: text, expected: "a KL divergence in nats, such as 0.03")
    }
    return number
  }

  /// A finite decimal number ≥ 0: no sign, spaces, hexadecimal, infinity or NaN.
  private static func plainNumber(_ text: String) -> Double? {
    guard let first = text.utf8.first, first != UInt8(ascii: "-"), first != UInt8(ascii: "+"),
      text.utf8.allSatisfy({ "0123456789.eE-+".utf8.contains($0) }), let number = Double(text), number.isFinite
    else { return nil }
    return number
  }
}
