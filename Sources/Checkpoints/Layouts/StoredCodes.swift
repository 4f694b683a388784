internal import Kernels
internal import Quantization
internal import Tensors

/// One linear as its file holds it, whatever the layout: how to read its codes, scales and zero points for some rows.
///
/// Ŵ[n, k] = (code[n, k] − zeroPoint[g]) · scale[g], as in ``QuantizedTensor``; nothing is kept but views of the file
/// and the gains of columns.
struct StoredCodes: Sendable {
  /// Where the codes come from.
  enum Source: Sendable {
    /// One byte a code, `[outFeatures, codeColumns]`.
    case bytes(Tensor)
    /// Unpacked for a range of rows into `range.count × codeColumns` bytes.
    case unpacked(@Sendable (Range<Int>, UnsafeMutablePointer<UInt8>) -> Void)
    /// Read when they are packed, by ``packed()`` alone.
    case streamed(CodeStream)
  }

  let quantization: WeightQuantization
  let outFeatures: Int
  let inFeatures: Int
  let source: Source
  /// The scales of some row groups, `[rowGroups, columnGroups]`.
  let scales: StoredScales
  /// Like the scales; `nil` when symmetric.
  let zeroPoints: (@Sendable (Range<Int>) -> [Int8])?
  /// The group of each column where columns are out of order.
  let order: [Int32]?
  /// Gains of columns, where they have some.
  let columns: ColumnGains?

  /// Columns of codes: the input features, and further ones that read some of them again.
  private var codeColumns: Int { columns?.gains.count ?? inFeatures }

  var grid: ScaleGrid { ScaleGrid(quantization.granularity, outFeatures: outFeatures, inFeatures: inFeatures) }

  // MARK: Floats

  /// Rows that are unpacked at a time: their codes stay in the cache.
  private static let tile = 32

