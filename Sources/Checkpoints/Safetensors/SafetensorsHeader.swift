internal import StrictJSON
internal import Tensors

/// What a safetensors file says before its data: names, types, extents and places, and the file's own metadata.
///
/// See `formats/safetensors.md`. A header that exists keeps every rule there: the tensors lie in order, without holes
/// or overlap, and each takes exactly the bytes that its type and shape need.
public struct SafetensorsHeader: Sendable, Equatable {
  /// One tensor and its place.
  public struct Entry: Sendable, Hashable {
    /// Name, type and extents.
    public let info: TensorInfo
    /// Its bytes, counted from the start of the data area.
    public let range: Range<Int>
  }

  /// Bytes that a header may take, as in the reference implementation.
  public static let largestByteCount = 100_000_000

  /// The tensors, in the order of their data.
  public let entries: [Entry]
  /// The file's `__metadata__`; empty where there is none.
  public let metadata: [String: String]
  /// Bytes before the data area: eight for the length, then the header text with its padding.
  public let dataOffset: Int
  private let positions: [String: Int]

  init(checked entries: [Entry], metadata: [String: String], dataOffset: Int) {
    self.entries = entries
    self.metadata = metadata
    self.dataOffset = dataOffset
    positions = Dictionary(entries.enumerated().map { ($1.info.name, $0) }, uniquingKeysWith: { first, _ in first })
  }

  /// The entry of one tensor, or `nil`.
  public subscript(name: String) -> Entry? { positions[name].map { entries[$0] } }

  /// Bytes of the data area.
  public var dataByteCount: Int { entries.last?.range.upperBound ?? 0 }
}

// MARK: Writing

extension SafetensorsHeader {
  /// A header for tensors that are laid out one after another, in the given order.
  ///
  /// - Parameters:
  ///   - tensors: names that differ, and shapes that take whole bytes; see ``inReferenceOrder(_:)``.
  ///   - metadata: texts for `__metadata__`; loaders want `"format": "pt"`.
  ///   - file: the file that is to be written, for messages.
  public init(
    tensors: [TensorInfo], metadata: [String: String] = [:], file: String = "safetensors file"
  ) throws(CheckpointError) {
    var entries: [Entry] = []
    entries.reserveCapacity(tensors.count)
    var names = Set<String>(minimumCapacity: tensors.count)
    var end = 0
    for tensor in tensors {
      func refuse(_ problem: String) -> CheckpointError {
        .malformed(file: file, offset: nil, tensor: tensor.name, problem: problem)
      }
      guard tensor.name != Self.metadataName else { throw refuse("no tensor may have this name") }
      guard names.insert(tensor.name).inserted else { throw refuse("the name is given twice") }
      guard let count = tensor.shape.byteCount(of: tensor.dtype) else {
        throw refuse("\(tensor.dtype.rawValue) \(tensor.shape) does not take a whole number of bytes that fits 63 bits")
      }
      let (next, overflow) = end.addingReportingOverflow(count)
      guard !overflow else { throw refuse("the data would not fit 63 bits") }
      entries.append(Entry(info: tensor, range: end..<next))
      end = next
    }
    // What is hopeless is refused before it is spelled out.
    let texts = metadata.reduce(0) { $0 + $1.key.utf8.count + $1.value.utf8.count }
    let count = texts > Self.largestByteCount ? 8 + texts : Self.encode(entries, metadata).count
    guard count - 8 <= Self.largestByteCount else {
      throw .malformed(
        file: file, offset: nil, tensor: nil,
        problem: "the header would take \(count - 8) bytes or more, at most \(Self.largestByteCount) are allowed")
    }
    self.init(checked: entries, metadata: metadata, dataOffset: count)
  }

  /// The start of a file with this header: the length, then compact JSON, padded with spaces to a multiple of 8.
  ///
  /// The same header gives the same bytes: metadata come first, sorted by bytes, then the tensors in their order.
  public var encoded: [UInt8] { Self.encode(entries, metadata) }

  /// The order in which the reference implementation writes: wide types first, then by name.
  ///
  /// Every tensor is then aligned for its type, which other orders do not give.
  public static func inReferenceOrder(_ tensors: [TensorInfo]) -> [TensorInfo] {
    let ranks = Dictionary(uniqueKeysWithValues: DType.allCases.enumerated().map { ($1, $0) })
    return tensors.sorted { first, second in
      let (one, other) = (ranks[first.dtype] ?? 0, ranks[second.dtype] ?? 0)
      return one == other ? first.name.utf8.lexicographicallyPrecedes(second.name.utf8) : one > other
    }
  }

  static let metadataName = "__metadata__"

  private static func encode(_ entries: [Entry], _ metadata: [String: String]) -> [UInt8] {
    var members: [JSONObject.Member] = []
    members.reserveCapacity(entries.count + 1)
    if !metadata.isEmpty {
      let sorted = metadata.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
      members.append(.init(metadataName, .object(JSONObject(sorted.map { .init($0.key, .string($0.value)) }))))
    }
    for entry in entries {
      members.append(
        .init(
          entry.info.name,
          [
            "dtype": .string(entry.info.dtype.rawValue),
            "shape": .array(entry.info.shape.extents.map(JSONValue.integer)),
            "data_offsets": [.integer(entry.range.lowerBound), .integer(entry.range.upperBound)],
          ]))
    }
    var text = Array(JSONValue.object(JSONObject(members)).compactText.utf8)
    text += [UInt8](repeating: 0x20, count: (8 - text.count % 8) % 8)
    return withUnsafeBytes(of: UInt64(text.count).littleEndian) { Array($0) } + text
  }
}
