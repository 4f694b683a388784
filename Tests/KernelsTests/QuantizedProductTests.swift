import CKernels
import Kernels
import Tensors
import Testing

@Suite struct QuantizedProductTests {
  /// Output and input features: nothing that vectors, panels, pairs of codes or depth blocks divide.
  static let shapes = [[1, 1], [3, 2], [16, 31], [17, 43], [33, 129], [47, 257], [70, 400]]
  static let groupSizes = [1, 32, 43, 86, 128, 172, 1000]

  @Test(arguments: PackedMatrix.Kind.allCases, shapes)
  func `the portable kernels agree with double precision`(kind: PackedMatrix.Kind, shape: [Int]) {
    for (index, groupSize) in Self.groupSizes.enumerated() {
      let weight = QuantizedCase(kind, shape[0], shape[1], groupSize: groupSize, hasZeroPoints: index % 2 == 0)
      let x = weight.activations(2)
      let single = weight.packed.singleTokenProduct(x, Tables.portable)
      #expect(weight.packed.manyTokenProduct(x, Tables.portable) == single)
      for token in 0..<2 {
        for (row, expected) in weight.reference(x, token: token).enumerated() {
          let error = abs(Double(single[token, row]) - expected.value)
          #expect(error <= RoundingBound.portable * expected.magnitude, "group size \(groupSize), row \(row)")
        }
      }
    }
  }

