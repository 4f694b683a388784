import Kernels
import Tensors
import Testing

@Suite struct PackedMatrixTests {
  /// Every code but NaN.
  static func codes(_ kind: PackedMatrix.Kind) -> [UInt8] {
    switch kind {
    case .uint4: (0...15).map { $0 }
    case .int8: (0...255).map { $0 }
    case .float8E4M3: (0...255).filter { $0 & 0x7F != 0x7F }
    }
  }

  @Test(arguments: PackedMatrix.Kind.allCases)
  func `every code has its value in every kernel`(kind: PackedMatrix.Kind) {
    let codes = Self.codes(kind)
    let expected = codes.map { Float(QuantizedCase.value($0, kind)) }
    // One column, then two columns of which x picks the second: both nibbles.
    for columns in [1, 2] {
      let spread = codes.flatMap { code in (1...columns).map { $0 == columns ? code : 0 } }
      let weight = PackedMatrix(
        kind, codes: spread, outFeatures: codes.count, inFeatures: columns, groupSize: 1,
        scales: [Float](repeating: 1, count: spread.count))
      let x = Matrix(rows: 1, columns: columns, values: (1...columns).map { $0 == columns ? 1 : 0 })
      for kernels in Tables.vector + [Tables.portable] {
        #expect(weight.singleTokenProduct(x, kernels).values == expected, "\(Tables.name(kernels))")
        #expect(weight.manyTokenProduct(x, kernels).values == expected, "\(Tables.name(kernels))")
      }
      #expect(weight.dequantizedRows(0..<codes.count).columns(columns - 1..<columns).values == expected)
    }
  }

  @Test(arguments: PackedMatrix.Kind.allCases)
  func `rows are dequantized as defined`(kind: PackedMatrix.Kind) {
    let weight = QuantizedCase(kind, 35, 51, groupSize: 20, hasZeroPoints: true)
    let rows = weight.packed.dequantizedRows(0..<35)
    for row in 0..<35 {
      for k in 0..<51 {
        let group = row * 3 + k / 20
        let code = Float(QuantizedCase.value(weight.codes[row * 51 + k], kind))
        #expect(rows[row, k] == (code - (weight.zeroPoints?[group] ?? 0)) * weight.scales[group])
      }
    }
    #expect(weight.packed.dequantizedRows(17..<20) == rows.rows(17..<20))
    #expect(weight.packed.dequantizedRows(at: [34, 0, 34]).values == Array(rows.row(34) + rows.row(0) + rows.row(34)))
  }

  @Test(arguments: PackedMatrix.Kind.allCases)
  func `the kernel for many tokens multiplies with exactly the dequantized weights`(kind: PackedMatrix.Kind) {
    let weight = QuantizedCase(kind, 20, 51, groupSize: 7, hasZeroPoints: true).packed
    let identity = Matrix(rows: 51, columns: 51, values: (0..<51 * 51).map { $0 % 52 == 0 ? 1 : 0 })
    let rows = weight.dequantizedRows(0..<20)
    for kernels in Tables.vector {
      let columns = weight.manyTokenProduct(identity, kernels)
      for row in 0..<20 {
        for k in 0..<51 { #expect(columns[k, row] == rows[row, k], "\(Tables.name(kernels)), \(row), \(k)") }
      }
    }
  }

  @Test func `bytes are counted with the padding of the last panel`() {
    // Two panels of 16 rows and a block of 32 columns; two groups a row, with scales in 4 bytes and zero points in one.
    let weight = QuantizedCase(.uint4, 17, 3, groupSize: 2, hasZeroPoints: true).packed
    #expect(weight.byteCount == 2 * 16 * 32 / 2 + 2 * 16 * 2 * (4 + 1))
    #expect(QuantizedCase(.int8, 16, 33, groupSize: 33, hasZeroPoints: false).packed.byteCount == 16 * 64 + 16 * 4)
    let float8 = QuantizedCase(.float8E4M3, 16, 3, groupSize: 3, hasZeroPoints: false).packed
    #expect(float8.byteCount == 16 * 3 + 16 * 4)
  }

  @Test func `a tensor of codes packs like its bytes`() {
    let weight = QuantizedCase(.int8, 9, 10, groupSize: 5, hasZeroPoints: false)
    let tensor = Tensor(.int8, [9, 10], bytes: weight.codes)
    let packed = PackedMatrix(.int8, codes: tensor, groupSize: 5, scales: weight.scales)
    #expect(packed.dequantizedRows(0..<9) == weight.packed.dequantizedRows(0..<9))
  }

  @Test func `large panels, which are mapped, hold what small ones do`() {
    let weight = QuantizedCase(.int8, 1050, 2100, groupSize: 2100, hasZeroPoints: true)
    #expect(weight.packed.byteCount > 2 << 20)
    for rows in [0..<2, 1048..<1050] {
      let range = rows.lowerBound * 2100..<rows.upperBound * 2100
      let small = PackedMatrix(
        .int8, codes: Array(weight.codes[range]), outFeatures: 2, inFeatures: 2100, groupSize: 2100,
        scales: Array(weight.scales[rows]), zeroPoints: weight.zeroPoints.map { Array($0[rows]) })
      #expect(weight.packed.dequantizedRows(rows) == small.dequantizedRows(0..<2))
      let x = weight.activations(3)
      for activations in PackedMatrix.Activations.allCases {
        let large = weight.packed.product(x, activations: activations)
        #expect(large.columns(rows).isIdentical(to: small.product(x, activations: activations)))
      }
    }
  }

  @Test func `NaN codes and wrong counts are programmer mistakes`() async {
    await #expect(processExitsWith: .failure) {
      _ = PackedMatrix(.float8E4M3, codes: [0xFF], outFeatures: 1, inFeatures: 1, groupSize: 1, scales: [1])
    }
    await #expect(processExitsWith: .failure) {
      _ = PackedMatrix(.int8, codes: [1, 2, 3], outFeatures: 1, inFeatures: 3, groupSize: 2, scales: [1])
    }
  }
}
