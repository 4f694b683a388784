/// One file inside an artifact's archive.
struct TarMember: Equatable, Sendable {
  /// Its name, a plain path.
  let name: String
  /// Where its content lies in the archive.
  let content: Range<Int>
}

/// Reads the headers of a pax archive, strictly: regular files with plain names, and pax headers that name or size them.
struct TarReader {
  /// The archive's size.
  let byteCount: Int
  /// The file, for messages.
  let path: String
  /// More members than any model folder has.
  static let mostMembers = 1024
  /// More than two pax records take.
  private static let largestPaxHeader = 8192

  /// All members in order.
  ///
  /// - Parameter read: the bytes of a range of the archive.
  func members(
    read: (Range<Int>) throws(CheckpointError) -> [UInt8]
  ) throws(CheckpointError) -> [TarMember] {
    var members: [TarMember] = []
    var position = 0
    while var block = try header(at: position, read: read) {
      var extended = Extended()
      if block.type == UInt8(ascii: "x") {
        (extended, position) = try paxHeader(block, at: position, read: read)
        guard let next = try header(at: position, read: read) else {
          throw refuse(position, "a pax header without its member")
        }
        block = next
      }
      guard block.type == UInt8(ascii: "0") || block.type == 0 else {
        throw refuse(position, "a member of type \(Hex.text(block.type)), not a regular file")
      }
      guard extended.byteCount == nil || block.byteCount == 0 else { throw refuse(position, "two different sizes") }
      let size = extended.byteCount ?? block.byteCount
      guard let name = extended.name ?? block.name else { throw refuse(position, "a member name is not UTF-8") }
      let from = position + TarWriter.blockSize
      guard size <= byteCount - from else { throw refuse(position, "member \"\(name)\" of \(size) bytes is cut short") }
      members.append(TarMember(name: name, content: from..<from + size))
      guard members.count <= Self.mostMembers else { throw refuse(position, "more than \(Self.mostMembers) members") }
      position = from + size + TarWriter.padding(after: size)
    }
    guard byteCount - position == TarWriter.end.count else {
      throw refuse(position, "the archive ends here, but \(byteCount - position) bytes are left, not 1024")
    }
    if let problem = MemberName.problem(members.map(\.name)) { throw refuse(0, problem) }
    return members
  }

  /// The records of a pax header, and the offset of the header after it.
  private func paxHeader(
    _ block: Header, at position: Int, read: (Range<Int>) throws(CheckpointError) -> [UInt8]
  ) throws(CheckpointError) -> (Extended, Int) {
    guard block.byteCount <= Self.largestPaxHeader else {
      throw refuse(position, "a pax header of \(block.byteCount) bytes")
    }
    let first = position + TarWriter.blockSize
    let next = first + block.byteCount + TarWriter.padding(after: block.byteCount)
    try require(first..<next)
    let bytes = try read(first..<next)
    guard bytes[block.byteCount...].allSatisfy({ $0 == 0 }) else { throw refuse(first, "padding that is not empty") }
    guard let extended = Extended(parsing: Array(bytes[..<block.byteCount])) else {
      throw refuse(first, "pax records other than a path and a size, or not well-formed")
    }
    return (extended, next)
  }

  private func refuse(_ offset: Int, _ problem: String) -> CheckpointError {
    .malformed(file: path, offset: nil, tensor: nil, problem: "archive byte \(offset): \(problem)")
  }

  private func require(_ range: Range<Int>) throws(CheckpointError) {
    guard range.upperBound <= byteCount else { throw refuse(range.lowerBound, "the archive is cut short") }
  }

  /// What one header block says.
  private struct Header {
    var name: String?
    var byteCount: Int
    var type: UInt8
  }

  /// The header at an offset, or `nil` for the two empty blocks at the archive's end.
  private func header(
    at offset: Int, read: (Range<Int>) throws(CheckpointError) -> [UInt8]
  ) throws(CheckpointError) -> Header? {
    try require(offset..<offset + TarWriter.blockSize)
    let block = try read(offset..<offset + TarWriter.blockSize)
    if block.allSatisfy({ $0 == 0 }) {
      let second = offset + TarWriter.blockSize
      try require(second..<second + TarWriter.blockSize)
      guard try read(second..<second + TarWriter.blockSize).allSatisfy({ $0 == 0 }) else {
        throw refuse(second, "one empty block, where the archive's end has two")
      }
      return nil
    }
    guard block[257..<263].elementsEqual("ustar\0".utf8), block[263..<265].elementsEqual("00".utf8) else {
      throw refuse(offset, "no ustar header")
    }
    let sum = block.indices.reduce(0) { $0 + (148..<156 ~= $1 ? 32 : Int(block[$1])) }
    guard Self.octal(block[148..<156]) == sum else { throw refuse(offset, "the header's checksum differs from \(sum)") }
    guard let byteCount = Self.octal(block[124..<136]) else { throw refuse(offset, "the size is not octal") }
    let last = Self.text(block[0..<100])
    let prefix = Self.text(block[345..<500])
    let name = String(validating: prefix.isEmpty ? last : prefix + [UInt8(ascii: "/")] + last, as: UTF8.self)
    return Header(name: name, byteCount: byteCount, type: block[156])
  }

  /// The bytes before the first zero.
  private static func text(_ field: ArraySlice<UInt8>) -> [UInt8] { Array(field.prefix { $0 != 0 }) }

  /// Octal digits, then nothing but spaces and zeros.
  private static func octal(_ field: ArraySlice<UInt8>) -> Int? {
    let digits = field.prefix { UInt8(ascii: "0")...UInt8(ascii: "7") ~= $0 }
    guard !digits.isEmpty, field[digits.endIndex...].allSatisfy({ $0 == 0 || $0 == 0x20 }) else { return nil }
    return digits.reduce(0) { $0 << 3 | Int($1 - UInt8(ascii: "0")) }
  }
}

/// What a pax header says of the member after it.
private struct Extended {
  var name: String?
  var byteCount: Int?

  init() {}

  /// Reads `path` and `size` records; `nil` for any other, or when one is not well-formed.
  init?(parsing bytes: [UInt8]) {
    var rest = bytes[...]
    while !rest.isEmpty {
      guard let space = rest.firstIndex(of: 0x20), let count = Self.decimal(rest[..<space]), count <= rest.count,
        count > space - rest.startIndex + 1
      else { return nil }
      let record = rest.prefix(count)
      guard record.last == UInt8(ascii: "\n"), let equals = record.firstIndex(of: UInt8(ascii: "=")), equals > space
      else { return nil }
      let value = record[(equals + 1)..<(record.endIndex - 1)]
      switch String(decoding: record[(space + 1)..<equals], as: UTF8.self) {
      case "path" where name == nil:
        guard let text = String(validating: value, as: UTF8.self) else { return nil }
        name = text
      case "size" where byteCount == nil:
        guard let size = Self.decimal(value) else { return nil }
        byteCount = size
      default: return nil
      }
      rest = rest.dropFirst(count)
    }
  }

  /// Decimal digits without leading zeros that make a number below 2⁶².
  private static func decimal(_ digits: ArraySlice<UInt8>) -> Int? {
    guard 1...19 ~= digits.count, digits.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }),
      digits.count == 1 || digits.first != UInt8(ascii: "0"),
      let value = Int(String(decoding: digits, as: UTF8.self)), value < 1 << 62
    else { return nil }
    return value
  }
}
