/// The fields of one protocol-buffer message, in order; every length is checked before it is believed.
struct Protobuf {
  /// What a field holds.
  enum Value {
    case integer(UInt64)
    case bits(UInt32)
    case message(Range<Int>)
  }

  let bytes: [UInt8]
  let file: String
  private var position: Int
  private let end: Int

  init(_ bytes: [UInt8], in range: Range<Int>? = nil, file: String) {
    self.bytes = bytes
    self.file = file
    position = range?.lowerBound ?? 0
    end = range?.upperBound ?? bytes.count
  }

  func malformed(_ expected: String, found: String) -> TokenizerError {
    .malformed(file: file, component: "byte \(position)", expected: expected, found: found)
  }

  /// The next field's number and value, or `nil` at the end.
  mutating func next() throws(TokenizerError) -> (field: Int, value: Value)? {
    guard position < end else { return nil }
    let key = try integer()
    let field = Int(truncatingIfNeeded: key >> 3)
    guard key >> 3 > 0, key >> 3 < 1 << 29 else { throw malformed("a field number", found: "\(key >> 3)") }
    switch key & 7 {
    case 0: return (field, .integer(try integer()))
    case 1:
      _ = try skip(8)
      return try next()
    case 2:
      let length = try integer()
      guard length <= UInt64(end - position) else {
        throw malformed("a field of at most \(end - position) bytes", found: "\(length) bytes")
      }
      return (field, .message(try skip(Int(length))))
    case 5:
      let range = try skip(4)
      return (field, .bits(range.reversed().reduce(0) { $0 << 8 | UInt32(bytes[$1]) }))
    default: throw malformed("a SentencePiece model (protocol buffer)", found: "wire type \(key & 7)")
    }
  }

  private mutating func skip(_ count: Int) throws(TokenizerError) -> Range<Int> {
    guard count <= end - position else { throw malformed("\(count) more bytes", found: "\(end - position)") }
    defer { position += count }
    return position..<position + count
  }

  /// A number in groups of seven bits, the lowest first.
  private mutating func integer() throws(TokenizerError) -> UInt64 {
    var result: UInt64 = 0
    var shift: UInt64 = 0
    while position < end, shift < 64 {
      let byte = bytes[position]
      position += 1
      result |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return result }
      shift += 7
    }
    throw malformed("a number that ends", found: shift < 64 ? "the end of the file" : "more than ten bytes")
  }
}
