/// Headers of a POSIX pax archive (IEEE 1003.1-2017, `pax`), always the same for the same names and sizes.
enum TarWriter {
  static let blockSize = 512
  /// The largest size that eleven octal digits hold.
  static let largestOctalSize = 1 << 33 - 1
  /// The archive's end: two empty blocks.
  static let end = [UInt8](repeating: 0, count: 2 * blockSize)

  /// Bytes from the end of a content to the next block.
  static func padding(after byteCount: Int) -> Int { (blockSize - byteCount % blockSize) % blockSize }

  /// All that stands before a member's content: its header, preceded by a pax header when the name or size asks.
  ///
  /// - Precondition: the name is one that ``MemberName`` allows, and the size is not negative.
  static func header(name: String, byteCount: Int) -> [UInt8] {
    let bytes = Array(name.utf8)
    let isPlain = bytes.count <= 100 && bytes.allSatisfy { $0 < 0x80 }
    var records: [UInt8] = []
    if !isPlain { records += record("path", bytes) }
    if byteCount > largestOctalSize { records += record("size", Array(String(byteCount).utf8)) }
    // What a reader without pax sees: close enough to find the file.
    let shortName = Array(bytes.map { $0 < 0x80 ? $0 : UInt8(ascii: "_") }.prefix(100))
    let size = byteCount > largestOctalSize ? 0 : byteCount
    let main = block(name: shortName, byteCount: size, type: UInt8(ascii: "0"))
    guard !records.isEmpty else { return main }
    let paxName = Array(("PaxHeaders/".utf8 + shortName).prefix(100))
    let padding = [UInt8](repeating: 0, count: padding(after: records.count))
    return block(name: paxName, byteCount: records.count, type: UInt8(ascii: "x")) + records + padding + main
  }

  /// A pax record: its own length in decimal, counting itself, then `key=value` and a newline.
  static func record(_ key: String, _ value: [UInt8]) -> [UInt8] {
    let rest = [UInt8(ascii: " ")] + key.utf8 + [UInt8(ascii: "=")] + value + [UInt8(ascii: "\n")]
    var count = rest.count
    while String(count).utf8.count + rest.count != count { count = String(count).utf8.count + rest.count }
    return String(count).utf8 + rest
  }

  private static func block(name: [UInt8], byteCount: Int, type: UInt8) -> [UInt8] {
    var block = [UInt8](repeating: 0, count: blockSize)
    func put(_ text: some Collection<UInt8>, at offset: Int) {
      block.replaceSubrange(offset..<offset + text.count, with: text)
    }
    put(name, at: 0)
    put("0000644".utf8, at: 100)
    put("0000000".utf8, at: 108)
    put("0000000".utf8, at: 116)
    put(octal(byteCount, digits: 11), at: 124)
    put("00000000000".utf8, at: 136)
    put("        ".utf8, at: 148)
    block[156] = type
    put("ustar".utf8, at: 257)
    put("00".utf8, at: 263)
    let sum = block.reduce(0) { $0 + Int($1) }
    put(octal(sum, digits: 6) + [0, UInt8(ascii: " ")], at: 148)
    return block
  }

  private static func octal(_ value: Int, digits: Int) -> [UInt8] {
    let text = String(value, radix: 8)
    precondition(text.utf8.count <= digits, "\(value) has more than \(digits) octal digits")
    return [UInt8](repeating: UInt8(ascii: "0"), count: digits - text.utf8.count) + text.utf8
  }
}
