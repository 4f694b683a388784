extension JSONValue {
  /// Reads one JSON text (RFC 8259) and nothing after it but white space.
  ///
  /// Stricter than most: a name that occurs twice in an object is refused, and so are a byte order mark, lone
  /// surrogates, invalid UTF-8 and nesting deeper than 128.
  ///
  /// - Parameters:
  ///   - bytes: UTF-8 text.
  ///   - pythonLiterals: also takes `NaN`, `Infinity` and `-Infinity`, which Python writes and JSON forbids.
  public init(parsing bytes: some Sequence<UInt8>, pythonLiterals: Bool = false) throws(JSONError) {
    let copy = ContiguousArray(bytes)
    let result = copy.withUnsafeBufferPointer { buffer in
      var parser = JSONParser(text: buffer, pythonLiterals: pythonLiterals)
      return Result { () throws(JSONError) in try parser.parseDocument() }
    }
    self = try result.get()
  }
}

/// A recursive-descent reader over bytes that are valid for the time of one call.
struct JSONParser {
  let text: UnsafeBufferPointer<UInt8>
  let pythonLiterals: Bool
  private var position = 0
  private var depth = 0
  private static let deepest = 128

  init(text: UnsafeBufferPointer<UInt8>, pythonLiterals: Bool) {
    self.text = text
    self.pythonLiterals = pythonLiterals
  }

  mutating func parseDocument() throws(JSONError) -> JSONValue {
    let value = try parseValue()
    skipSpace()
    guard position == text.count else { throw error("there is more after the value") }
    return value
  }

  private func error(_ reason: String, at offset: Int? = nil) -> JSONError {
    JSONError(offset: offset ?? position, reason: reason)
  }

  private var current: UInt8? { position < text.count ? text[position] : nil }

  private mutating func skipSpace() {
    while let byte = current, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard current == byte else { return false }
    position += 1
    return true
  }

  private mutating func takeWord(_ word: StaticString) -> Bool {
    let count = word.utf8CodeUnitCount
    guard position + count <= text.count else { return false }
    for index in 0..<count where text[position + index] != word.utf8Start[index] { return false }
    position += count
    return true
  }

  private mutating func parseValue() throws(JSONError) -> JSONValue {
    skipSpace()
    guard let byte = current else { throw error("the text ends where a value is expected") }
    switch byte {
    case UInt8(ascii: "{"): return try nested { parser throws(JSONError) in try parser.parseObject() }
    case UInt8(ascii: "["): return try nested { parser throws(JSONError) in try parser.parseArray() }
    case UInt8(ascii: "\""): return .string(try parseString())
    case UInt8(ascii: "t") where takeWord("true"): return .bool(true)
    case UInt8(ascii: "f") where takeWord("false"): return .bool(false)
    case UInt8(ascii: "n") where takeWord("null"): return .null
    case UInt8(ascii: "N") where pythonLiterals && takeWord("NaN"): return .number("nan")
    case UInt8(ascii: "I") where pythonLiterals && takeWord("Infinity"): return .number("inf")
    case UInt8(ascii: "-") where pythonLiterals && takeWord("-Infinity"): return .number("-inf")
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number(try parseNumber())
    default: throw error("a value cannot start with byte 0x\(String(byte, radix: 16))")
    }
  }

  private mutating func nested(
    _ parse: (inout JSONParser) throws(JSONError) -> JSONValue
  ) throws(JSONError) -> JSONValue {
    depth += 1
    guard depth <= Self.deepest else { throw error("nested deeper than \(Self.deepest)") }
    let value = try parse(&self)
    depth -= 1
    return value
  }

  private mutating func parseObject() throws(JSONError) -> JSONValue {
    position += 1
    var members: [JSONObject.Member] = []
    var nameOffsets: [Int] = []
    skipSpace()
    if take(UInt8(ascii: "}")) { return .object(JSONObject()) }
    repeat {
      skipSpace()
      guard current == UInt8(ascii: "\"") else { throw error("a member name in quotes is expected") }
      nameOffsets.append(position)
      let name = try parseString()
      skipSpace()
      guard take(UInt8(ascii: ":")) else { throw error("a colon is expected") }
      members.append(JSONObject.Member(name, try parseValue()))
      skipSpace()
    } while take(UInt8(ascii: ","))
    guard take(UInt8(ascii: "}")) else { throw error("a comma or the object's end is expected") }
    if let twice = Self.firstDuplicate(members) {
      throw error("the name \"\(members[twice].name)\" occurs twice in one object", at: nameOffsets[twice])
    }
    return .object(JSONObject(members))
  }

