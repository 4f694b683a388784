/// What the splitting rules need to know about a Unicode scalar, as eight bits.
///
/// The reference library's regular expressions know Unicode 16; later scalars count as unassigned here too,
/// whatever Swift's own tables say, so that the ids agree.
struct ScalarClass: OptionSet {
  let rawValue: UInt8

  init(rawValue: UInt8) { self.rawValue = rawValue }

  /// Letters, `\p{L}`.
  static let letter = ScalarClass(rawValue: 1)
  /// Numbers, `\p{N}`.
  static let number = ScalarClass(rawValue: 2)
  /// White space, `\s`.
  static let space = ScalarClass(rawValue: 4)
  /// Line ends, `[\r\n]`; they are white space too.
  static let newline = ScalarClass(rawValue: 8)
  /// Marks, `\p{M}`.
  static let mark = ScalarClass(rawValue: 16)
  /// Punctuation, `\p{P}`.
  static let punctuation = ScalarClass(rawValue: 32)
  /// Symbols, `\p{S}`.
  static let symbol = ScalarClass(rawValue: 64)
  /// The set of DeepSeek's own, `[一-龥぀-ゟ゠-ヿ]`.
  static let ideographOrKana = ScalarClass(rawValue: 128)

  /// The classes of each scalar of a text.
  static func all(of text: [Unicode.Scalar]) -> [ScalarClass] {
    let table = low
    return text.map { scalar in
      let index = Int(scalar.value)
      return index < table.count ? table[index] : ScalarClass(high: scalar)
    }
  }

  /// The classes of one scalar.
  static func of(_ scalar: Unicode.Scalar) -> ScalarClass {
    let index = Int(scalar.value)
    return index < low.count ? low[index] : ScalarClass(high: scalar)
  }

  /// Everything below the ideographs, computed once.
  private static let low: [ScalarClass] = (0..<0x3400).map { value in
    Unicode.Scalar(UInt32(value)).map { ScalarClass(computing: $0) } ?? []
  }

  private init(high scalar: Unicode.Scalar) {
    switch scalar.value {
    case 0x4E00...0x9FA5: self = [.letter, .ideographOrKana]
    case 0xAC00...0xD7A3: self = .letter
    default: self.init(computing: scalar)
    }
  }

  private init(computing scalar: Unicode.Scalar) {
    var result: ScalarClass = []
    switch scalar.value {
    case 0x0A, 0x0D: result.insert(.newline)
    case 0x3040...0x30FF, 0x4E00...0x9FA5: result.insert(.ideographOrKana)
    default: break
    }
    guard scalar.isAssigned(in: 16) else {
      self = result
      return
    }
    let properties = scalar.properties
    if properties.isWhitespace { result.insert(.space) }
    switch properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: result.insert(.letter)
    case .decimalNumber, .letterNumber, .otherNumber: result.insert(.number)
    case .nonspacingMark, .spacingMark, .enclosingMark: result.insert(.mark)
    case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
      .finalPunctuation, .otherPunctuation:
      result.insert(.punctuation)
    case .mathSymbol, .currencySymbol, .modifierSymbol, .otherSymbol: result.insert(.symbol)
    default: break
    }
    self = result
  }
}

extension Unicode.Scalar {
  /// Whether a version of Unicode has this scalar.
  func isAssigned(in major: Int, minor: Int = 0) -> Bool {
    guard let age = properties.age else { return false }
    return age.major < major || (age.major == major && age.minor <= minor)
  }

  /// `\w` as the reference library's word rules have it: alphabetic, mark, decimal, connector or joiner.
  var isWord: Bool {
    if isASCII { return ScalarClass.of(self).contains(.letter) || ("0"..."9").contains(self) || self == "_" }
    guard isAssigned(in: 16) else { return false }
    switch properties.generalCategory {
    case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation: return true
    default: return properties.isAlphabetic || properties.isJoinControl
    }
  }

  /// White_Space.
  var isSpace: Bool { ScalarClass.of(self).contains(.space) }

  /// ASCII punctuation (which holds `$+<=>^`|~`) or `\p{P}`.
  var isPunctuation: Bool {
    switch value {
    case 0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E: true
    default: ScalarClass.of(self).contains(.punctuation)
    }
  }
}
