/// Numbers as a person reads them: three significant digits, units beside them, the same on every machine.
enum NumberText {
  /// A number with three significant digits; with an exponent outside 0.0001 … 1,000,000.
  static func significant(_ value: Double, digits: Int = 3) -> String {
    guard value.isFinite else { return value.isNaN ? "–" : value < 0 ? "−∞" : "∞" }
    guard value != 0 else { return "0" }
    let (mantissa, exponent) = decimal(abs(value), digits: digits)
    let sign = value < 0 ? "−" : ""
    if exponent < -4 || exponent > 5 {
      return sign + insertPoint(mantissa, after: 1) + "×10" + superscript(exponent)
    }
    if exponent < 0 { return sign + "0." + String(repeating: "0", count: -exponent - 1) + mantissa }
    if exponent + 1 >= digits {
      return sign + grouped(mantissa + String(repeating: "0", count: exponent + 1 - digits))
    }
    return sign + insertPoint(mantissa, after: exponent + 1)
  }

  /// A number with a fixed count of decimals.
  static func fixed(_ value: Double, decimals: Int) -> String {
    guard value.isFinite, abs(value) < 1e12 else { return significant(value) }
    let scale = Double((0..<decimals).reduce(1) { product, _ in product * 10 })
    let units = Int((abs(value) * scale).rounded())
    let whole = grouped(String(units / Int(scale)))
    let sign = value < 0 && units > 0 ? "−" : ""
    guard decimals > 0 else { return sign + whole }
    let fraction = String(units % Int(scale))
    return sign + whole + "." + String(repeating: "0", count: decimals - fraction.count) + fraction
  }

  /// A fraction as a percentage; near 100 % with as many digits as the missing part needs.
  static func percent(_ fraction: Double) -> String {
    guard fraction.isFinite else { return significant(fraction) }
    let missing = abs(1 - abs(fraction)) * 100
    if abs(fraction) > 0.9 && abs(fraction) < 1 {
      return fixed(fraction * 100, decimals: missing < 0.01 ? 4 : missing < 0.1 ? 3 : missing < 1 ? 2 : 1) + "%"
    }
    return significant(fraction * 100) + "%"
  }

  /// A change as a percentage with its sign.
  static func signedPercent(_ fraction: Double) -> String {
    (fraction > 0 ? "+" : "") + percent(fraction)
  }

  /// A round fraction as a percentage, without zeros at its end, as limits and ends of axes are written.
  static func roundPercent(_ fraction: Double) -> String { trimmed(significant(fraction * 100, digits: 6)) + "%" }

  /// Bytes in decimal units: 1 GB = 10⁹ bytes.
  static func bytes(_ count: Int) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB"]
    var value = Double(count)
    var unit = 0
    while value >= 999.5 && unit < units.count - 1 {
      value /= 1000
      unit += 1
    }
    return (unit == 0 ? String(count) : significant(value)) + " " + units[unit]
  }

  /// A whole number with a comma between thousands.
  static func count(_ value: Int) -> String { (value < 0 ? "−" : "") + grouped(String(value.magnitude)) }

  /// A ratio of signal to noise that stands for no noise at all, dB.
  static let exactDecibels = 200.0

  /// A ratio in decibels.
  static func decibels(_ value: Double, unit: String = "") -> String {
    value >= exactDecibels ? "exact" : fixed(value, decimals: 1) + unit
  }

  /// A time with two units.
  static func duration(_ seconds: Double) -> String {
    guard seconds.isFinite, seconds >= 0, seconds < 1e9 else { return "–" }
    if seconds < 1 { return fixed(seconds * 1000, decimals: 0) + " ms" }
    if seconds < 59.95 { return fixed(seconds, decimals: 1) + " s" }
    let whole = Int(seconds.rounded())
    if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
    return "\(whole / 3600) h \(whole % 3600 / 60) min"
  }

  /// The digits of a positive number and its decimal exponent: 0.0123 is ("123", −2).
  private static func decimal(_ value: Double, digits: Int) -> (mantissa: String, exponent: Int) {
    var exponent = Int(value.decimalLogarithm.rounded(.down))
    var units = scaled(value, by: digits - 1 - exponent)
    let limit = Double(digits).powerOfTen
    if units >= limit {
      exponent += 1
      units = scaled(value, by: digits - 1 - exponent)
    } else if units < limit / 10 {
      exponent -= 1
      units = scaled(value, by: digits - 1 - exponent)
    }
    return (String(Int(units)), exponent)
  }

  /// value · 10ᵖ to the nearest whole number, in two steps where the power alone would overflow.
  private static func scaled(_ value: Double, by power: Int) -> Double {
    let first = min(power, 300)
    return (value * Double(first).powerOfTen * Double(power - first).powerOfTen).rounded()
  }

  private static func insertPoint(_ digits: String, after count: Int) -> String {
    digits.count > count ? String(digits.prefix(count)) + "." + String(digits.dropFirst(count)) : digits
  }

  /// A whole number in raised digits.
  static func superscript(_ exponent: Int) -> String {
    let digits: [Character] = ["⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"]
    return (exponent < 0 ? "⁻" : "")
      + String(String(exponent.magnitude).compactMap { $0.wholeNumberValue.map { digits[$0] } })
  }

  private static func grouped(_ digits: String) -> String {
    var result = ""
    for (index, digit) in digits.enumerated() {
      if index > 0 && (digits.count - index) % 3 == 0 { result += "," }
      result.append(digit)
    }
    return result
  }

  /// Without zeros at the end of a fraction, as limits are written: 1.00 becomes 1.
  static func trimmed(_ text: String) -> String {
    guard text.contains("."), !text.contains("×") else { return text }
    var result = text
    while result.hasSuffix("0") { result.removeLast() }
    if result.hasSuffix(".") { result.removeLast() }
    return result
  }
}