  /// Names are compared byte for byte: Swift's own equality holds é and e + ◌́ for the same.
  private static func firstDuplicate(_ members: [JSONObject.Member]) -> Int? {
    if members.count <= 8 {
      for later in members.indices.dropFirst() {
        for earlier in 0..<later where members[earlier].name.utf8.elementsEqual(members[later].name.utf8) {
          return later
        }
      }
      return nil
    }
    var seen = Set<[UInt8]>(minimumCapacity: members.count)
    for (index, member) in members.enumerated() where !seen.insert(Array(member.name.utf8)).inserted { return index }
    return nil
  }

  private mutating func parseArray() throws(JSONError) -> JSONValue {
    position += 1
    var elements: [JSONValue] = []
    skipSpace()
    if take(UInt8(ascii: "]")) { return .array([]) }
    repeat {
      elements.append(try parseValue())
      skipSpace()
    } while take(UInt8(ascii: ","))
    guard take(UInt8(ascii: "]")) else { throw error("a comma or the array's end is expected") }
    return .array(elements)
  }

  private mutating func skipDigits() -> Int {
    let start = position
    while let byte = current, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { position += 1 }
    return position - start
  }

  private mutating func parseNumber() throws(JSONError) -> String {
    let start = position
    _ = take(UInt8(ascii: "-"))
    let firstDigit = current
    let digits = skipDigits()
    guard digits > 0 else { throw error("a digit is expected") }
    guard digits == 1 || firstDigit != UInt8(ascii: "0") else { throw error("a number has a leading zero", at: start) }
    if take(UInt8(ascii: ".")) {
      guard skipDigits() > 0 else { throw error("a digit is expected after the point") }
    }
    if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
      if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
      guard skipDigits() > 0 else { throw error("a digit is expected in the exponent") }
    }
    return String(decoding: text[start..<position], as: UTF8.self)
  }

  private mutating func parseString() throws(JSONError) -> String {
    position += 1
    let start = position
    while let byte = current, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 { position += 1 }
    if current == UInt8(ascii: "\"") {
      let result = try validated(text[start..<position], at: start)
      position += 1
      return result
    }
    var bytes = Array(text[start..<position])
    while let byte = current, byte != UInt8(ascii: "\"") {
      guard byte >= 0x20 else { throw error("a control character in a string must be escaped") }
      position += 1
      if byte == UInt8(ascii: "\\") { try parseEscape(into: &bytes) } else { bytes.append(byte) }
    }
    guard take(UInt8(ascii: "\"")) else { throw error("a string has no end", at: start) }
    return try validated(bytes, at: start)
  }

  private func validated(_ bytes: some Collection<UInt8>, at start: Int) throws(JSONError) -> String {
    guard let string = String(validating: bytes, as: UTF8.self) else {
      throw error("a string is not valid UTF-8", at: start)
    }
    return string
  }

  private mutating func parseEscape(into bytes: inout [UInt8]) throws(JSONError) {
    guard let byte = current else { throw error("the text ends within an escape") }
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): bytes.append(byte)
    case UInt8(ascii: "b"): bytes.append(0x08)
    case UInt8(ascii: "f"): bytes.append(0x0C)
    case UInt8(ascii: "n"): bytes.append(0x0A)
    case UInt8(ascii: "r"): bytes.append(0x0D)
    case UInt8(ascii: "t"): bytes.append(0x09)
    case UInt8(ascii: "u"):
      let first = try parseHexUnit()
      var scalarValue = first
      if first >= 0xD800 && first < 0xDC00 {
        guard takeWord("\\u") else { throw error("a high surrogate stands alone") }
        let second = try parseHexUnit()
        guard second >= 0xDC00 && second < 0xE000 else { throw error("a high surrogate stands alone") }
        scalarValue = 0x10000 + (first - 0xD800) << 10 + (second - 0xDC00)
      }
      guard let scalar = Unicode.Scalar(scalarValue) else { throw error("a low surrogate stands alone") }
      bytes.append(contentsOf: UTF8.encode(scalar).map { Array($0) } ?? [])
    default: throw error("unknown escape", at: position - 2)
    }
  }

  private mutating func parseHexUnit() throws(JSONError) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = current, let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
        throw error("four hexadecimal digits are expected")
      }
      value = value << 4 | UInt32(digit)
      position += 1
    }
    return value
  }
}
