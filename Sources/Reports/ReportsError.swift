/// Why two models could not be compared, or a limit or report could not be read.
public enum ReportsError: Error, Equatable, CustomStringConvertible {
  /// The reference model's logits hold NaN or +∞, or are all −∞, so there is nothing to compare with.
  case referenceNotFinite(position: Int)
  /// A limit on the command line or in a recipe is not what its option takes.
  case badLimit(option: String, text: String, expected: String)
  /// A report.json lacks a key, or has another type under it.
  case malformedReport(key: String, expected: String)

  /// One sentence: what was found and what was expected.
  public var description: String {
    switch self {
    case .referenceNotFinite(let position):
      "the reference model's logits at position \(position) are not finite, so nothing can be compared with them"
    case .badLimit(let option, let text, let expected):
      "\(option) is \"\(text)\", expected \(expected)"
    case .malformedReport(let key, let expected):
      "report.json: \"\(key)\" should be \(expected)"
    }
  }
}
