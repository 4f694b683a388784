internal import StrictJSON
public import Tensors

extension SafetensorsHeader {
  /// Reads and checks the header of a whole file, in the order of `formats/safetensors.md`, "Checks".
  ///
  /// - Parameters:
  ///   - storage: the whole file.
  ///   - path: its name, for messages.
  public init(reading storage: TensorStorage, path: String) throws(CheckpointError) {
    try self.init(fileByteCount: storage.bytes.count, path: path) { range throws(CheckpointError) in
      storage.copy(range)
    }
  }

  /// The same for a file that lies inside another.
  ///
  /// - Parameters:
  ///   - fileByteCount: bytes of the whole file.
  ///   - path: its name, for messages.
  ///   - read: the bytes of a range of the file.
  init(
    fileByteCount: Int, path: String, read: (Range<Int>) throws(CheckpointError) -> [UInt8]
  ) throws(CheckpointError) {
    let text = try HeaderText(fileByteCount: fileByteCount, path: path, read: read)
    var entries: [(Entry, member: Int)] = []
    var names = Set<String>()
    var metadata: [String: String] = [:]
    for (index, member) in try text.parseMembers().enumerated() {
      if member.name == Self.metadataName {
        metadata = try text.metadata(member.value, member: index)
        continue
      }
      // Names that differ only in their Unicode form (é, e + ◌́) would be one name to Swift and to some loaders.
      guard names.insert(member.name).inserted else {
        throw text.error(index, member.name, "the name occurs twice, in different Unicode forms")
      }
      entries.append((try text.entry(member, index: index), index))
    }
    // Offsets decide the order, the place in the header decides between empty tensors.
    entries.sort {
      ($0.0.range.lowerBound, $0.0.range.upperBound, $0.member)
        < ($1.0.range.lowerBound, $1.0.range.upperBound, $1.member)
    }
    try text.checkPlaces(entries)
    self.init(checked: entries.map(\.0), metadata: metadata, dataOffset: text.end)
  }
}

/// The text of a header, found and bounded; it knows the places of what it refuses.
private struct HeaderText {
  let path: String
  /// The bytes from the eighth of the file on.
  let text: [UInt8]
  let fileByteCount: Int

  /// Checks 1 to 4: the length, and that the text is UTF-8.
  init(
    fileByteCount: Int, path: String, read: (Range<Int>) throws(CheckpointError) -> [UInt8]
  ) throws(CheckpointError) {
    self.path = path
    self.fileByteCount = fileByteCount
    let start = try read(0..<min(fileByteCount, 24))
    func refuse(_ offset: Int, _ problem: String) -> CheckpointError {
      .malformed(file: path, offset: offset, tensor: nil, problem: problem)
    }
    guard start.count >= 8 else {
      throw refuse(0, "a safetensors file starts with 8 bytes of header length, this one has \(start.count) in all")
    }
    guard !start.starts(with: "version https://git-lfs".utf8) else {
      throw refuse(0, "this is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`")
    }
    let announced = start[..<8].reversed().reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
    guard announced <= SafetensorsHeader.largestByteCount else {
      throw refuse(
        0, "the header claims \(announced) bytes, at most \(SafetensorsHeader.largestByteCount) are allowed")
    }
    guard announced <= fileByteCount - 8 else {
      throw refuse(0, "the header claims \(announced) bytes, but only \(fileByteCount - 8) follow")
    }
    text = try read(8..<8 + Int(announced))
    if let place = Self.firstInvalidUTF8(text) { throw refuse(8 + place, "the header is not valid UTF-8") }
  }

  /// The start of the data area.
  var end: Int { 8 + text.count }

  private static func firstInvalidUTF8(_ bytes: [UInt8]) -> Int? {
    guard String(validating: bytes, as: UTF8.self) == nil else { return nil }
    var parser = Unicode.UTF8.ForwardParser()
    var iterator = bytes.makeIterator()
    var place = 0
    while case .valid(let scalar) = parser.parseScalar(from: &iterator) { place += scalar.count }
    return place
  }

  /// Check 5, first half: JSON, and an object.
  func parseMembers() throws(CheckpointError) -> [JSONObject.Member] {
    let value: JSONValue
    do { value = try JSONValue(parsing: text) } catch {
      throw .malformed(
        file: path, offset: 8 + error.offset, tensor: nil, problem: "the header is not valid JSON: \(error.reason)")
    }
    guard let object = value.objectValue else {
      throw .malformed(
        file: path, offset: 8, tensor: nil, problem: "the header is \(value.typeName), an object is expected")
    }
    return object.members
  }

  /// An error about one member of the header, with that member's place.
  func error(_ member: Int, _ name: String?, _ problem: String) -> CheckpointError {
    .malformed(file: path, offset: 8 + offset(ofMember: member), tensor: name, problem: problem)
  }

  /// The place of a member's name in text that is known to be a JSON object.
  private func offset(ofMember index: Int) -> Int {
    var (depth, commas) = (0, 0)
    var (isInString, isEscaped) = (false, false)
    for (offset, byte) in text.enumerated() {
      if isInString {
        if isEscaped {
          isEscaped = false
        } else if byte == UInt8(ascii: "\\") {
          isEscaped = true
        } else {
          isInString = byte != UInt8(ascii: "\"")
        }
        continue
      }
      switch byte {
      case UInt8(ascii: "\""):
        if depth == 1 && commas == index { return offset }
        isInString = true
      case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
      case UInt8(ascii: ",") where depth == 1: commas += 1
      default: break
      }
    }
    return 0
  }

