/// Codes packed into 32-bit words as compressed-tensors does: a dense stream of b-bit numbers, lowest bit first,
/// each row starting a word of its own, codes offset by 2^(b−1) to be unsigned.
enum BitPacking {
  /// Words a row of `count` codes takes.
  static func wordCount(_ count: Int, bits: Int) -> Int { (count * bits + 31) / 32 }

  /// Packs one row.
  ///
  /// - Parameter code: the signed code at a position.
  static func pack(count: Int, bits: Int, into words: inout [UInt32], _ code: (Int) -> Int8) {
    let offset = Int(1) << (bits - 1)
    let mask = UInt64(1) << bits - 1
    var accumulator: UInt64 = 0
    var filled = 0
    for index in 0..<count {
      accumulator |= (UInt64(truncatingIfNeeded: Int(code(index)) + offset) & mask) << filled
      filled += bits
      if filled >= 32 {
        words.append(UInt32(truncatingIfNeeded: accumulator))
        accumulator >>= 32
        filled -= 32
      }
    }
    if filled > 0 { words.append(UInt32(truncatingIfNeeded: accumulator)) }
  }

  /// Reads one row back.
  ///
  /// - Parameter word: the word at a position of the row, little-endian order resolved.
  static func unpack(count: Int, bits: Int, word: (Int) -> UInt32, _ use: (Int, Int8) -> Void) {
    let offset = Int(1) << (bits - 1)
    let mask = UInt64(1) << bits - 1
    for index in 0..<count {
      let bit = index * bits
      var window = UInt64(word(bit / 32))
      if bit % 32 + bits > 32 { window |= UInt64(word(bit / 32 + 1)) << 32 }
      use(index, Int8(truncatingIfNeeded: Int(window >> (bit % 32) & mask) - offset))
    }
  }
}