  @Test(arguments: PackedMatrix.Kind.allCases, shapes)
  func `every instruction set agrees with the portable kernels`(kind: PackedMatrix.Kind, shape: [Int]) {
    for (index, groupSize) in Self.groupSizes.enumerated() {
      for hasZeroPoints in [false, true] {
        let weight = QuantizedCase(kind, shape[0], shape[1], groupSize: groupSize, hasZeroPoints: hasZeroPoints)
        let tokens = [1, 2, 3, 7, 64][index % 5]
        let x = weight.activations(tokens)
        let expected = weight.packed.manyTokenProduct(x, Tables.portable)
        let magnitudes = (0..<tokens).flatMap { token in weight.reference(x, token: token).map(\.magnitude) }
        for kernels in Tables.vector {
          for actual in [weight.packed.singleTokenProduct(x, kernels), weight.packed.manyTokenProduct(x, kernels)] {
            let worst = zip(zip(actual.values, expected.values), magnitudes).map {
              abs(Double($0.0) - Double($0.1)) / max($1, .leastNormalMagnitude)
            }.max()
            #expect(
              worst ?? 0 <= RoundingBound.vector(shape[1]),
              "\(Tables.name(kernels)), group size \(groupSize), \(tokens) tokens")
          }
        }
      }
    }
  }

  @Test(arguments: PackedMatrix.Kind.allCases)
  func `vector instruction sets agree in every bit`(kind: PackedMatrix.Kind) throws {
    let weight = QuantizedCase(kind, 70, 387, groupSize: 43, hasZeroPoints: true)
    let x = weight.activations(23)
    guard let first = Tables.vector.first else { return }
    for other in Tables.vector.dropFirst() {
      let (one, two) = (weight.packed.singleTokenProduct(x, first), weight.packed.singleTokenProduct(x, other))
      #expect(one.isIdentical(to: two), "one token, \(Tables.name(other))")
      let (three, four) = (weight.packed.manyTokenProduct(x, first), weight.packed.manyTokenProduct(x, other))
      #expect(three.isIdentical(to: four), "many tokens, \(Tables.name(other))")
    }
  }

  @Test(arguments: PackedMatrix.Kind.allCases)
  func `a token's result does not depend on the other tokens`(kind: PackedMatrix.Kind) {
    let weight = QuantizedCase(kind, 37, 300, groupSize: 128, hasZeroPoints: true)
    let x = weight.activations(64)
    for kernels in Tables.vector + [Tables.portable] {
      let all = weight.packed.manyTokenProduct(x, kernels)
      for tokens in [1, 2, 3, 4, 5, 6, 7, 15, 16, 17, 33, 63] {
        let some = weight.packed.manyTokenProduct(x.rows(64 - tokens..<64), kernels)
        #expect(some.isIdentical(to: all.rows(64 - tokens..<64)), "\(Tables.name(kernels)), \(tokens) tokens")
      }
    }
  }

  @Test(arguments: PackedMatrix.Kind.allCases)
  func `results do not depend on how panels are split over calls`(kind: PackedMatrix.Kind) {
    let weight = QuantizedCase(kind, 70, 300, groupSize: 86, hasZeroPoints: true)
    let x = weight.activations(7)
    var sums = [Float](repeating: 0, count: 4)
    ck_group_sums(x.values, 300, 86, &sums)
    for kernels in Tables.vector + [Tables.portable] {
      var packed = [Float](repeating: 0, count: x.values.count)
      kernels.pack_tokens(x.values, 300, 7, 0, 1, &packed)
      kernels.pack_tokens(x.values, 300, 7, 1, 2, &packed)
      let one = weight.packed.singleTokenProduct(x.rows(0..<1), kernels)
      let many = weight.packed.manyTokenProduct(x, kernels)
      for splits in [[0, 5], [0, 1, 5], [0, 2, 3, 5], [0, 1, 2, 3, 4, 5]] {
        var (y1, y7) = (Matrix(rows: 1, columns: 70), Matrix(rows: 7, columns: 70))
        weight.packed.withPanels { panels in
          for (first, last) in zip(splits, splits.dropFirst()) {
            withUnsafePointer(to: panels) {
              kernels.product_one($0, first, last, x.values, sums, &y1.values)
              kernels.product_many($0, first, last, packed, 7, &y7.values, 70)
            }
          }
        }
        #expect(y1.isIdentical(to: one) && y7.isIdentical(to: many), "\(Tables.name(kernels)), \(splits)")
      }
    }
  }

  @Test(arguments: PackedMatrix.Kind.allCases, [1, 3, 43, 128, 300, 700])
  func `a few tokens together have each the bits of one alone`(kind: PackedMatrix.Kind, groupSize: Int) {
    for hasZeroPoints in [false, true] {
      let weight = QuantizedCase(kind, 37, 603, groupSize: groupSize, hasZeroPoints: hasZeroPoints).packed
      let x = QuantizedCase(kind, 37, 603, groupSize: groupSize, hasZeroPoints: false).activations(32)
      for kernels in Tables.vector + [Tables.portable] {
        let alone = (0..<32).flatMap { weight.singleTokenProduct(x.rows($0..<$0 + 1), kernels).values }
        for tokens in [2, 3, 4, 5, 7, 8, 13, 16, 17, 32] {
          let some = weight.singleTokenProduct(x.rows(0..<tokens), kernels)
          let expected = Matrix(rows: tokens, columns: 37, values: Array(alone[..<(tokens * 37)]))
          #expect(some.isIdentical(to: expected), "\(Tables.name(kernels)), \(tokens) tokens")
        }
      }
    }
  }

  @Test func `products of a few tokens as single ones have the bits of each alone`() {
    let weights = [PackedMatrix.Kind.float8E4M3, .int8, .uint4].map {
      QuantizedCase($0, 300, 256, groupSize: 128, hasZeroPoints: $0 != .float8E4M3).packed
    }
    let x = QuantizedCase(.int8, 300, 256, groupSize: 128, hasZeroPoints: false).activations(32)
    for activations in PackedMatrix.Activations.allCases {
      let alone = (0..<32).map { PackedMatrix.products(weights, x.rows($0..<$0 + 1), activations: activations) }
      for tokens in [2, 4, 9, 32] {
        let together = PackedMatrix.products(weights, x.rows(0..<tokens), activations: activations, asSingle: true)
        for (index, product) in together.enumerated() {
          for token in 0..<tokens {
            #expect(product.rows(token..<token + 1).isIdentical(to: alone[token][index]), "\(tokens), \(index)")
          }
        }
      }
    }
  }

  @Test func `a product repeats in every bit, and few tokens take the kernel for one`() {
    let weight = QuantizedCase(.uint4, 1000, 256, groupSize: 128, hasZeroPoints: true)
    let kernels = InstructionSet.current.kernels
    let many = weight.activations(9)
    let few = many.rows(0..<PackedMatrix.mostSingleTokens)
    let (expectedMany, expectedFew) = (
      weight.packed.manyTokenProduct(many, kernels), weight.packed.singleTokenProduct(few, kernels)
    )
    for _ in 0..<20 {
      #expect(weight.packed.product(many).isIdentical(to: expectedMany))
      #expect(weight.packed.product(few).isIdentical(to: expectedFew))
    }
  }

  @Test func `no tokens, no outputs and no inputs are fine`() {
    let weight = QuantizedCase(.int8, 5, 6, groupSize: 4, hasZeroPoints: true).packed
    #expect(weight.product(Matrix(rows: 0, columns: 6)) == Matrix(rows: 0, columns: 5))
    for tokens in [1, 4] {
      let noOutputs = PackedMatrix(.uint4, codes: [], outFeatures: 0, inFeatures: 6, groupSize: 4, scales: [])
      #expect(noOutputs.product(Matrix(rows: tokens, columns: 6)) == Matrix(rows: tokens, columns: 0))
      let noInputs = PackedMatrix(.uint4, codes: [], outFeatures: 5, inFeatures: 0, groupSize: 4, scales: [])
      #expect(noInputs.product(Matrix(rows: tokens, columns: 0)) == Matrix(rows: tokens, columns: 5))
    }
  }
}
