import CKernels
import Foundation
import Kernels
import Tensors
import TestSupport
import Testing

/// Products with activations rounded to int8.
@Suite struct IntegerProductTests {
  /// All tables of integer products that this machine runs, those of AVX-512 compiled for AVX2 included.
  static let tables: [ck_integer_kernels] = (0..<Int32(ck_integer_table_count)).compactMap {
    ck_integer_table($0)?.pointee
  }
  static let kinds: [PackedMatrix.Kind] = [.uint4, .int8]
  static let shapes = [[1, 1], [3, 31], [16, 32], [17, 43], [33, 160], [47, 257], [70, 544]]
  static let groupSizes = [32, 64, 128, 1000]

  static func name(_ kernels: ck_integer_kernels) -> String { String(cString: kernels.name) }

  /// What `IntegerProduct.h` says of one block, and no more: codes and their scale.
  static func rounded(_ x: [Float]) -> (codes: [Int], scale: Float) {
    let magnitude = x.map(abs).max() ?? 0
    guard magnitude >= 0x1p-120 else { return ([Int](repeating: 0, count: x.count), 0) }
    let inverse: Float = 127 / magnitude
    return (x.map { Int(($0 * inverse).rounded(.toNearestOrEven)) }, magnitude / 127)
  }

  /// Activations that the rounded ones stand for.
  static func rounded(_ x: Matrix) -> Matrix {
    var result = x
    for token in 0..<x.rows {
      for begin in stride(from: 0, to: x.columns, by: 32) {
        let range = token * x.columns + begin..<token * x.columns + min(begin + 32, x.columns)
        let (codes, scale) = rounded(Array(x.values[range]))
        for (place, code) in zip(range, codes) { result.values[place] = Float(code) * scale }
      }
    }
    return result
  }

  @Test(arguments: kinds, shapes)
  func `products agree with double precision on the rounded activations`(kind: PackedMatrix.Kind, shape: [Int]) {
    for (index, groupSize) in Self.groupSizes.enumerated() {
      let weight = QuantizedCase(kind, shape[0], shape[1], groupSize: groupSize, hasZeroPoints: index % 2 == 0)
      let x = weight.activations(2)
      let expected = Self.rounded(x)
      let y = weight.packed.integerProduct(x, Self.tables[0])
      for token in 0..<2 {
        for (row, expected) in weight.reference(expected, token: token).enumerated() {
          // Each block's scale was rounded once more than in the product; then sums of blocks in float.
          let bound = RoundingBound.vector(shape[1] / 32 + 8) * expected.magnitude
          #expect(abs(Double(y[token, row]) - expected.value) <= bound, "group size \(groupSize), row \(row)")
        }
      }
    }
  }

