/// The tokens of one word while they are joined.
///
/// The pair of the lowest rank goes first, the leftmost of equals. Short words look for it each time; long ones
/// (a whole text is one word where there is no pre-tokenizer) keep the candidates in a heap: O(n log n).
struct MergingWord {
  var symbols: [Int32] = []
  private var pairs: [MergeTable.Merge] = []
  /// Up to here looking through all pairs is faster.
  private static let longestScanned = 32
  private static let never = MergeTable.Merge(rank: .max, result: -1)

  mutating func merge(by table: MergeTable) {
    if symbols.count <= Self.longestScanned { mergeScanning(table) } else { mergeWithHeap(table) }
  }

  private mutating func mergeScanning(_ table: MergeTable) {
    guard symbols.count > 1 else { return }
    pairs.removeAll(keepingCapacity: true)
    for index in 0..<(symbols.count - 1) { pairs.append(table[symbols[index], symbols[index + 1]] ?? Self.never) }
    while true {
      var best = -1
      var lowest = UInt32.max
      for index in pairs.indices where pairs[index].rank < lowest {
        lowest = pairs[index].rank
        best = index
      }
      guard best >= 0 else { return }
      symbols[best] = pairs[best].result
      symbols.remove(at: best + 1)
      pairs.remove(at: best)
      if best > 0 { pairs[best - 1] = table[symbols[best - 1], symbols[best]] ?? Self.never }
      if best < pairs.count { pairs[best] = table[symbols[best], symbols[best + 1]] ?? Self.never }
    }
  }

  private mutating func mergeWithHeap(_ table: MergeTable) {
    let count = symbols.count
    // Joined symbols leave their right neighbour dead (-1); the living are linked.
    var next = (0..<count).map { Int32($0 + 1) }
    var previous = (0..<count).map { Int32($0 - 1) }
    var heap = MergeQueue()
    func enqueue(_ left: Int, _ right: Int) {
      guard let merge = table[symbols[left], symbols[right]] else { return }
      heap.push(UInt64(merge.rank) << 32 | UInt64(left))
    }
    for index in 0..<(count - 1) { enqueue(index, index + 1) }
    while let entry = heap.pop() {
      let left = Int(entry & 0xFFFF_FFFF)
      let right = Int(next[left])
      // An entry is stale where either side has been joined since: then the pair's rank is another.
      guard symbols[left] >= 0, right < count, let merge = table[symbols[left], symbols[right]],
        UInt64(merge.rank) == entry >> 32
      else { continue }
      symbols[left] = merge.result
      symbols[right] = -1
      let after = Int(next[right])
      next[left] = Int32(after)
      if after < count {
        previous[after] = Int32(left)
        enqueue(left, after)
      }
      if previous[left] >= 0 { enqueue(Int(previous[left]), left) }
    }
    symbols.removeAll { $0 < 0 }
  }
}

/// A binary heap that gives the smallest number first.
struct MergeQueue {
  private var entries: [UInt64] = []

  mutating func push(_ entry: UInt64) {
    var hole = entries.count
    entries.append(entry)
    while hole > 0 {
      let parent = (hole - 1) / 2
      guard entry < entries[parent] else { break }
      entries[hole] = entries[parent]
      hole = parent
    }
    entries[hole] = entry
  }

  mutating func pop() -> UInt64? {
    guard let smallest = entries.first, let last = entries.popLast() else { return nil }
    guard !entries.isEmpty else { return smallest }
    var hole = 0
    while true {
      var child = 2 * hole + 1
      guard child < entries.count else { break }
      if child + 1 < entries.count, entries[child + 1] < entries[child] { child += 1 }
      guard entries[child] < last else { break }
      entries[hole] = entries[child]
      hole = child
    }
    entries[hole] = last
    return smallest
  }
}
