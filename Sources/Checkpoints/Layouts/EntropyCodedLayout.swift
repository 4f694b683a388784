internal import Kernels
public import Quantization
public import Tensors

/// Quantized linears as `formats/entropy-coded.md` spells them: integers column by column, so that zstd's Huffman tables
/// see like columns together, with gains of rows and columns.
///
/// | tensor | type and shape |
/// |---|---|
/// | `weight_codes` | I8 [in + E, out], or U8 [in + E, ⌈out/2⌉] for codes of 4 bits |
/// | `weight_column_class` | U8 [in + E] |
/// | `weight_row_gain` | U8 [out] |
/// | `weight_column_gain` | U8 [in] |
/// | `weight_split_source` | I32 [E]; not there where E = 0 |
public enum EntropyCodedLayout {
  static let codesPart = ".weight_codes"
  static let classPart = ".weight_column_class"
  static let rowGainPart = ".weight_row_gain"
  static let columnGainPart = ".weight_column_gain"
  static let splitPart = ".weight_split_source"
  static let parts = [codesPart, classPart, rowGainPart, columnGainPart, splitPart]

  /// The tensors that a linear of this shape becomes, known before any weight is read.
  ///
  /// - Parameters:
  ///   - bits: of a stored code, 8 or 4.
  ///   - splitColumns: most further columns of codes that the linear may need, ``CodeDigits/splitsNeeded(_:columns:)``;
  ///     those it does not need hold zeros and take next to nothing.
  public static func plan(
    linear: String, bits: Int, outFeatures: Int, inFeatures: Int, splitColumns: Int
  ) -> [(info: TensorInfo, compression: Compression)] {
    precondition(bits == 8 || bits == 4, "codes of \(bits) bits")
    let columns = inFeatures + splitColumns
    func planned(_ part: String, _ type: DType, _ shape: Shape, _ compression: Compression = .codes) -> (
      info: TensorInfo, compression: Compression
    ) { (TensorInfo(name: linear + part, dtype: type, shape: shape), compression) }
    let tensors = [
      planned(codesPart, codeType(bits), [columns, lineBytes(bits, outFeatures)], .columns),
      planned(classPart, .uint8, [columns]), planned(rowGainPart, .uint8, [outFeatures]),
      planned(columnGainPart, .uint8, [inFeatures]),
    ]
    return splitColumns == 0 ? tensors : tensors + [planned(splitPart, .int32, [splitColumns])]
  }

  static func codeType(_ bits: Int) -> DType { bits == 8 ? .int8 : .uint8 }

  /// Bytes of a stored column.
  static func lineBytes(_ bits: Int, _ outFeatures: Int) -> Int { bits == 8 ? outFeatures : (outFeatures + 1) / 2 }

  /// The linear's tensors, in the order of ``plan(linear:bits:outFeatures:inFeatures:splitColumns:)``.
  ///
  /// - Parameters:
  ///   - weight: with gains on the grids, ``QuantizedTensor/init(integers:outFeatures:inFeatures:rowGains:columnGains:bits:)``.
  ///   - splitColumns: as planned.
  /// - Precondition: the weight has no more further columns than planned.
  public static func encode(
    _ weight: QuantizedTensor, linear: String, splitColumns: Int
  ) -> [(name: String, tensor: Tensor)] {
    guard let columns = weight.columns else { preconditionFailure("\(linear) has no gains of columns") }
    let (inFeatures, further) = (weight.inFeatures, columns.sources.count)
    precondition(further <= splitColumns, "\(linear) needs \(further) further columns, \(splitColumns) are planned")
    let rowGains = codes(weight.scales, GainGrid.rows)
    let columnGains = codes(Array(columns.gains.prefix(inFeatures)), GainGrid.columns)
    let classes = weight.columnClasses + [UInt8](repeating: 0, count: splitColumns - further)
    var result = [
      (linear + codesPart, lines(weight, QuantizedTensor.storedPlaces(classes))),
      (linear + classPart, Tensor(.uint8, [classes.count], bytes: classes)),
      (linear + rowGainPart, Tensor(.uint8, [weight.outFeatures], bytes: rowGains)),
      (linear + columnGainPart, Tensor(.uint8, [inFeatures], bytes: columnGains)),
    ]
    if splitColumns > 0 {
      let sources = columns.sources.map { Int32($0) } + [Int32](repeating: unused, count: splitColumns - further)
      result.append(
        (
          linear + splitPart,
          Tensor(.int32, [splitColumns]) { bytes in
            sources.map(\.littleEndian).withUnsafeBytes { bytes.copyMemory(from: $0) }
          }
        ))
    }
    return result
  }

  /// The source of a further column that is not used.
  static let unused: Int32 = -1

  private static func codes(_ gains: [Float], _ grid: GainGrid) -> [UInt8] {
    gains.map { gain in
      guard let code = grid.code(of: gain) else { preconditionFailure("gain \(gain) is not on the grid") }
      return code
    }
  }

  /// The columns one after the other, each at its place.
  private static func lines(_ weight: QuantizedTensor, _ places: [Int]) -> Tensor {
    let (bits, rows, width) = (weight.quantization.format.bitWidth, weight.outFeatures, weight.codeColumns)
    let lineBytes = lineBytes(bits, rows)
    return Tensor(codeType(bits), [places.count, lineBytes]) { bytes in
      // Columns that are not used stay zero.
      bytes.initializeMemory(as: UInt8.self, repeating: 0)
      nonisolated(unsafe) let target = bytes.assumingMemoryBound(to: UInt8.self).baseAddress
      weight.codes.withUnsafeBufferPointer { codes in
        nonisolated(unsafe) let codes = codes
        Parallel.forEachRange(of: rows, size: 64) { range in
          guard let target else { return }
          for column in 0..<width {
            let line = target + places[column] * lineBytes
            if bits == 8 {
              for row in range { line[row] = codes[row * width + column] }
            } else {
              for row in range {
                let nibble = codes[row * width + column] & 15
                line[row / 2] |= row % 2 == 0 ? nibble : nibble << 4
              }
            }
          }
        }
      }
    }
  }
}