  /// Check 5, metadata: texts by name, or null.
  func metadata(_ value: JSONValue, member: Int) throws(CheckpointError) -> [String: String] {
    if value.isNull { return [:] }
    guard let object = value.objectValue else {
      throw error(member, nil, "__metadata__ is \(value.typeName), an object of strings is expected")
    }
    var texts: [String: String] = [:]
    for (name, value) in object.members.map({ ($0.name, $0.value) }) {
      guard let text = value.stringValue else {
        throw error(member, nil, "__metadata__ \"\(name)\" is \(value.typeName), a string is expected")
      }
      guard texts.updateValue(text, forKey: name) == nil else {
        throw error(member, nil, "__metadata__ \"\(name)\" occurs twice, in different Unicode forms")
      }
    }
    return texts
  }

  /// Check 5, tensors: the three fields, each of its type; other fields are ignored.
  func entry(_ member: JSONObject.Member, index: Int) throws(CheckpointError) -> SafetensorsHeader.Entry {
    guard let fields = member.value.objectValue else {
      throw error(index, member.name, "the entry is \(member.value.typeName), an object is expected")
    }
    func field(_ name: String) throws(CheckpointError) -> JSONValue {
      guard let value = fields[name] else { throw error(index, member.name, "\(name) is missing") }
      return value
    }
    func numbers(_ name: String) throws(CheckpointError) -> [Int] {
      let value = try field(name)
      guard let elements = value.arrayValue else {
        throw error(index, member.name, "\(name) is \(value.typeName), an array of whole numbers is expected")
      }
      var numbers: [Int] = []
      for element in elements {
        guard case .number(let spelling) = element else {
          throw error(index, member.name, "\(name) holds \(element.typeName), a whole number is expected")
        }
        guard spelling.utf8.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }),
          let number = Int(spelling)
        else {
          throw error(index, member.name, "\(name) holds \(spelling), a whole number from 0 to \(Int.max) is expected")
        }
        numbers.append(number)
      }
      return numbers
    }
    let spelling = try field("dtype")
    guard let name = spelling.stringValue else {
      throw error(index, member.name, "dtype is \(spelling.typeName), a string is expected")
    }
    guard let dtype = DType(rawValue: name) else {
      let known = DType.allCases.map(\.rawValue).joined(separator: ", ")
      throw error(index, member.name, "dtype \"\(name)\" is unknown, one of \(known) is expected")
    }
    let shape = Shape(try numbers("shape"))
    let offsets = try numbers("data_offsets")
    guard offsets.count == 2 else {
      throw error(index, member.name, "data_offsets hold \(offsets.count) numbers, 2 are expected")
    }
    guard offsets[0] <= offsets[1] else {
      throw error(index, member.name, "data_offsets end at \(offsets[1]), before they begin at \(offsets[0])")
    }
    return .init(info: TensorInfo(name: member.name, dtype: dtype, shape: shape), range: offsets[0]..<offsets[1])
  }

  /// Checks 6 to 10, over entries sorted by their places.
  func checkPlaces(_ entries: [(SafetensorsHeader.Entry, member: Int)]) throws(CheckpointError) {
    var previous: SafetensorsHeader.Entry?
    for (entry, member) in entries {
      func refuse(_ problem: String) -> CheckpointError { error(member, entry.info.name, problem) }
      let (begin, end) = (entry.range.lowerBound, previous?.range.upperBound ?? 0)
      guard begin >= end else {
        let name = previous?.info.name ?? ""
        throw refuse("its data begin at \(begin), within those of \"\(name)\", which end at \(end)")
      }
      guard begin == end else { throw refuse("its data begin at \(begin), after a hole: \(end) is expected") }
      let (dtype, shape) = (entry.info.dtype, entry.info.shape)
      guard let elements = shape.elementCount else {
        throw refuse("the number of elements of \(shape) does not fit 63 bits")
      }
      let (bits, overflow) = elements.multipliedReportingOverflow(by: dtype.bitWidth)
      guard !overflow else { throw refuse("the number of bits of \(dtype.rawValue) \(shape) does not fit 63 bits") }
      guard bits % 8 == 0 else {
        throw refuse("\(dtype.rawValue) \(shape) takes \(bits) bits, which is not a whole number of bytes")
      }
      guard bits / 8 == entry.range.count else {
        throw refuse("\(dtype.rawValue) \(shape) needs \(bits / 8) bytes, data_offsets give \(entry.range.count)")
      }
      previous = entry
    }
    let (needed, present) = (previous?.range.upperBound ?? 0, fileByteCount - end)
    guard needed <= present else {
      throw .malformed(
        file: path, offset: fileByteCount, tensor: nil,
        problem: "the file is cut short: its tensors take \(needed) bytes, \(present) are there")
    }
    guard needed == present else {
      throw .malformed(
        file: path, offset: end + needed, tensor: nil, problem: "\(present - needed) bytes follow the last tensor")
    }
  }
}
