internal import CKernels
public import Tensors

extension PackedMatrix {
  /// What a packed matrix is, its bytes left out: one line of text, out of which and the bytes it can be made again.
  ///
  /// The bytes are its panels, then the gains of its columns as F32 and the features that further columns read as I32,
  /// where it has some. What panels look like belongs to a version of this program: ``layoutVersion``.
  public struct Format: Hashable, Sendable, LosslessStringConvertible {
    let kind: Kind
    let outFeatures: Int
    let inFeatures: Int
    let groupSize: Int
    let scaleKind: ck_value_kind
    let zeroKind: ck_value_kind
    /// Columns of codes that have gains: none, or all.
    let gains: Int

    /// Extents up to which no product of them overflows.
    private static let largestExtent = 1 << 28

    init(_ matrix: PackedMatrix) {
      kind = matrix.kind
      outFeatures = matrix.outFeatures
      inFeatures = matrix.inFeatures
      groupSize = matrix.groupSize
      scaleKind = matrix.scaleKind
      zeroKind = matrix.zeroKind
      gains = matrix.columns?.gains.count ?? 0
    }

    /// Reads ``description``.
    public init?(_ description: String) {
      let words = description.split(separator: " ", omittingEmptySubsequences: false)
      guard words.count == 7, let kind = Kind.allCases.first(where: { "\($0)" == words[0] }),
        let outFeatures = Int(words[1]), let inFeatures = Int(words[2]), let groupSize = Int(words[3]),
        let scales = UInt32(words[4]), let zeros = UInt32(words[5]), let gains = Int(words[6])
      else { return nil }
      let known = ck_value_none.rawValue...ck_value_f32.rawValue
      guard (1...Self.largestExtent).contains(outFeatures), (1...Self.largestExtent).contains(inFeatures),
        groupSize >= 1, known.contains(scales), scales != ck_value_none.rawValue, known.contains(zeros),
        gains == 0 || (inFeatures...Self.largestExtent).contains(gains)
      else { return nil }
      (self.kind, self.outFeatures, self.inFeatures, self.groupSize) = (kind, outFeatures, inFeatures, groupSize)
      (scaleKind, zeroKind, self.gains) = (ck_value_kind(scales), ck_value_kind(zeros), gains)
      guard self.description == description else { return nil }
    }

    /// Kind, rows, columns, columns of a group, kinds of scales and of zero points, columns with gains.
    public var description: String {
      "\(kind) \(outFeatures) \(inFeatures) \(groupSize) \(scaleKind.rawValue) \(zeroKind.rawValue) \(gains)"
    }

    private var columns: Int { gains > 0 ? gains : inFeatures }
    fileprivate var panelBytes: Int {
      let values = ck_value_bytes(scaleKind) + ck_value_bytes(zeroKind)
      return ck_panel_count(outFeatures)
        * (ck_panel_code_bytes(kind.identifier, columns)
          + ck_group_count(columns, groupSize) * Int(ck_panel_rows) * values)
    }
    fileprivate var gainBytes: Int { gains * MemoryLayout<Float>.size }
    fileprivate var sourceBytes: Int { max(0, gains - inFeatures) * MemoryLayout<Int32>.size }

    /// Bytes that the matrix takes.
    public var byteCount: Int { panelBytes + gainBytes + sourceBytes }
  }

  /// Changes whenever the bytes behind a ``Format`` come to mean something else.
  public static let layoutVersion = 1

  /// What the matrix is, its bytes left out.
  public var format: Format { Format(self) }

  /// Lends the bytes that belong to ``format``, part after part.
  public func withStoredParts<Failure: Error>(
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Void
  ) throws(Failure) {
    let gains = columns?.gains ?? []
    let sources = columns?.sources.map { Int32($0) } ?? []
    let others = gains.withUnsafeBytes { Array($0) } + sources.withUnsafeBytes { Array($0) }
    try body(storage.bytes)
    let result = others.withUnsafeBytes { bytes in Result { () throws(Failure) in try body(bytes) } }
    try result.get()
  }

  /// A matrix whose panels stay where they are, such as in a mapped file; `nil` where the bytes do not fit the format.
  public init?(_ format: Format, stored: TensorStorage) {
    guard stored.bytes.count == format.byteCount else { return nil }
    if format.gains > 0 {
      let gains = [Float](unsafeUninitializedCapacity: format.gains) { buffer, count in
        let start = format.panelBytes
        UnsafeMutableRawBufferPointer(buffer).copyMemory(
          from: UnsafeRawBufferPointer(rebasing: stored.bytes[start..<start + format.gainBytes]))
        count = format.gains
      }
      let sources = (0..<format.gains - format.inFeatures).map { index in
        let offset = format.panelBytes + format.gainBytes + index * MemoryLayout<Int32>.size
        return Int(stored.bytes.loadUnaligned(fromByteOffset: offset, as: Int32.self))
      }
      guard sources.allSatisfy({ (0..<format.inFeatures).contains($0) }) else { return nil }
      columns = ColumnGains(gains, sources: sources)
    } else {
      columns = nil
    }
    kind = format.kind
    outFeatures = format.outFeatures
    inFeatures = format.inFeatures
    groupSize = format.groupSize
    scaleKind = format.scaleKind
    zeroKind = format.zeroKind
    storage = stored.part(0..<format.panelBytes)
  }

  /// The same matrix in memory of its own, with large pages where the system has some.
  public func inOwnMemory() -> PackedMatrix {
    let bytes = storage.bytes
    let memory = PanelMemory(capacity: bytes.count, expected: bytes.count)
    UnsafeMutableRawBufferPointer(start: memory.base, count: bytes.count).copyMemory(from: bytes)
    var copy = self
    copy.storage = memory.storage(byteCount: bytes.count)
    return copy
  }
}
