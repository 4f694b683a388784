internal import CKernels
public import Kernels
public import Tensors

/// The weights of one linear as codes, scales and zero points: the one layout in memory.
///
/// Ŵ[n, k] = (code[n, k] − zeroPoint[g]) · scale[g], g the scale's rectangle that (n, k) lies in. With a gain a row and a
/// column, scales are the rows' gains and ``columns`` says the rest.
public struct QuantizedTensor: Sendable {
  /// How the weights are stored.
  public let quantization: WeightQuantization
  /// Number of output features.
  public let outFeatures: Int
  /// Number of input features.
  public let inFeatures: Int
  /// One byte a code, `[outFeatures, codeColumns]`: signed integers in two's complement, float8 codes,
  /// or float4 codes 0 … 15.
  public let codes: [UInt8]
  /// `[rowGroups, columnGroups]`; each is exactly representable in ``scaleType``, once divided by ``scaleDivisor``.
  ///
  /// Those of integers that other tools made may be negative or 0.
  public let scales: [Float]
  /// The element type that scales are stored in.
  public let scaleType: DType
  /// The number that scales stored as float8 are divided by; `nil` where scales are stored as they are.
  public let scaleDivisor: Float?
  /// Like the scales; `nil` when symmetric.
  public let zeroPoints: [Int8]?
  /// Gains of the columns, and further columns of codes, where there are such.
  public let columns: ColumnGains?

  /// A quantized matrix whose parts agree in size.
  public init(
    _ quantization: WeightQuantization, outFeatures: Int, inFeatures: Int, codes: [UInt8], scales: [Float],
    scaleType: DType, scaleDivisor: Float? = nil, zeroPoints: [Int8]?, columns: ColumnGains? = nil
  ) {
    self.quantization = quantization
    self.outFeatures = outFeatures
    self.inFeatures = inFeatures
    self.codes = codes
    self.scales = scales
    self.scaleType = scaleType
    self.scaleDivisor = scaleDivisor
    self.zeroPoints = zeroPoints
    precondition((scaleDivisor != nil) == (scaleType == .float8E4M3), "float8 scales, and only those, have a divisor")
    self.columns = columns
    precondition(
      (columns != nil) == (quantization.granularity == .perRowAndColumn), "column gains and granularity disagree")
    precondition(
      columns.map { $0.inFeatures == inFeatures } ?? true,
      "gains of \(columns?.inFeatures ?? 0) columns for \(inFeatures)")
    precondition(codes.count == outFeatures * codeColumns, "\(codes.count) codes for \(outFeatures) × \(codeColumns)")
    precondition(scales.count == grid.count, "\(scales.count) scales for \(grid.count) groups")
    precondition((zeroPoints == nil) == quantization.isSymmetric, "zero points and symmetry disagree")
    precondition(zeroPoints.map { $0.count == grid.count } ?? true, "as many zero points as scales")
  }

  /// Layout of the scales.
  public var grid: ScaleGrid {
    ScaleGrid(quantization.granularity, outFeatures: outFeatures, inFeatures: inFeatures)
  }

  /// Columns of codes: the input features, and further ones that read some of them again.
  public var codeColumns: Int { columns?.gains.count ?? inFeatures }
  /// How many of them are beyond the input features.
  public var splitColumns: Int { columns?.sources.count ?? 0 }

  /// Bits that the stored codes, scales, their divisor and zero points take, by the widths of their types; gains take a
  /// byte, sources of further columns four.
  public var bitCount: Int {
    if let columns {
      return codes.count * quantization.format.bitWidth + 8 * (outFeatures + inFeatures) + 32 * columns.sources.count
    }
    let zeroBits = zeroPoints == nil ? 0 : quantization.format.bitWidth
    return codes.count * quantization.format.bitWidth + scales.count * (scaleType.bitWidth + zeroBits)
      + (scaleDivisor == nil ? 0 : 32)
  }

