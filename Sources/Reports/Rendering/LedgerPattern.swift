/// Tensors of a ledger that differ only in numbers and came to the same.
struct LedgerPattern {
  let pattern: String
  let fate: Report.Ledger.Fate
  /// Number of source tensors.
  let count: Int
  /// Their size in the source and of what was written for them, bytes.
  let bytes: (source: Int, written: Int)

  /// The scheme, or the reason, or nothing.
  var detail: String { fate.scheme ?? fate.reason ?? "" }
}

extension Report.Ledger {
  /// The entries as patterns, in the order of the source.
  func patterns(where isIncluded: (Entry) -> Bool = { _ in true }) -> [LedgerPattern] {
    let entries = entries.filter(isIncluded)
    return NameGroup.groups(of: entries.map(\.name)) { entries[$0].fate }.map { group in
      let members = group.members.map { entries[$0] }
      return LedgerPattern(
        pattern: group.pattern, fate: group.label, count: members.count,
        bytes: (members.reduce(0) { $0 + $1.bytes }, members.reduce(0) { $0 + $1.bytesWritten }))
    }
  }

  /// The dropped tensors one by one, or as patterns where there are more than `limit`.
  func dropped(upTo limit: Int) -> [LedgerPattern] {
    guard total(.dropped).tensors <= limit else { return patterns { $0.fate.kind == .dropped } }
    return entries.filter { $0.fate.kind == .dropped }.map {
      LedgerPattern(pattern: $0.name, fate: $0.fate, count: 1, bytes: ($0.bytes, 0))
    }
  }
}

extension Report.Ledger.Kind {
  /// What it means, for a person.
  var meaning: String {
    switch self {
    case .quantized: "stored in fewer bits"
    case .copied: "same values"
    case .folded: "copied, with scales folded into the values"
    case .dropped: "not in the artifact"
    }
  }
}
