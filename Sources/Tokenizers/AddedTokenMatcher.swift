/// Finds added tokens in a text: the leftmost first, the longest of those that start together.
struct AddedTokenMatcher: Sendable {
  /// A stretch of text, and the id of the token that it is.
  struct Part {
    let range: Range<Int>
    let id: Int?
  }

  private let tokens: [AddedToken]
  /// The trie's edges, by node and scalar; node 0 is the root.
  private var edges: [UInt64: Int32] = [:]
  /// The index of the token that ends at each node, or -1.
  private var ends: [Int32] = [-1]

  /// - Parameter spellings: what to look for, as long as `tokens`; an empty one is never found.
  init(_ tokens: [AddedToken], spellings: [[Unicode.Scalar]]) {
    self.tokens = tokens
    for (index, spelling) in spellings.enumerated() where !spelling.isEmpty {
      var node: Int32 = 0
      for scalar in spelling {
        let key = Self.key(node, scalar)
        if let child = edges[key] {
          node = child
        } else {
          node = Int32(ends.count)
          edges[key] = node
          ends.append(-1)
        }
      }
      if ends[Int(node)] < 0 { ends[Int(node)] = Int32(index) }
    }
  }

  private static func key(_ node: Int32, _ scalar: Unicode.Scalar) -> UInt64 {
    UInt64(node) << 32 | UInt64(scalar.value)
  }

  /// The longest token that starts at a place.
  private func longest(in text: [Unicode.Scalar], at start: Int) -> (token: AddedToken, end: Int)? {
    var node: Int32 = 0
    var found: (token: AddedToken, end: Int)?
    var index = start
    while index < text.count, let child = edges[Self.key(node, text[index])] {
      node = child
      index += 1
      if ends[Int(node)] >= 0 { found = (tokens[Int(ends[Int(node)])], index) }
    }
    return found
  }

  /// Cuts a text into tokens and the stretches between them.
  ///
  /// - Parameter skippingSpecial: leaves special tokens in the text, as if they were ordinary words.
  func parts(of text: [Unicode.Scalar], skippingSpecial: Bool) -> [Part] {
    if edges.isEmpty { return text.isEmpty ? [] : [Part(range: text.indices, id: nil)] }
    var parts: [Part] = []
    var position = 0
    var written = 0
    while position < text.count {
      guard let (token, matchEnd) = longest(in: text, at: position) else {
        position += 1
        continue
      }
      var start = position
      var end = matchEnd
      position = matchEnd
      // What the token before took with it is gone.
      if start < written || skippingSpecial && token.isSpecial { continue }
      if token.isSingleWord {
        if start > 0 && text[start - 1].isWord { continue }
        if end < text.count && text[end].isWord { continue }
      }
      // The left never reaches into the token before.
      if token.stripsLeft {
        while start > written, text[start - 1].isSpace { start -= 1 }
      }
      if token.stripsRight {
        while end < text.count, text[end].isSpace { end += 1 }
      }
      if written < start { parts.append(Part(range: written..<start, id: nil)) }
      parts.append(Part(range: start..<end, id: token.id))
      written = end
    }
    if written < text.count { parts.append(Part(range: written..<text.count, id: nil)) }
    return parts
  }
}
