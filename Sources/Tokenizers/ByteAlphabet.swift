/// The printable alphabet in which byte-level vocabularies spell bytes.
///
/// Bytes 21–7E, A1–AC and AE–FF stand for themselves; the other 68, in order, are U+0100, U+0101 and so on.
enum ByteAlphabet {
  /// The scalar of each byte.
  static let scalars: [Unicode.Scalar] = {
    var next: UInt32 = 0x100
    return (UInt8.min...UInt8.max).map { byte in
      switch byte {
      case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: return Unicode.Scalar(byte)
      default:
        defer { next += 1 }
        return Unicode.Scalar(next) ?? "\u{0}"
      }
    }
  }()

  /// The byte of each scalar below U+0144, or -1.
  static let bytes: [Int16] = {
    var table = [Int16](repeating: -1, count: 0x144)
    for (byte, scalar) in scalars.enumerated() { table[Int(scalar.value)] = Int16(byte) }
    return table
  }()

  /// The bytes of a token, or `nil` where a scalar is not of the alphabet.
  static func bytes(of token: [Unicode.Scalar]) -> [UInt8]? {
    let table = bytes
    var result: [UInt8] = []
    result.reserveCapacity(token.count)
    for scalar in token {
      guard scalar.value < 0x144, table[Int(scalar.value)] >= 0 else { return nil }
      result.append(UInt8(table[Int(scalar.value)]))
    }
    return result
  }
}

extension Unicode.Scalar {
  /// Hands over the one to four bytes of the scalar's UTF-8.
  func forEachByte(_ body: (UInt8) -> Void) {
    let value = value
    switch value {
    case 0..<0x80: body(UInt8(value))
    case 0x80..<0x800:
      body(UInt8(0xC0 | value >> 6))
      body(UInt8(0x80 | value & 0x3F))
    case 0x800..<0x10000:
      body(UInt8(0xE0 | value >> 12))
      body(UInt8(0x80 | value >> 6 & 0x3F))
      body(UInt8(0x80 | value & 0x3F))
    default:
      body(UInt8(0xF0 | value >> 18))
      body(UInt8(0x80 | value >> 12 & 0x3F))
      body(UInt8(0x80 | value >> 6 & 0x3F))
      body(UInt8(0x80 | value & 0x3F))
    }
  }
}

extension String {
  /// A string of these scalars, none composed or reordered.
  init(scalars: some Sequence<Unicode.Scalar>) {
    // Appending to a UnicodeScalarView is 50 times slower.
    var bytes: [UInt8] = []
    bytes.reserveCapacity(scalars.underestimatedCount)
    for scalar in scalars { scalar.forEachByte { bytes.append($0) } }
    self.init(decoding: bytes, as: UTF8.self)
  }
}
