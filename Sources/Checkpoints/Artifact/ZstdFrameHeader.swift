/// The header of a zstd frame (RFC 8878 §3.1.1), as far as our frames use it.
///
/// `libzstd` passes over bits that mean nothing; here they are refused, so that no bit of a file is free to change.
struct ZstdFrameHeader: Equatable {
  /// The number of bytes that the frame decodes to.
  let contentSize: UInt64
  /// The number of bytes that the header itself takes.
  let byteCount: Int

  /// The first bytes of every frame, as a little-endian number.
  static let magic: UInt32 = 0xFD2F_B528
  private static let blockSize = 128 << 10

  /// Reads a header that declares content size and checksum and nothing else.
  init(parsing frame: UnsafeRawBufferPointer) throws(ZstdError) {
    guard frame.count >= 6 else { throw .header }
    let magic = UInt32(littleEndian: frame.loadUnaligned(as: UInt32.self))
    guard magic == Self.magic else { throw .magic(magic) }
    let descriptor = frame[4]
    let isSingleSegment = descriptor & 0x20 != 0
    let sizeFlag = Int(descriptor >> 6)
    // Bit 4 has no meaning, bit 3 is reserved, bits 1 and 0 announce a dictionary; bit 2 is the checksum.
    guard descriptor & 0x1F == 0x04, sizeFlag > 0 || isSingleSegment else { throw .descriptor(descriptor) }
    let sizeBytes = sizeFlag == 0 ? 1 : 1 << sizeFlag
    let sizeOffset = isSingleSegment ? 5 : 6
    byteCount = sizeOffset + sizeBytes
    guard frame.count >= byteCount else { throw .header }
    let field = (0..<sizeBytes).reduce(UInt64(0)) { $0 | UInt64(frame[sizeOffset + $1]) << (8 * UInt64($1)) }
    contentSize = sizeFlag == 1 ? field + 256 : field
    // 8 MiB is what every decoder takes, those in browsers too.
    guard isSingleSegment || frame[5] <= 0x68 else { throw .header }
  }

  /// A frame of raw blocks: header, blocks of 128 KiB as they are, checksum.
  ///
  /// Made by hand, its bytes depend on no library.
  static func storedFrame(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
    precondition(bytes.count < 1 << 32, "\(bytes.count) bytes do not fit one frame")
    var frame: [UInt8] = []
    frame.reserveCapacity(bytes.count + 3 * (bytes.count / blockSize + 1) + 14)
    frame.append(littleEndian: magic)
    switch bytes.count {
    case 0..<256:
      frame += [0x24, UInt8(bytes.count)]
    case 256..<65_792:
      frame.append(0x64)
      frame.append(littleEndian: UInt16(bytes.count - 256))
    default:
      frame.append(0xA4)
      frame.append(littleEndian: UInt32(bytes.count))
    }
    var position = 0
    repeat {
      let count = min(blockSize, bytes.count - position)
      let isLast = position + count == bytes.count
      let header = UInt32(count) << 3 | (isLast ? 1 : 0)
      frame += [UInt8(header & 0xFF), UInt8(header >> 8 & 0xFF), UInt8(header >> 16)]
      frame += UnsafeRawBufferPointer(rebasing: bytes[position..<position + count])
      position += count
    } while position < bytes.count
    frame.append(littleEndian: UInt32(truncatingIfNeeded: XXHash64.hash(bytes)))
    return frame
  }
}

extension [UInt8] {
  /// Appends an integer, lowest byte first.
  mutating func append(littleEndian value: some FixedWidthInteger) {
    Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
  }

  /// Four bytes as a number, lowest first.
  func littleEndianWord(at offset: Int) -> UInt32 {
    UInt32(self[offset]) | UInt32(self[offset + 1]) << 8 | UInt32(self[offset + 2]) << 16
      | UInt32(self[offset + 3]) << 24
  }
}

/// Numbers and bytes in hexadecimal.
enum Hex {
  /// Such as `0xfd2fb528`, with all digits.
  static func text<Value: FixedWidthInteger & UnsignedInteger>(_ value: Value) -> String {
    let digits = String(value, radix: 16)
    return "0x" + String(repeating: "0", count: Value.bitWidth / 4 - digits.count) + digits
  }

  /// Two lower-case digits per byte.
  static func text(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }
}
