import Quantization
import Tensors
import TestSupport
import Testing

@testable import Calibration

@Suite struct PreparedWeightTests {
  static let schemes =
    QuantizationScheme.all
    + [
      WeightQuantization(.int(bits: 2), .perGroup(size: 43), isSymmetric: false),
      WeightQuantization(.int(bits: 3), .perChannel, isSymmetric: false),
      WeightQuantization(.int(bits: 4), .perGroup(size: 32)),
      WeightQuantization(.int(bits: 8), .perGroup(size: 32), isSymmetric: false),
      WeightQuantization(.float8E4M3, .perBlock(rows: 5, columns: 48)),
      WeightQuantization(.float4E2M1, .perGroup(size: 16)),
    ].map { QuantizationScheme(name: "\($0)", weights: $0) }
  private static let (rows, columns) = (37, 172)

  private static func source(_ type: DType) -> WeightRows {
    var generator = SeededGenerator(seed: 8)
    let values = generator.normals(rows * columns).map { $0 * 0.1 + 0.02 }
    return WeightRows(Tensor([rows, columns], floats: values, as: type))
  }

  /// Columns multiplied, some rows divided, ranges shrunk where that means anything.
  private static func prepared(_ scheme: QuantizationScheme?, _ type: DType, isFolded: Bool) -> PreparedWeight {
    var weight = PreparedWeight(source(type), scheme: scheme, storedType: type)
    var generator = SeededGenerator(seed: 9)
    if isFolded {
      weight.columnFactors = (0..<columns).map { _ in Float.random(in: 0.1..<9, using: &generator) }
      weight.rowDivisors = (0..<rows).map { $0 % 3 == 0 ? 1 : Float.random(in: 0.1..<9, using: &generator) }
    }
    if case .int(let bits)? = scheme?.weights.format, bits < 8, isFolded {
      let grid = ScaleGrid(
        scheme?.weights.granularity ?? .perChannel, outFeatures: rows, inFeatures: columns)
      weight.shrink = (0..<grid.count).map { _ in Float.random(in: 0.55..<1.05, using: &generator) }
    }
    return weight
  }

  private static func bits(_ matrix: Matrix) -> [UInt32] { matrix.values.map(\.bitPattern) }

  @Test(arguments: schemes, [DType.bfloat16, .float16, .float32])
  func `what is judged is what the codes stand for, bit for bit and for rows of any cut`(
    scheme: QuantizationScheme, type: DType
  ) {
    for isFolded in [false, true] {
      let weight = Self.prepared(scheme, type, isFolded: isFolded)
      let codes = Self.bits(weight.quantized().dequantized())
      let stored = weight.stored
      #expect(Self.bits(stored.matrix()) == codes)
      for range in [0..<1, 36..<37, 3..<20, 5..<10, 16..<32, 0..<36] {
        let part = codes[range.lowerBound * Self.columns..<range.upperBound * Self.columns]
        #expect(Self.bits(stored.rows(range)) == Array(part), "rows \(range)")
      }
    }
  }

  @Test(arguments: [DType.bfloat16, .float16, .float32])
  func `what is kept in floats is judged as it is stored`(type: DType) {
    for isFolded in [false, true] {
      let weight = Self.prepared(nil, type, isFolded: isFolded)
      let kept = weight.kept()
      #expect(kept.dtype == type && kept.shape == [Self.rows, Self.columns])
      #expect(Self.bits(weight.stored.matrix()) == kept.floats().map(\.bitPattern))
      #expect(Self.bits(weight.stored.rows(7..<9)) == kept.rows(7..<9).floats().map(\.bitPattern))
      if !isFolded { #expect(Self.bits(weight.stored.matrix()) == Self.bits(Self.source(type).matrix())) }
    }
    // A source whose numbers its own type cannot hold, as another layout's codes may be.
    var generator = SeededGenerator(seed: 10)
    let rows = WeightRows(Matrix(rows: 5, columns: 9, values: generator.normals(45)), storedType: type)
    let weight = PreparedWeight(rows, scheme: nil, storedType: type)
    #expect(Self.bits(weight.stored.matrix()) == weight.kept().floats().map(\.bitPattern))
  }

  @Test func `columns are multiplied and rows divided, in this order`() {
    let weight = Self.prepared(nil, .float32, isFolded: true)
    let (source, scaled) = (Self.source(.float32).matrix(), weight.scaled.matrix())
    #expect(weight.isFolded)
    for row in 0..<Self.rows {
      for column in 0..<Self.columns {
        let product = source[row, column] * (weight.columnFactors?[column] ?? 0)
        #expect(scaled[row, column] == product / (weight.rowDivisors?[row] ?? 0))
      }
    }
  }
}
