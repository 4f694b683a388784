internal import Foundation

/// How the next token is drawn.
public struct Sampling: Sendable {
  /// Divides the logits; zero takes the likeliest token.
  public var temperature: Float
  /// Only the likeliest so many tokens; zero takes all.
  public var topK: Int
  /// Only the likeliest tokens whose probabilities add up to this.
  public var topP: Float
  /// The same seed draws the same text.
  public var seed: UInt64

  /// A way of drawing; greedy by default.
  public init(temperature: Float = 0, topK: Int = 0, topP: Float = 1, seed: UInt64 = 0) {
    self.temperature = temperature
    self.topK = topK
    self.topP = topP
    self.seed = seed
  }

  /// Draws one token.
  func token(from logits: ArraySlice<Float>, using generator: inout SplitMix64) -> Int {
    guard temperature > 0 else { return Self.likeliest(logits) }
    let base = logits.startIndex
    var order = LogitOrder.descending(logits)
    if topK > 0 { order = Array(order.prefix(topK)) }
    let top = order.first.map { logits[base + $0] } ?? 0
    var weights = order.map { exp(Double((logits[base + $0] - top) / temperature)) }
    let total = weights.reduce(0, +)
    var kept = 0.0
    for (rank, weight) in weights.enumerated() {
      kept += weight / total
      if kept >= Double(topP) {
        weights.removeSubrange((rank + 1)...)
        break
      }
    }
    var draw = Double(generator.next() >> 11) * 0x1p-53 * weights.reduce(0, +)
    for (rank, weight) in weights.enumerated() {
      draw -= weight
      if draw < 0 { return order[rank] }
    }
    return order[weights.count - 1]
  }

  /// The first of the largest.
  private static func likeliest(_ logits: ArraySlice<Float>) -> Int {
    logits.withUnsafeBufferPointer { logits in
      var best = 0
      for index in logits.indices where logits[index] > logits[best] { best = index }
      return best
    }
  }
}

/// Tokens by their logits.
enum LogitOrder {
  /// Places of the values from the largest to the smallest, equal ones in their order: a radix sort, since vocabularies
  /// have a hundred thousand tokens and one is drawn every few milliseconds.
  static func descending(_ values: ArraySlice<Float>) -> [Int] {
    // Bits that order as the numbers do, turned round; adding 0 makes −0 the same as 0.
    var keys = values.map { value in
      let bits = (value + 0).bitPattern
      return bits >> 31 == 0 ? ~(bits | 0x8000_0000) : bits
    }
    var order = Array(0..<Int32(keys.count))
    var (nextKeys, nextOrder) = (keys, order)
    for shift in stride(from: UInt32(0), to: 33, by: 11) {
      var places = [Int](repeating: 0, count: 1 << 11)
      for key in keys { places[Int(key >> shift & 0x7FF)] += 1 }
      var start = 0
      for digit in places.indices { (places[digit], start) = (start, start + places[digit]) }
      for (index, key) in keys.enumerated() {
        let digit = Int(key >> shift & 0x7FF)
        nextKeys[places[digit]] = key
        nextOrder[places[digit]] = order[index]
        places[digit] += 1
      }
      swap(&keys, &nextKeys)
      swap(&order, &nextOrder)
    }
    return order.map(Int.init)
  }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): small, seeded, the same on every machine.
public struct SplitMix64: RandomNumberGenerator, Sendable {
  private var state: UInt64

  /// A generator for one seed.
  public init(seed: UInt64) { state = seed }

  /// The next 64 random bits.
  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
