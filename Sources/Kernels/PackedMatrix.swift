package import CKernels
public import Tensors

/// A quantized weight `[outFeatures, inFeatures]` in the form that products read: panels of sixteen rows, described in
/// `QuantizedProduct.h`.
///
/// A weight is `(code − zeroPoint) · scale`, with one scale and zero point for each row and group of input features.
/// Columns may have gains besides: then it is what ``ColumnGains`` says. The matrix is never expanded to floats.
public struct PackedMatrix: Sendable {
  /// How a code is stored.
  public enum Kind: Sendable, CaseIterable {
    /// 0 … 15, two in a byte.
    case uint4
    /// −128 … 127.
    case int8
    /// OCP float8 without infinities; NaN does not occur.
    case float8E4M3
  }

  /// How codes are stored.
  public let kind: Kind
  /// Number of rows.
  public let outFeatures: Int
  /// Number of columns.
  public let inFeatures: Int
  /// Consecutive input features that share a scale; the last group of a row may have fewer.
  public let groupSize: Int
  /// Panels of codes, then of scales and zero points.
  var storage: TensorStorage
  let scaleKind: ck_value_kind
  let zeroKind: ck_value_kind
  /// Gains of the columns of codes, where they have some.
  let columns: ColumnGains?

  /// Packs row-major codes of one byte each.
  ///
  /// - Parameters:
  ///   - kind: How codes are stored.
  ///   - codes: Codes `[outFeatures, inFeatures]` of any one-byte type; for ``Kind/uint4`` the upper nibbles are ignored.
  ///     With gains there may be further columns.
  ///   - groupSize: Columns of a group, at least 1; as many as there are or more for one group a row.
  ///   - scales: `[outFeatures, groups]`, row-major.
  ///   - zeroPoints: Like `scales`; `nil` where all are 0.
  ///   - columns: Gains of all columns of codes.
  /// - Precondition: the counts agree and no float8 code is NaN.
  public init(
    _ kind: Kind, codes: Tensor, groupSize: Int, scales: [Float], zeroPoints: [Float]? = nil,
    columns: ColumnGains? = nil
  ) {
    precondition(codes.shape.rank == 2 && codes.dtype.bitWidth == 8, "\(codes.dtype) \(codes.shape) are no codes")
    precondition(groupSize >= 1, "groups of \(groupSize)")
    let outFeatures = codes.shape[0]
    let groups = ck_group_count(codes.shape[1], groupSize)
    precondition(scales.count == outFeatures * groups, "\(scales.count) scales for \(outFeatures) × \(groups) groups")
    precondition(
      (zeroPoints ?? scales).count == scales.count, "\(zeroPoints?.count ?? 0) zero points, \(scales.count) scales")
    precondition(
      (columns?.gains.count ?? codes.shape[1]) == codes.shape[1],
      "\(columns?.gains.count ?? 0) gains for \(codes.shape[1]) columns")
    self.kind = kind
    self.outFeatures = outFeatures
    self.inFeatures = columns?.inFeatures ?? codes.shape[1]
    self.columns = columns
    self.groupSize = groupSize
    let codeBytes = ck_panel_count(outFeatures) * ck_panel_code_bytes(kind.identifier, codes.shape[1])
    let pack = { (values: GroupValues) in
      let memory = PanelMemory(capacity: codeBytes + values.byteCount, expected: codeBytes + values.byteCount)
      Self.pack(codes, kind, to: memory.base)
      values.pack(to: memory.base + codeBytes)
      return (memory.storage(byteCount: codeBytes + values.byteCount), values.scaleKind, values.zeroKind)
    }
    (storage, scaleKind, zeroKind) = scales.withUnsafeBufferPointer { scales in
      guard let zeroPoints else { return pack(GroupValues(scales, nil, rows: outFeatures)) }
      return zeroPoints.withUnsafeBufferPointer { pack(GroupValues(scales, $0, rows: outFeatures)) }
    }
  }

