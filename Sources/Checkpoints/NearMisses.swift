/// The known names that a mistyped one may have meant, best first, at most three.
func nearMisses(of name: String, among known: [String]) -> [String] {
  let wanted = Array(name.lowercased().utf8)
  let last = wanted.lastIndex(of: UInt8(ascii: "/")).map { Array(wanted[($0 + 1)...]) } ?? wanted
  var scored: [(distance: Int, name: String)] = []
  for candidate in known {
    let bytes = Array(candidate.lowercased().utf8)
    let bare = bytes.lastIndex(of: UInt8(ascii: "/")).map { Array(bytes[($0 + 1)...]) } ?? bytes
    let distance = min(editDistance(wanted, bytes), editDistance(last, bare) + (wanted == bytes ? 0 : 1))
    if distance <= max(2, wanted.count / 4) { scored.append((distance, candidate)) }
  }
  return scored.sorted { ($0.distance, $0.name) < ($1.distance, $1.name) }.prefix(3).map(\.name)
}

/// Insertions, deletions and replacements that make one text of another (Levenshtein), in O(product of lengths).
private func editDistance(_ first: [UInt8], _ second: [UInt8]) -> Int {
  var row = Array(0...second.count)
  for (index, byte) in first.enumerated() {
    var diagonal = row[0]
    row[0] = index + 1
    for (column, other) in second.enumerated() {
      let replaced = diagonal + (byte == other ? 0 : 1)
      diagonal = row[column + 1]
      row[column + 1] = min(replaced, diagonal + 1, row[column] + 1)
    }
  }
  return row[second.count]
}
