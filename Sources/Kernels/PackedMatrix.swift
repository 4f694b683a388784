package import CKernels
public import Tensors

/// A quantized weight `[outFeatures, inFeatures]` in the form that products read: panels of sixteen rows, described in
/// `QuantizedProduct.h`.
///
/// A weight is `(code − zeroPoint) · scale`, with one scale and zero point for each row and group of input features.
/// The matrix is never expanded to floats.
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
  private let codes: TensorStorage
  private let scales: TensorStorage
  private let zeroPoints: TensorStorage?

  /// Packs row-major codes of one byte each.
  ///
  /// - Parameters:
  ///   - kind: How codes are stored.
  ///   - codes: Codes `[outFeatures, inFeatures]` of any one-byte type; for ``Kind/uint4`` the upper nibbles are ignored.
  ///   - groupSize: Input features of a group, at least 1; `inFeatures` or more for one group a row.
  ///   - scales: `[outFeatures, groups]`, row-major.
  ///   - zeroPoints: Like `scales`; `nil` where all are 0.
  /// - Precondition: the counts agree and no float8 code is NaN.
  public init(_ kind: Kind, codes: Tensor, groupSize: Int, scales: [Float], zeroPoints: [Float]? = nil) {
    precondition(codes.shape.rank == 2 && codes.dtype.bitWidth == 8, "\(codes.dtype) \(codes.shape) are no codes")
    precondition(groupSize >= 1, "groups of \(groupSize)")
    let (outFeatures, inFeatures) = (codes.shape[0], codes.shape[1])
    let groups = ck_group_count(inFeatures, groupSize)
    precondition(scales.count == outFeatures * groups, "\(scales.count) scales for \(outFeatures) × \(groups) groups")
    precondition(
      (zeroPoints ?? scales).count == scales.count, "\(zeroPoints?.count ?? 0) zero points, \(scales.count) scales")
    self.kind = kind
    self.outFeatures = outFeatures
    self.inFeatures = inFeatures
    self.groupSize = groupSize
    self.codes = Self.packedCodes(kind, codes)
    let pack = { (values: [Float]) in
      TensorStorage(byteCount: ck_panel_count(outFeatures) * groups * Int(ck_panel_rows) * MemoryLayout<Float>.size) {
        ck_pack_group_values(values, outFeatures, groups, $0.assumingMemoryBound(to: Float.self).baseAddress)
      }
    }
    self.scales = pack(scales)
    self.zeroPoints = zeroPoints.map(pack)
  }

  /// Packs row-major codes of one byte each; see ``init(_:codes:groupSize:scales:zeroPoints:)``.
  public init(
    _ kind: Kind, codes: [UInt8], outFeatures: Int, inFeatures: Int, groupSize: Int, scales: [Float],
    zeroPoints: [Float]? = nil
  ) {
    precondition(codes.count == outFeatures * inFeatures, "\(codes.count) codes for \(outFeatures) × \(inFeatures)")
    let tensor = Tensor(.uint8, [outFeatures, inFeatures], bytes: codes)
    self.init(kind, codes: tensor, groupSize: groupSize, scales: scales, zeroPoints: zeroPoints)
  }

  /// Bytes that the packed codes, scales and zero points take.
  public var byteCount: Int { codes.bytes.count + scales.bytes.count + (zeroPoints?.bytes.count ?? 0) }

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
            withUnsafePointer(to: panels) {
              ck_dequantize_rows($0, indices[place], indices[place] + 1, rows?.advanced(by: place * columns))
            }
          }
        }
      }
    }
  }

  /// Groups of a row whose sums of activations the zero points need; none without zero points.
  var zeroPointGroups: Int { zeroPoints == nil ? 0 : ck_group_count(inFeatures, groupSize) }

  private static func packedCodes(_ kind: Kind, _ codes: Tensor) -> TensorStorage {
    let (outFeatures, inFeatures) = (codes.shape[0], codes.shape[1])
    let panelCount = ck_panel_count(outFeatures)
    return TensorStorage(byteCount: panelCount * ck_panel_code_bytes(kind.identifier, inFeatures)) { packed in
      codes.withBytes { bytes in
        precondition(kind != .float8E4M3 || !bytes.contains { $0 & 0x7F == 0x7F }, "a float8 code is NaN")
        nonisolated(unsafe) let source = bytes.assumingMemoryBound(to: UInt8.self).baseAddress
        nonisolated(unsafe) let target = packed.assumingMemoryBound(to: UInt8.self).baseAddress
        Parallel.forEachChunk(of: panelCount, size: 16) { panels in
          ck_pack_codes(
            kind.identifier, source, outFeatures, inFeatures, panels.lowerBound, panels.upperBound, target)
        }
      }
    }
  }

  package func withPanels<Result>(_ body: (ck_panels) -> Result) -> Result {
    withExtendedLifetime(self) {
      body(
        ck_panels(
          kind: kind.identifier, out: outFeatures, in: inFeatures, group_size: groupSize,
          codes: codes.bytes.assumingMemoryBound(to: UInt8.self).baseAddress,
          scales: scales.bytes.assumingMemoryBound(to: Float.self).baseAddress,
          zeros: zeroPoints?.bytes.assumingMemoryBound(to: Float.self).baseAddress))
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