  /// Packs row-major codes of one byte each; see ``init(_:codes:groupSize:scales:zeroPoints:columns:)``.
  public init(
    _ kind: Kind, codes: [UInt8], outFeatures: Int, inFeatures: Int, groupSize: Int, scales: [Float],
    zeroPoints: [Float]? = nil, columns: ColumnGains? = nil
  ) {
    let width = columns?.gains.count ?? inFeatures
    precondition(codes.count == outFeatures * width, "\(codes.count) codes for \(outFeatures) × \(width)")
    let tensor = Tensor(.uint8, [outFeatures, width], bytes: codes)
    self.init(
      kind, codes: tensor, groupSize: groupSize, scales: scales, zeroPoints: zeroPoints, columns: columns)
  }

  /// Writes codes of rows, `[rows, inFeatures]`, their scales and, where there are some, zero points,
  /// `[rows, groups]`.
  public typealias RowReader =
    @Sendable (
      _ rows: Range<Int>, _ codes: UnsafeMutablePointer<UInt8>, _ scales: UnsafeMutablePointer<Float>,
      _ zeroPoints: UnsafeMutablePointer<Float>?
    ) -> Void

  /// Packs rows as they are read, sixteen at a time and on all cores, so that no codes are held twice; see
  /// ``init(_:codes:groupSize:scales:zeroPoints:columns:)``.
  public init(
    _ kind: Kind, outFeatures: Int, inFeatures: Int, groupSize: Int, hasZeroPoints: Bool, reading read: RowReader
  ) {
    precondition(groupSize >= 1, "groups of \(groupSize)")
    self.kind = kind
    self.outFeatures = outFeatures
    self.inFeatures = inFeatures
    self.groupSize = groupSize
    columns = nil
    let (lanes, panelCount) = (Int(ck_panel_rows), ck_panel_count(outFeatures))
    let (groups, codeBytes) = (ck_group_count(inFeatures, groupSize), ck_panel_code_bytes(kind.identifier, inFeatures))
    // Most scales are BF16 or F16 numbers and zero points whole, but nobody knows before all are read.
    let most = panelCount * groups * lanes * MemoryLayout<Float>.size * (hasZeroPoints ? 2 : 1)
    let memory = PanelMemory(
      capacity: panelCount * codeBytes + most,
      expected: panelCount * codeBytes + panelCount * groups * lanes * (hasZeroPoints ? 3 : 2))
    let identifier = kind.identifier
    let count = outFeatures * groups
    let floats = UnsafeMutableBufferPointer<Float>.allocate(capacity: hasZeroPoints ? 2 * count : count)
    defer { floats.deallocate() }
    nonisolated(unsafe) let scales = floats.baseAddress
    Parallel.forEach(panelCount) { panel in
      let rows = panel * lanes..<min(outFeatures, (panel + 1) * lanes)
      withUnsafeTemporaryAllocation(of: UInt8.self, capacity: rows.count * inFeatures) { codes in
        guard let codes = codes.baseAddress, let scales else { return }
        let place = scales + rows.lowerBound * groups
        read(rows, codes, place, hasZeroPoints ? place + count : nil)
        ck_pack_codes(
          identifier, codes, rows.count, inFeatures, 0, 1,
          (memory.base + panel * codeBytes).assumingMemoryBound(to: UInt8.self))
      }
    }
    let values = GroupValues(
      UnsafeBufferPointer(rebasing: floats[..<count]),
      hasZeroPoints ? UnsafeBufferPointer(rebasing: floats[count...]) : nil, rows: outFeatures)
    values.pack(to: memory.base + panelCount * codeBytes)
    storage = memory.storage(byteCount: panelCount * codeBytes + values.byteCount)
    (scaleKind, zeroKind) = (values.scaleKind, values.zeroKind)
  }

  /// Columns of codes: the input features, and further ones that read some of them again.
  var codeColumns: Int { columns?.gains.count ?? inFeatures }

