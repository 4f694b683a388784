import StrictJSON

/// The pairs of tokens that byte-pair encoding joins: rank and result by pair.
struct MergeTable: Sendable {
  /// What becomes of a pair.
  struct Merge {
    /// Lower ranks go first.
    let rank: UInt32
    let result: Int32
  }

  /// Open addressing: a pair's key and its packed rank and result, or ``vacant``.
  private var slots: [(key: UInt64, merge: UInt64)]
  private let shift: UInt64
  /// Random, so that no file can make its pairs collide; what the table answers does not depend on it.
  private let factor = UInt64.random(in: .min ... .max) | 1
  private static let vacant = UInt64.max

  /// What becomes of two neighbours, or `nil` where they stay apart.
  subscript(left: Int32, right: Int32) -> Merge? {
    let packed = slots[slot(of: Self.key(left, right))].merge
    guard packed != Self.vacant else { return nil }
    return Merge(rank: UInt32(packed >> 32), result: Int32(truncatingIfNeeded: packed))
  }

  private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
  }

  /// Where a key is, or would be put.
  private func slot(of key: UInt64) -> Int {
    var index = Int((key &* factor) >> shift)
    while slots[index].merge != Self.vacant, slots[index].key != key { index = (index + 1) & (slots.count - 1) }
    return index
  }

  /// Two neighbours and what becomes of them.
  typealias Pair = (left: Int32, right: Int32, merge: Merge)

  /// A table of pairs that differ.
  init(_ pairs: [Pair]) {
    self.init(capacity: pairs.count)
    for (left, right, merge) in pairs {
      let key = Self.key(left, right)
      slots[slot(of: key)] = (key, UInt64(merge.rank) << 32 | UInt64(UInt32(bitPattern: merge.result)))
    }
  }

  /// An empty table with room for so many pairs.
  private init(capacity: Int) {
    let bits = max(4, Int.bitWidth - (2 * capacity).leadingZeroBitCount)
    slots = Array(repeating: (key: 0, merge: Self.vacant), count: 1 << bits)
    shift = UInt64(UInt64.bitWidth - bits)
  }

  /// Reads either spelling: `"a b"`, where `#version` lines are skipped, or `["a", "b"]`.
  ///
  /// - Parameter prefix: the continuing-subword prefix, which the right half of a merge loses.
  init(_ model: Component, vocabulary: Vocabulary, prefix: [UInt8]) throws(TokenizerError) {
    let list = try model.array("merges")
    self.init(capacity: list.count)
    let wantsPairs = list.first?.arrayValue != nil
    var rank: UInt32 = 0
    var result: [UInt8] = []
    for (index, element) in list.enumerated() {
      if !wantsPairs, let line = element.stringValue, line.utf8.starts(with: "#version".utf8) { continue }
      guard let halves = Self.halves(of: element, asPair: wantsPairs) else {
        throw model.malformed(
          "merges[\(index)]", expected: wantsPairs ? "an array of two strings" : "two tokens with one space between",
          found: element.stringValue.map { "\"\($0)\"" } ?? element.typeName)
      }
      func id(_ token: [UInt8], _ what: String) throws(TokenizerError) -> Int32 {
        if let id = vocabulary[token] { return Int32(id) }
        throw model.malformed(
          "merges[\(index)]", expected: "a \(what) of the vocabulary",
          found: "\"\(String(decoding: token, as: UTF8.self))\"")
      }
      let left = try id(halves.left, "left half")
      let right = try id(halves.right, "right half")
      guard halves.right.starts(with: prefix) else {
        throw model.malformed(
          "merges[\(index)]", expected: "a right half with the continuing-subword prefix",
          found: "\"\(String(decoding: halves.right, as: UTF8.self))\"")
      }
      result.removeAll(keepingCapacity: true)
      result += halves.left
      result += halves.right.dropFirst(prefix.count)
      let merged = try id(result, "result")
      let key = Self.key(left, right)
      let slot = slot(of: key)
      guard slots[slot].merge == Self.vacant else {
        throw model.malformed(
          "merges[\(index)]", expected: "each pair once",
          found: "\"\(String(decoding: halves.left, as: UTF8.self))\" and "
            + "\"\(String(decoding: halves.right, as: UTF8.self))\" again")
      }
      slots[slot] = (key, UInt64(rank) << 32 | UInt64(UInt32(bitPattern: merged)))
      rank += 1
    }
  }

  private static func halves(of element: JSONValue, asPair: Bool) -> (left: [UInt8], right: [UInt8])? {
    if asPair {
      guard let pair = element.arrayValue, pair.count == 2, let left = pair[0].stringValue,
        let right = pair[1].stringValue
      else { return nil }
      return (Array(left.utf8), Array(right.utf8))
    }
    guard let line = element.stringValue else { return nil }
    let bytes = Array(line.utf8)
    guard let space = bytes.firstIndex(of: 0x20), bytes.lastIndex(of: 0x20) == space else { return nil }
    return (Array(bytes[..<space]), Array(bytes[(space + 1)...]))
  }
}