  @Test(arguments: kinds, shapes)
  func `all tables agree in every bit, for any number of tokens`(kind: PackedMatrix.Kind, shape: [Int]) {
    for (index, groupSize) in Self.groupSizes.enumerated() {
      let weight = QuantizedCase(kind, shape[0], shape[1], groupSize: groupSize, hasZeroPoints: index % 2 == 0)
      let x = weight.activations(29)
      let expected = weight.packed.integerProduct(x, Self.tables[0])
      for kernels in Self.tables {
        for tokens in Array(1...9) + [13, 24, 25, 29] {
          let some = weight.packed.integerProduct(x.rows(29 - tokens..<29), kernels)
          #expect(
            some.isIdentical(to: expected.rows(29 - tokens..<29)),
            "\(Self.name(kernels)), group size \(groupSize), \(tokens) tokens")
        }
      }
    }
  }

  @Test(arguments: kinds)
  func `extreme codes and activations do not saturate`(kind: PackedMatrix.Kind) {
    let extremes: [UInt8] = kind == .uint4 ? [15] : [0x80, 0x7F, 0x81]
    for code in extremes {
      let weight = PackedMatrix(
        kind, codes: [UInt8](repeating: code, count: 16 * 64), outFeatures: 16, inFeatures: 64, groupSize: 64,
        scales: [Float](repeating: 1, count: 16))
      for sign: Float in [-1, 1] {
        let x = Matrix(rows: 6, columns: 64, values: [Float](repeating: sign * 127, count: 6 * 64))
        let expected = Float(QuantizedCase.value(code, kind)) * sign * 127 * 64
        for kernels in Self.tables {
          for tokens in [1, 4, 6] {
            let y = weight.integerProduct(x.rows(0..<tokens), kernels)
            #expect(y.values.allSatisfy { $0 == expected }, "\(Self.name(kernels)), code \(code), \(tokens) tokens")
          }
        }
      }
    }
  }

  /// The AVX2 kernels for many tokens treat 256 columns of a panel apart whose codes are −32 … 31.
  @Test func `small codes among others make no difference`() {
    var generator = SeededGenerator(seed: 5)
    var codes = (0..<40 * 600).map { _ in UInt8(bitPattern: Int8.random(in: -32...31, using: &generator)) }
    for outlier in [-128, 32, -33, 127] as [Int8] {
      codes[(outlier > 0 ? 3 : 20) * 600 + (abs(Int(outlier)) > 100 ? 300 : 599)] = UInt8(bitPattern: outlier)
      let weight = PackedMatrix(
        .int8, codes: codes, outFeatures: 40, inFeatures: 600, groupSize: 600,
        scales: (0..<40).map { Float($0 + 1) / 64 })
      let x = Matrix(rows: 31, columns: 600, values: generator.normals(31 * 600))
      let expected = weight.integerProduct(x, Self.tables[0])
      for kernels in Self.tables {
        for tokens in [1, 5, 13] + Array(24...31) {
          let some = weight.integerProduct(x.rows(0..<tokens), kernels)
          #expect(some.isIdentical(to: expected.rows(0..<tokens)), "\(Self.name(kernels)), \(tokens) tokens")
        }
      }
    }
  }

  @Test func `ties round to even, tiny blocks are 0, and no infinity is lost`() {
    let identity = PackedMatrix(
      .int8, codes: (0..<64 * 64).map { $0 % 65 == 0 ? 1 : 0 }, outFeatures: 64, inFeatures: 64, groupSize: 64,
      scales: [Float](repeating: 1, count: 64))
    var values = [Float](repeating: 0, count: 64)
    values.replaceSubrange(0..<6, with: [127, 0.5, 1.5, -2.5, 126.5, -126.51])
    values[40] = 0x1p-121
    for kernels in Self.tables {
      let y = identity.integerProduct(Matrix(rows: 1, columns: 64, values: values), kernels).values
      #expect(Array(y[0..<6]) == [127, 0, 2, -2, 126, -127], "\(Self.name(kernels))")
      #expect(y[6...].allSatisfy { $0 == 0 })
      for bad in [Float.infinity, -.infinity, .nan] {
        var spoiled = values
        spoiled[33] = bad
        let x = Matrix(rows: 6, columns: 64, values: Array(repeatElement(spoiled, count: 6).joined()))
        for tokens in [1, 6] {
          #expect(identity.integerProduct(x.rows(0..<tokens), kernels).values.allSatisfy { $0.isNaN })
        }
      }
    }
  }

  @Test(arguments: kinds)
  func `results do not depend on the number of threads`(kind: PackedMatrix.Kind) {
    let weight = QuantizedCase(kind, 700, 300, groupSize: 128, hasZeroPoints: true)
    for tokens in [1, 3, 40] {
      let x = weight.activations(tokens)
      expectSameForAnyThreadCount { weight.packed.product(x, activations: .int8) }
    }
  }

  @Test func `gains of columns are applied before activations are rounded`() {
    var generator = SeededGenerator(seed: 3)
    let codes = (0..<20 * 50).map { _ in UInt8.random(in: 0...255, using: &generator) }
    let gains = (0..<50).map { _ in Float.random(in: 0.01..<10, using: &generator) }
    let sources = [0, 7, 7]
    let scales = (0..<20).map { _ in Float.random(in: 0.1..<2, using: &generator) }
    let withGains = PackedMatrix(
      .int8, codes: codes, outFeatures: 20, inFeatures: 47, groupSize: 50, scales: scales,
      columns: ColumnGains(gains, sources: sources))
    let without = PackedMatrix(.int8, codes: codes, outFeatures: 20, inFeatures: 50, groupSize: 50, scales: scales)
    let x = Matrix(rows: 7, columns: 47, values: generator.normals(7 * 47))
    let extended = Matrix(
      rows: 7, columns: 50,
      values: (0..<7).flatMap { t in
        (0..<50).map { (c: Int) -> Float in x[t, c < 47 ? c : sources[c - 47]] * gains[c] }
      })
    #expect(
      withGains.product(x, activations: .int8).isIdentical(to: without.product(extended, activations: .int8)))
  }

  /// Gaussian activations, and features 30 times as large as the others as language models have them.
  ///
  /// An outlier of magnitude m leaves its 31 neighbours errors of m / 127 / √12 each: √(31 / 12) / 127 = 1.27 % of itself,
  /// which bounds the error whatever the number of outliers.
  @Test(arguments: [(0, 0.006), (2, 0.01), (6, 0.0127), (60, 0.0135)])
  func `the error against float activations is small`(outliers: Int, bound: Double) {
    let (outFeatures, inFeatures, tokens) = (512, 2048, 16)
    var generator = SeededGenerator(seed: 11)
    let codes = (0..<outFeatures * inFeatures).map { _ in
      // Normal weights cut at 2.7 standard deviations.
      UInt8(min(15, max(0, (generator.normals(1)[0] * 2.8 + 7.5).rounded())))
    }
    let groups = inFeatures / 128
    let weight = PackedMatrix(
      .uint4, codes: codes, outFeatures: outFeatures, inFeatures: inFeatures, groupSize: 128,
      scales: [Float](repeating: 0.01, count: outFeatures * groups),
      zeroPoints: [Float](repeating: 8, count: outFeatures * groups))
    var x = Matrix(rows: tokens, columns: inFeatures, values: generator.normals(tokens * inFeatures))
    for outlier in 0..<outliers {
      let feature = outlier * 31 + 5
      for token in 0..<tokens { x.values[token * inFeatures + feature] *= 30 }
    }
    let exact = weight.product(x)
    let rounded = weight.product(x, activations: .int8)
    let error = zip(exact.values, rounded.values).reduce(0.0) { $0 + pow(Double($1.0 - $1.1), 2) }
    let size = exact.values.reduce(0.0) { $0 + pow(Double($1), 2) }
    let relative = (error / size).squareRoot()
    let percent = String(format: "%.3f %%", relative * 100)
    print("int8 activations, \(outliers) of \(inFeatures) features 30 times as large: relative error \(percent)")
    #expect(relative < bound)
    #expect(relative > 0.004, "it cannot be better than the rounding")
  }

  @Test func `there is an integer product where groups are whole blocks`() async {
    func has(_ kind: PackedMatrix.Kind, _ inFeatures: Int, groupSize: Int) -> Bool {
      QuantizedCase(kind, 2, inFeatures, groupSize: groupSize, hasZeroPoints: false).packed.hasIntegerProduct
    }
    #expect(has(.uint4, 100, groupSize: 32) && has(.int8, 100, groupSize: 96) && has(.int8, 100, groupSize: 100))
    #expect(has(.uint4, 1, groupSize: 1) && has(.int8, 5, groupSize: 1000))
    #expect(!has(.uint4, 100, groupSize: 43) && !has(.int8, 100, groupSize: 16) && !has(.float8E4M3, 64, groupSize: 32))
    await #expect(processExitsWith: .failure) {
      let weight = PackedMatrix(
        .float8E4M3, codes: [0], outFeatures: 1, inFeatures: 1, groupSize: 1, scales: [1])
      _ = weight.product(Matrix(rows: 1, columns: 1, values: [1]), activations: .int8)
    }
  }

  @Test func `no tokens, no outputs and no inputs are fine`() {
    let weight = QuantizedCase(.int8, 5, 6, groupSize: 6, hasZeroPoints: true).packed
    #expect(weight.product(Matrix(rows: 0, columns: 6), activations: .int8) == Matrix(rows: 0, columns: 5))
    for tokens in [1, 6] {
      let noOutputs = PackedMatrix(.uint4, codes: [], outFeatures: 0, inFeatures: 6, groupSize: 32, scales: [])
      #expect(
        noOutputs.product(Matrix(rows: tokens, columns: 6), activations: .int8) == Matrix(rows: tokens, columns: 0))
      let noInputs = PackedMatrix(.uint4, codes: [], outFeatures: 5, inFeatures: 0, groupSize: 32, scales: [])
      #expect(
        noInputs.product(Matrix(rows: tokens, columns: 0), activations: .int8) == Matrix(rows: tokens, columns: 5))
    }
  }
}