  /// Bytes that the packed codes, scales, zero points and gains take.
  public var byteCount: Int {
    storage.bytes.count + (columns?.gains.count ?? 0) * MemoryLayout<Float>.size
  }

  /// Some rows of weights.
  public func dequantizedRows(_ range: Range<Int>) -> Matrix { dequantizedRows(at: Array(range)) }

  /// Rows of weights in any order, such as the embeddings of tokens.
  public func dequantizedRows(at indices: [Int]) -> Matrix {
    precondition(indices.allSatisfy { (0..<outFeatures).contains($0) }, "rows \(indices) of \(outFeatures)")
    guard !indices.isEmpty, inFeatures > 0 else { return Matrix(rows: indices.count, columns: inFeatures) }
    return Matrix(rows: indices.count, columns: inFeatures) { buffer in
      withPanels { panels in
        nonisolated(unsafe) let (panels, rows) = (panels, buffer.baseAddress)
        let columns = inFeatures
        Parallel.forEachChunk(of: indices.count, size: 64) { chunk in
          for place in chunk {
            guard let target = rows?.advanced(by: place * columns) else { continue }
            withUnsafePointer(to: panels) { dequantize($0, row: indices[place], into: target) }
          }
        }
      }
    }
  }

  private func dequantize(_ panels: UnsafePointer<ck_panels>, row: Int, into weights: UnsafeMutablePointer<Float>) {
    guard let columns else { return ck_dequantize_rows(panels, row, row + 1, weights) }
    withUnsafeTemporaryAllocation(of: Float.self, capacity: codeColumns) { terms in
      guard let terms = terms.baseAddress else { return }
      ck_dequantize_rows(panels, row, row + 1, terms)
      columns.combine(terms, into: weights)
    }
  }

  /// Groups of a row whose sums of activations the zero points need; none without zero points.
  var zeroPointGroups: Int { zeroKind == ck_value_none ? 0 : ck_group_count(codeColumns, groupSize) }

  private static func pack(_ codes: Tensor, _ kind: Kind, to target: UnsafeMutableRawPointer) {
    let (outFeatures, inFeatures) = (codes.shape[0], codes.shape[1])
    codes.withBytes { bytes in
      precondition(kind != .float8E4M3 || !bytes.contains { $0 & 0x7F == 0x7F }, "a float8 code is NaN")
      nonisolated(unsafe) let source = bytes.assumingMemoryBound(to: UInt8.self).baseAddress
      nonisolated(unsafe) let target = target.assumingMemoryBound(to: UInt8.self)
      Parallel.forEachChunk(of: ck_panel_count(outFeatures), size: 16) { panels in
        ck_pack_codes(kind.identifier, source, outFeatures, inFeatures, panels.lowerBound, panels.upperBound, target)
      }
    }
  }

  package func withPanels<Result>(_ body: (ck_panels) -> Result) -> Result {
    withExtendedLifetime(self) {
      let codes = storage.bytes.assumingMemoryBound(to: UInt8.self).baseAddress
      let codeBytes = ck_panel_count(outFeatures) * ck_panel_code_bytes(kind.identifier, codeColumns)
      return body(
        ck_panels(
          kind: kind.identifier, out: outFeatures, in: codeColumns, group_size: groupSize, codes: codes,
          values: codes?.advanced(by: codeBytes), scales: scaleKind, zeros: zeroKind))
    }
  }
}

extension Parallel {
  /// Runs tasks over chunks of a fixed size, so that results cannot depend on the number of threads.
  static func forEachChunk(of count: Int, size: Int, _ body: @Sendable (Range<Int>) -> Void) {
    forEach((count + size - 1) / size) { body($0 * size..<min(count, ($0 + 1) * size)) }
  }
}

extension PackedMatrix.Kind {
  var identifier: ck_code_kind {
    switch self {
    case .uint4: ck_code_uint4
    case .int8: ck_code_int8
    case .float8E4M3: ck_code_e4m3
    }
  }
}