  /// Scales and zero points for each output feature: `[outFeatures, columnGroups]`.
  private func spread<Value>(_ values: [Value]) -> [Value] {
    let grid = grid
    guard grid.rowsPerScale > 1 else { return values }
    var result: [Value] = []
    result.reserveCapacity(outFeatures * grid.columnGroups)
    for row in 0..<outFeatures {
      let start = row / grid.rowsPerScale * grid.columnGroups
      result += values[start..<start + grid.columnGroups]
    }
    return result
  }

  /// The matrix in the kernels' layout.
  public func packed() -> PackedMatrix {
    let kind: PackedMatrix.Kind
    var codes = codes
    var zeros: [Float]?
    var scales = spread(scales)
    switch quantization.format {
    case .float8E4M3: kind = .float8E4M3
    case .float4E2M1:
      // Twice these numbers are whole.
      kind = .int8
      codes = codes.map { UInt8(bitPattern: Int8(2 * Float4E2M1.decoded[Int($0)])) }
      scales = scales.map { $0 / 2 }
    case .int where columns != nil:
      let isSmall = codes.allSatisfy { (-8...7).contains(Int8(bitPattern: $0)) }
      kind = isSmall ? .uint4 : .int8
      if isSmall {
        codes = codes.map { $0 &+ 8 }
        zeros = [Float](repeating: 8, count: outFeatures)
      }
    case .int(let bits) where bits <= 4:
      kind = .uint4
      codes = codes.map { $0 &+ 8 }
      zeros =
        zeroPoints.map { spread($0).map { Float($0) + 8 } }
        ?? [Float](repeating: 8, count: outFeatures * grid.columnGroups)
    case .int:
      kind = .int8
      zeros = zeroPoints.map { spread($0).map { Float($0) } }
    }
    return PackedMatrix(
      kind, codes: codes, outFeatures: outFeatures, inFeatures: inFeatures,
      groupSize: max(1, columns == nil ? grid.columnsPerScale : codeColumns), scales: scales, zeroPoints: zeros,
      columns: columns)
  }

  /// The weights that the codes stand for, `[outFeatures, inFeatures]`.
  public func dequantized() -> Matrix {
    if let columns { return dequantized(columns) }
    let grid = grid
    var values = [Float](repeating: 0, count: codes.count)
    for row in 0..<outFeatures {
      for group in 0..<grid.columnGroups {
        let cell = row / grid.rowsPerScale * grid.columnGroups + group
        let zero = zeroPoints.map { Float($0[cell]) } ?? 0
        let start = row * inFeatures
        for column in group * grid.columnsPerScale..<min(inFeatures, (group + 1) * grid.columnsPerScale) {
          let code = codes[start + column]
          let number: Float
          switch quantization.format {
          case .float8E4M3: number = Float8E4M3.decoded[Int(code)]
          case .float4E2M1: number = Float4E2M1.decoded[Int(code)]
          case .int: number = Float(Int8(bitPattern: code))
          }
          values[start + column] = (number - zero) * scales[cell]
        }
      }
    }
    return Matrix(rows: outFeatures, columns: inFeatures, values: values)
  }
}

extension QuantizedTensor {
  /// ``dequantized()`` with a gain a row and a column.
  private func dequantized(_ columns: ColumnGains) -> Matrix {
    Matrix(rows: outFeatures, columns: inFeatures) { buffer in
      guard let weights = buffer.baseAddress else { return }
      let width = codeColumns
      withUnsafeTemporaryAllocation(of: Float.self, capacity: width) { terms in
        guard let base = terms.baseAddress else { return }
        for row in 0..<outFeatures {
          for column in 0..<width { base[column] = Float(Int8(bitPattern: codes[row * width + column])) * scales[row] }
          columns.combine(base, into: weights + row * inFeatures)
        }
      }
    }
  }
}

/// The numbers of float8 E4M3FN.
public enum Float8E4M3 {
  /// The codes of the nearest numbers, ties to the even code; what is beyond the largest becomes the largest.
  public static func codes(_ values: [Float]) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: values.count) { codes, count in
      count = values.count
      if let base = codes.baseAddress { ck_f32_to_e4m3(values, base, count) }
    }
  }

  /// The largest number.
  public static let largest: Float = 448

  /// The value of each code.
  public static let decoded: [Float] = Tensor(.float8E4M3, [256], bytes: Array(0...255)).floats()
}
