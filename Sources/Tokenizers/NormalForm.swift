import Foundation

/// The four normal forms of Unicode.
///
/// The reference library's tables are those of Unicode 11: scalars that came later are left alone, and nothing
/// moves across them.
enum NormalForm: Sendable {
  case composed
  case decomposed
  case compatibilityComposed
  case compatibilityDecomposed

  /// The text in this form.
  ///
  /// Foundation sees only the stretches that could change: a scalar that cannot, then a run of those that might.
  func apply(to text: [Unicode.Scalar]) -> [Unicode.Scalar] {
    guard var index = text.firstIndex(where: { !isInert($0) }) else { return text }
    var result = Array(text[..<index])
    while index < text.count {
      let scalar = text[index]
      if isInert(scalar) || isLate(scalar) {
        result.append(scalar)
        index += 1
        continue
      }
      // The starter before may compose with this run; where it is late, it may not.
      var start = index
      if let last = result.last, index > 0, isInert(last), text[index - 1] == last {
        start -= 1
        result.removeLast()
      }
      while index < text.count, !isInert(text[index]), !isLate(text[index]) { index += 1 }
      result += convert(text[start..<index])
    }
    return result
  }

  /// Whether a scalar is a starter that this form never changes and never joins to what stands before it.
  private func isInert(_ scalar: Unicode.Scalar) -> Bool {
    if scalar.isASCII { return true }
    guard self == .composed else { return false }
    return switch scalar.value {
    case 0..<0x300, 0x400...0x482, 0x48A...0x52F, 0x2010...0x2064, 0x3041...0x3096, 0x30A1...0x30FA: true
    case 0x4E00...0x9FEF, 0xAC00...0xD7A3, 0xFF01...0xFF5E, 0x1F300...0x1F6D5: true
    default: false
    }
  }

  private func isLate(_ scalar: Unicode.Scalar) -> Bool { scalar.value >= 0x300 && !scalar.isAssigned(in: 11) }

  private func convert(_ slice: ArraySlice<Unicode.Scalar>) -> [Unicode.Scalar] {
    let text = String(scalars: slice)
    // Foundation fails to join U+AC00 U+11A8, a syllable and a final consonant, unless both come decomposed.
    return switch self {
    case .composed:
      Array(text.decomposedStringWithCanonicalMapping.precomposedStringWithCanonicalMapping.unicodeScalars)
    case .decomposed: Array(text.decomposedStringWithCanonicalMapping.unicodeScalars)
    case .compatibilityComposed:
      Array(text.decomposedStringWithCompatibilityMapping.precomposedStringWithCanonicalMapping.unicodeScalars)
    case .compatibilityDecomposed: Array(text.decomposedStringWithCompatibilityMapping.unicodeScalars)
    }
  }
}
