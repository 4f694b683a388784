/// Why two models could not be compared, or a limit or report could not be read.
public enum ReportsError: Error, Equatable, CustomStringConvertible {
  /// The reference model's logits hold NaN or +∞, or are all −∞, so there is nothing to compare with.
  case referenceNotFinite(position: Int)
  /// A limit on the command line or in a recipe is not what its option takes.
  case badLimit(option: String, text: String, expected: String)
  /// A report.json lacks a key, or has another type under it.
  case malformedReport(key: String, expected: String)
  /// A ledger does not say exactly once what became of each tensor: those without an entry, those with several, and
  /// entries for tensors that the source does not have.
  case unbalancedLedger(unaccounted: [String], repeated: [String], unknown: [String])

  /// One sentence: what was found and what was expected.
  public var description: String {
    switch self {
    case .referenceNotFinite(let position):
      "the reference model's logits at position \(position) are not finite, so nothing can be compared with them"
    case .badLimit(let option, let text, let expected):
      "\(option) is \"\(text)\", expected \(expected)"
    case .malformedReport(let key, let expected):
      "report.json: \"\(key)\" should be \(expected)"
    case .unbalancedLedger(let unaccounted, let repeated, let unknown):
      "the ledger does not say exactly once what became of each source tensor: "
        + [
          Self.listed(unaccounted, after: "nothing is said about "),
          Self.listed(repeated, after: "more than once: "),
          Self.listed(unknown, after: "not in the source: "),
        ].compactMap(\.self).joined(separator: "; ")
    }
  }

  /// The first five names, and how many more there are.
  private static func listed(_ names: [String], after words: String) -> String? {
    guard !names.isEmpty else { return nil }
    let more = names.count > 5 ? " and \(names.count - 5) more" : ""
    return words + names.prefix(5).joined(separator: ", ") + more
  }
}
