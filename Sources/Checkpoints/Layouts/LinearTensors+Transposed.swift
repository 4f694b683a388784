internal import Quantization
internal import Tensors

/// AutoAWQ and GPTQ: integers with the input features outermost, `qweight`, `qzeros` and `scales`.
extension LinearTensors {
  /// The column of eight that each four bits of a word hold, lowest first.
  private static let awqOrder = [0, 2, 4, 6, 1, 3, 5, 7]

  /// AutoAWQ, version GEMM: `qweight` I32 [in, out/8], `qzeros` I32 [groups, out/8], `scales` [groups, out].
  func autoAWQ(
    _ quantization: WeightQuantization, _ grid: ScaleGrid, _ outFeatures: Int, _ inFeatures: Int
  ) throws(CheckpointError) -> StoredCodes {
    try refuse([".weight", ".g_idx"], beside: ".qweight")
    guard outFeatures % 8 == 0 else {
      throw refusal(".qweight", "\(outFeatures) output features are no multiple of 8")
    }
    try requireWholeGroups(grid, inFeatures, ".qweight")
    let words = outFeatures / 8
    let packed = try tensor(".qweight", [.int32], [[inFeatures, words]])
    let zeros = try tensor(".qzeros", [.int32], [[grid.columnGroups, words]])
    let scales = try scales(
      ".scales", of: quantization.format, Self.floatTypes, [[grid.columnGroups, outFeatures]], grid, isTransposed: true)
    let zeroPoints: @Sendable (Range<Int>) -> [Int8] = { rows in
      var result = [Int8](repeating: 0, count: rows.count * grid.columnGroups)
      zeros.withBytes { bytes in
        for row in rows {
          // Which four bits hold this column: the inverse of the order.
          let shift = 4 * (row % 2 == 0 ? row % 8 / 2 : row % 8 / 2 + 4)
          for group in 0..<grid.columnGroups {
            let zero = WordStream.word(bytes, group * words + row / 8) >> shift & 15
            result[(row - rows.lowerBound) * grid.columnGroups + group] = Int8(zero) - 8
          }
        }
      }
      return result
    }
    try requireMiddle(zeroPoints, quantization, grid, ".qzeros")
    let source = StoredCodes.Source.unpacked { rows, codes in
      packed.withBytes { bytes in
        // A few words of a line of memory at a time, so that it is not fetched for each of them.
        for first in stride(from: 0, to: inFeatures, by: 256) {
          for word in rows.lowerBound / 8..<(rows.upperBound + 7) / 8 {
            for (place, row) in Self.awqOrder.enumerated() where rows.contains(8 * word + row) {
              let target = codes + (8 * word + row - rows.lowerBound) * inFeatures
              // Two places are a byte.
              let (byte, shift) = (4 * word + place / 2, UInt8(place % 2 * 4))
              for column in first..<min(inFeatures, first + 256) {
                target[column] = (bytes[4 * column * words + byte] &>> shift & 15) &- 8
              }
            }
          }
        }
      }
    }
    return stored(
      quantization, outFeatures, inFeatures, source, scales, zeroPoints: quantization.isSymmetric ? nil : zeroPoints)
  }

  /// GPTQ: `qweight` I32 [in·b/32, out], `qzeros` I32 [groups, out·b/32], `scales` [groups, out], `g_idx` I32 [in].
  ///
  /// - Parameter bias: what is added to stored zero points: 1 in the first version of the format.
  func gptq(
    _ quantization: WeightQuantization, _ grid: ScaleGrid, _ outFeatures: Int, _ inFeatures: Int, bias: Int
  ) throws(CheckpointError) -> StoredCodes {
    let stream = WordStream(bits: quantization.format.bitWidth, isDense: true)
    try refuse([".weight"], beside: ".qweight")
    for (count, name) in [(outFeatures, "output"), (inFeatures, "input")] where count * stream.bits % 32 != 0 {
      throw refusal(".qweight", "\(count) \(name) features of \(stream.bits) bits do not fill 32-bit words")
    }
    try requireWholeGroups(grid, inFeatures, ".qweight")
    let packed = try tensor(".qweight", [.int32], [[stream.words(inFeatures), outFeatures]])
    let zeroWords = stream.words(outFeatures)
    let zeros = try tensor(".qzeros", [.int32], [[grid.columnGroups, zeroWords]])
    let scales = try scales(
      ".scales", of: quantization.format, Self.floatTypes, [[grid.columnGroups, outFeatures]], grid, isTransposed: true)
    let half = 1 << (stream.bits - 1)
    let zeroPoint = { @Sendable (bytes: UnsafeRawBufferPointer, row: Int, group: Int) in
      Int(stream.code(row, of: bytes, at: group * zeroWords, step: 1)) + bias - half
    }
    let largest = zeros.withBytes { bytes in
      (0..<outFeatures * grid.columnGroups).map { zeroPoint(bytes, $0 / grid.columnGroups, $0 % grid.columnGroups) }
        .max() ?? 0
    }
    // Packers of the first version spoil what lies beside a zero point of 0, and runtimes differ in what 2^b means.
    guard largest < half else {
      throw refusal(
        ".qzeros", "a zero point is \(largest + half), at most \(2 * half - 1) is possible; save the model as gptq_v2")
    }
    let zeroPoints: @Sendable (Range<Int>) -> [Int8] = { rows in
      zeros.withBytes { bytes in
        rows.flatMap { row in (0..<grid.columnGroups).map { Int8(zeroPoint(bytes, row, $0)) } }
      }
    }
    try requireMiddle(zeroPoints, quantization, grid, ".qzeros")
    let order = try order(".g_idx", grid, inFeatures: inFeatures)
    let source = StoredCodes.Source.unpacked { rows, codes in
      packed.withBytes { bytes in
        for row in rows {
          stream.unpack(
            inFeatures, from: bytes, at: row, step: outFeatures, minus: UInt8(half),
            to: codes + (row - rows.lowerBound) * inFeatures)
        }
      }
    }
    return stored(
      quantization, outFeatures, inFeatures, source, scales, zeroPoints: quantization.isSymmetric ? nil : zeroPoints,
      order: order)
  }

  /// Refuses a symmetric weight whose zero points are not the middle: runtimes that know it is symmetric ignore them.
  private func requireMiddle(
    _ zeroPoints: (Range<Int>) -> [Int8], _ quantization: WeightQuantization, _ grid: ScaleGrid, _ part: String
  ) throws(CheckpointError) {
    guard quantization.isSymmetric, let odd = zeroPoints(0..<grid.rowGroups).first(where: { $0 != 0 }) else { return }
    let half = 1 << (quantization.format.bitWidth - 1)
    throw refusal(
      part, "a zero point is \(Int(odd) + half), but the configuration says that weights are symmetric, all are \(half)"
    )
  }
}
