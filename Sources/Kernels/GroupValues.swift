internal import CKernels

/// Scales and zero points of a weight on their way into panels, in the smallest types that hold them exactly.
///
/// A product of one row reads them beside the codes: of 4-bit codes in groups of 128 they are 3 bytes in 67 where
/// scales are BF16 or F16 numbers and zero points whole, and would be 8 in 72 as floats.
struct GroupValues {
  let scaleKind: ck_value_kind
  let zeroKind: ck_value_kind
  private let scales: UnsafeBufferPointer<Float>
  private let zeroPoints: UnsafeBufferPointer<Float>?
  private let rows: Int
  private let groups: Int

  /// Row-major values `[rows, groups]`; `nil` for zero points that are all 0.
  init(_ scales: UnsafeBufferPointer<Float>, _ zeroPoints: UnsafeBufferPointer<Float>?, rows: Int) {
    scaleKind = ck_smallest_value_kind(scales.baseAddress, scales.count)
    zeroKind = zeroPoints.map { ck_smallest_value_kind($0.baseAddress, $0.count) } ?? ck_value_none
    groups = rows > 0 ? scales.count / rows : 0
    self.scales = scales
    self.zeroPoints = zeroPoints
    self.rows = rows
  }

  private var panelBytes: Int { groups * Int(ck_panel_rows) * (ck_value_bytes(scaleKind) + ck_value_bytes(zeroKind)) }

  /// Bytes of all panels.
  var byteCount: Int { ck_panel_count(rows) * panelBytes }

  /// Writes all panels.
  func pack(to target: UnsafeMutableRawPointer) {
    nonisolated(unsafe) let (scales, zeros) = (scales.baseAddress, zeroPoints?.baseAddress)
    nonisolated(unsafe) let target = target.assumingMemoryBound(to: UInt8.self)
    let (rows, groups, scaleKind, zeroKind, panelBytes) = (rows, groups, scaleKind, zeroKind, panelBytes)
    Parallel.forEachChunk(of: ck_panel_count(rows), size: 64) { panels in
      let (first, end) = (panels.lowerBound * Int(ck_panel_rows), panels.upperBound * Int(ck_panel_rows))
      ck_pack_group_values(
        scales?.advanced(by: first * groups), zeros?.advanced(by: first * groups), min(rows, end) - first, groups,
        scaleKind, zeroKind, target + panels.lowerBound * panelBytes)
    }
  }
}