  /// Writes some rows as floats.
  func copyRows(_ range: Range<Int>, to floats: UnsafeMutableBufferPointer<Float>) {
    guard let target = floats.baseAddress, !range.isEmpty, inFeatures > 0 else { return }
    for start in stride(from: range.lowerBound, to: range.upperBound, by: Self.tile) {
      let rows = start..<min(range.upperBound, start + Self.tile)
      let place = target + (start - range.lowerBound) * inFeatures
      if case .bytes(let tensor) = source {
        tensor.rows(rows).withBytes { bytes in
          if let codes = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) { decode(rows, codes, place) }
        }
      } else {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: rows.count * codeColumns) { bytes in
          guard let codes = bytes.baseAddress else { return }
          copyCodes(rows, to: codes)
          decode(rows, codes, place)
        }
      }
    }
  }

  /// The value of each code of a float format.
  private static let float8 = Float8E4M3.decoded
  private static let float4 = Float4E2M1.decoded + [Float](repeating: 0, count: 240)

  private func decode(_ rows: Range<Int>, _ codes: UnsafePointer<UInt8>, _ floats: UnsafeMutablePointer<Float>) {
    if let columns { return decode(rows, codes, floats, columns) }
    let grid = grid
    let groups = rows.lowerBound / grid.rowsPerScale..<(rows.upperBound - 1) / grid.rowsPerScale + 1
    let scales = scales.values(groups)
    let zeros = zeroPoints.map { $0(groups).map(Float.init) } ?? [Float](repeating: 0, count: scales.count)
    let table = quantization.format == .float4E2M1 ? Self.float4 : Self.float8
    table.withUnsafeBufferPointer { table in
      for row in rows {
        let start = (row - rows.lowerBound) * inFeatures
        let cell = (row / grid.rowsPerScale - groups.lowerBound) * grid.columnGroups
        if let order {
          Self.decode(
            codes + start, floats + start, order, scales[cell..<cell + grid.columnGroups],
            zeros[cell..<cell + grid.columnGroups])
          continue
        }
        for group in 0..<grid.columnGroups {
          let (scale, zero) = (scales[cell + group], zeros[cell + group])
          let first = start + group * grid.columnsPerScale
          let count = min(grid.columnsPerScale, inFeatures - group * grid.columnsPerScale)
          let (source, target) = (codes + first, floats + first)
          if quantization.format.isFloat, let values = table.baseAddress {
            for index in 0..<count { target[index] = values[Int(source[index])] * scale }
          } else {
            for index in 0..<count { target[index] = (Float(Int8(bitPattern: source[index])) - zero) * scale }
          }
        }
      }
    }
  }

  /// Integers with a gain a row and a column.
  private func decode(
    _ rows: Range<Int>, _ codes: UnsafePointer<UInt8>, _ floats: UnsafeMutablePointer<Float>, _ columns: ColumnGains
  ) {
    let (gains, width) = (scales.values(rows), codeColumns)
    withUnsafeTemporaryAllocation(of: Float.self, capacity: width) { terms in
      guard let terms = terms.baseAddress else { return }
      for row in 0..<rows.count {
        for column in 0..<width { terms[column] = Float(Int8(bitPattern: codes[row * width + column])) * gains[row] }
        columns.combine(terms, into: floats + row * inFeatures)
      }
    }
  }

  /// A row of integers whose columns are out of order.
  private static func decode(
    _ codes: UnsafePointer<UInt8>, _ floats: UnsafeMutablePointer<Float>, _ order: [Int32], _ scales: ArraySlice<Float>,
    _ zeros: ArraySlice<Float>
  ) {
    order.withUnsafeBufferPointer { order in
      scales.withUnsafeBufferPointer { scales in
        zeros.withUnsafeBufferPointer { zeros in
          for column in order.indices {
            let group = Int(order[column])
            floats[column] = (Float(Int8(bitPattern: codes[column])) - zeros[group]) * scales[group]
          }
        }
      }
    }
  }

  private func copyCodes(_ rows: Range<Int>, to codes: UnsafeMutablePointer<UInt8>) {
    switch source {
    case .streamed(let stream): preconditionFailure("the codes of \(stream.name) were not read")
    case .unpacked(let unpack): unpack(rows, codes)
    case .bytes(let tensor):
      tensor.rows(rows).withBytes { bytes in
        UnsafeMutableRawBufferPointer(start: codes, count: bytes.count).copyMemory(from: bytes)
      }
    }
  }

  // MARK: Codes

  /// The codes as one quantized matrix; columns must be in order.
  func quantizedTensor() -> QuantizedTensor {
    let grid = grid
    let width = codeColumns
    let count = outFeatures * width
    let codes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      nonisolated(unsafe) let base = buffer.baseAddress
      Parallel.forEachRange(of: outFeatures, size: 64) { rows in
        if let base, width > 0 { copyCodes(rows, to: base + rows.lowerBound * width) }
      }
      initialized = count
    }
    return QuantizedTensor(
      quantization, outFeatures: outFeatures, inFeatures: inFeatures, codes: codes,
      scales: scales.values(0..<grid.rowGroups), scaleType: scales.exactType,
      zeroPoints: zeroPoints?(0..<grid.rowGroups), columns: columns)
  }

  /// The codes in the kernels' layout, as `quantizedTensor().packed()` gives them; columns must be in order.
  func packed() throws(CheckpointError) -> PackedMatrix {
    guard columns == nil else { return quantizedTensor().packed() }
    let (width, format) = (inFeatures, quantization.format)
    let kind: PackedMatrix.Kind
    var hasZeroPoints = zeroPoints != nil
    switch format {
    case .float8E4M3: kind = .float8E4M3
    case .int(let bits) where bits <= 4: (kind, hasZeroPoints) = (.uint4, true)
    case .int, .float4E2M1: kind = .int8
    }
    let groupSize = max(1, grid.columnsPerScale)
    if case .streamed(let stream) = source {
      return try stream.packed(
        kind, outFeatures: outFeatures, inFeatures: width, groupSize: groupSize, hasZeroPoints: hasZeroPoints
      ) { copyGroups($0, kind, scales: $1, zeros: $2) }
    }
    // Twice the float4 numbers are whole.
    let halves = Self.float4.map { UInt8(bitPattern: Int8(2 * $0)) }
    return PackedMatrix(
      kind, outFeatures: outFeatures, inFeatures: width, groupSize: groupSize, hasZeroPoints: hasZeroPoints
    ) { rows, codes, scales, zeros in
      copyCodes(rows, to: codes)
      let count = rows.count * width
      if kind == .uint4 { for index in 0..<count { codes[index] &+= 8 } }
      if format == .float4E2M1 { for index in 0..<count { codes[index] = halves[Int(codes[index])] } }
      copyGroups(rows, kind, scales: scales, zeros: zeros)
    }
  }

  /// Writes scales and zero points of some rows for codes of a kind, `[rows, groups]`.
  private func copyGroups(
    _ rows: Range<Int>, _ kind: PackedMatrix.Kind, scales: UnsafeMutablePointer<Float>,
    zeros: UnsafeMutablePointer<Float>?
  ) {
    let grid = grid
    let groups = rows.lowerBound / grid.rowsPerScale..<(rows.upperBound - 1) / grid.rowsPerScale + 1
    let factor: Float = quantization.format == .float4E2M1 ? 0.5 : 1
    let (values, points) = (self.scales.values(groups), zeroPoints?(groups))
    let offset: Float = kind == .uint4 ? 8 : 0
    for row in rows {
      let cell = (row / grid.rowsPerScale - groups.lowerBound) * grid.columnGroups
      let place = (row - rows.lowerBound) * grid.columnGroups
      for group in 0..<grid.columnGroups { scales[place + group] = values[cell + group] * factor }
      guard let zeros else { continue }
      if let points {
        for group in 0..<grid.columnGroups { zeros[place + group] = Float(points[cell + group]) + offset }
      } else {
        for group in 0..<grid.columnGroups { zeros[place + group] = offset }
      }
    }
  }

  /// What is wrong with the codes, all of which are read; `nil` for packed codes, which are all in range.
  func problem() -> String? {
    guard case .bytes(let tensor) = source, outFeatures > 0 else { return nil }
    let tile = 256
    let found = Parallel.map((outFeatures + tile - 1) / tile) { part in
      problem(of: tensor.rows(part * tile..<min(outFeatures, (part + 1) * tile)))
    }
    return found.lazy.compactMap(\.self).first
  }

  private func problem(of tensor: Tensor) -> String? {
    tensor.withBytes { bytes in
      switch quantization.format {
      case .float8E4M3:
        return bytes.contains { $0 & 0x7F == 0x7F } ? "a float8 code is NaN" : nil
      case .int(let bits) where bits < 8:
        let limit = 1 << (bits - 1)
        let odd = bytes.first { !(-limit..<limit).contains(Int(Int8(bitPattern: $0))) }
        return odd.map { "code \(Int8(bitPattern: $0)) is none of \(bits) bits" }
      case .int, .float4E2M1: return nil
      }
    }
  }
}
