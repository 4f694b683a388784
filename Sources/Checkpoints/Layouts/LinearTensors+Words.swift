internal import Kernels
internal import Quantization
internal import Tensors

/// Integers that compressed-tensors packs into 32-bit words along the input features, offset by 2^(b−1).
extension LinearTensors {
  func packedIntegers(
    _ quantization: WeightQuantization, _ grid: ScaleGrid, _ outFeatures: Int, _ inFeatures: Int
  ) throws(CheckpointError) -> StoredCodes {
    let bits = quantization.format.bitWidth
    try refuse([".weight"], beside: ".weight_packed")
    // Releases before the dense stream left the bits over that no whole code fits in.
    let (dense, sparse) = (WordStream(bits: bits, isDense: true), WordStream(bits: bits, isDense: false))
    let shapes: [Shape] = [[outFeatures, dense.words(inFeatures)], [outFeatures, sparse.words(inFeatures)]]
    let packed = try checked(".weight_packed", [.int32], Array(shapes.prefix(shapes[0] == shapes[1] ? 1 : 2)))
    let stream = packed.shape == shapes[0] ? dense : sparse
    let scales = try scales(
      ".weight_scale", of: quantization.format, Self.floatTypes, Self.scaleShapes(quantization.granularity, grid), grid)
    var zeroPoints: (@Sendable (Range<Int>) -> [Int8])?
    if quantization.isSymmetric {
      try refuseZeroPoints()
    } else {
      let zeros = try tensor(".weight_zero_point", [.int32], [[stream.words(outFeatures), grid.columnGroups]])
      zeroPoints = { Self.zeroPoints(zeros, $0, grid.columnGroups, stream) }
    }
    let shape = integers(try tensor(".weight_shape", [.int64, .int32], [[2]]))
    guard shape == [outFeatures, inFeatures] else {
      throw refusal(".weight_shape", "is \(shape), the configuration says [\(outFeatures), \(inFeatures)]")
    }
    let order = try order(".weight_g_idx", grid, inFeatures: inFeatures)
    let source: StoredCodes.Source
    if order == nil, bits == 4 || bits == 8,
      let streamed = streamed(
        ".weight_packed", bits == 4 ? .uint4 : .int8, inFeatures: inFeatures, flip: bits == 4 ? 0 : 0x8080_8080)
    {
      source = streamed
    } else {
      source = .unpacked(Self.unpacking(try self.source.tensor(packed.name), stream, inFeatures))
    }
    return stored(
      quantization, outFeatures, inFeatures, source, scales, zeroPoints: zeroPoints, order: order)
  }

  /// Codes of some rows out of words.
  private static func unpacking(
    _ packed: Tensor, _ stream: WordStream, _ inFeatures: Int
  ) -> @Sendable (Range<Int>, UnsafeMutablePointer<UInt8>) -> Void {
    { rows, codes in
      packed.rows(rows).withBytes { bytes in
        let words = stream.words(inFeatures)
        for row in 0..<rows.count {
          stream.unpack(
            inFeatures, from: bytes, at: row * words, step: 1, minus: 1 << (stream.bits - 1),
            to: codes + row * inFeatures)
        }
      }
    }
  }

  /// Zero points are packed along the output features: a column of words for each group.
  private static func zeroPoints(
    _ zeros: Tensor, _ rows: Range<Int>, _ groups: Int, _ stream: WordStream
  ) -> [Int8] {
    zeros.withBytes { bytes in
      var result: [Int8] = []
      result.reserveCapacity(rows.count * groups)
      for row in rows {
        for group in 0..<groups {
          let code = stream.code(row, of: bytes, at: group, step: groups)
          result.append(Int8(truncatingIfNeeded: Int(code) - 1 << (stream.bits - 1)))
        }
      }
      return result
    }
  }
}

/// Unsigned codes of some bits in little-endian 32-bit words, lowest bits first.
struct WordStream: Sendable {
  let bits: Int
  /// Whether codes run on across words; otherwise each word holds as many as fit whole.
  let isDense: Bool

  private var perWord: Int { 32 / bits }

  /// Words that codes take.
  func words(_ count: Int) -> Int { isDense ? (count * bits + 31) / 32 : (count + perWord - 1) / perWord }

  /// One code.
  ///
  /// - Parameters:
  ///   - first: the word where the stream begins.
  ///   - step: words from one of the stream to the next.
  func code(_ index: Int, of bytes: UnsafeRawBufferPointer, at first: Int, step: Int) -> UInt32 {
    let bit = isDense ? index * bits : index / perWord * 32 + index % perWord * bits
    let place = first + bit / 32 * step
    var window = UInt64(Self.word(bytes, place))
    if bit % 32 + bits > 32 { window |= UInt64(Self.word(bytes, place + step)) << 32 }
    return UInt32(truncatingIfNeeded: window >> (bit % 32)) & (1 << bits - 1)
  }

  /// The first codes, each less an offset, as bytes.
  func unpack(
    _ count: Int, from bytes: UnsafeRawBufferPointer, at first: Int, step: Int, minus offset: UInt8,
    to codes: UnsafeMutablePointer<UInt8>
  ) {
    var index = 0
    // Where no code crosses words, whole words at a time; the widths are constants so that the loops unroll.
    switch bits {
    case 2: index = Self.unpackWords(2, count, bytes, first, step, offset, codes)
    case 4: index = Self.unpackWords(4, count, bytes, first, step, offset, codes)
    case 8: index = Self.unpackWords(8, count, bytes, first, step, offset, codes)
    default: break
    }
    while index < count {
      codes[index] = UInt8(truncatingIfNeeded: code(index, of: bytes, at: first, step: step)) &- offset
      index += 1
    }
  }

  /// Returns the number of codes.
  @inline(__always)
  private static func unpackWords(
    _ bits: Int, _ count: Int, _ bytes: UnsafeRawBufferPointer, _ first: Int, _ step: Int, _ offset: UInt8,
    _ codes: UnsafeMutablePointer<UInt8>
  ) -> Int {
    guard let base = bytes.baseAddress else { return 0 }
    let perWord = 32 / bits
    let mask = UInt32(1) << bits - 1
    for index in 0..<count / perWord {
      let word = UInt32(
        littleEndian: base.loadUnaligned(fromByteOffset: 4 * (first + index * step), as: UInt32.self))
      let target = codes + index * perWord
      for place in 0..<perWord {
        target[place] = UInt8(truncatingIfNeeded: word &>> UInt32(place * bits) & mask) &- offset
      }
    }
    return count / perWord * perWord
  }

  static func word(_ bytes: UnsafeRawBufferPointer, _ index: Int) -> UInt32 {
    UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self))
  }
}
