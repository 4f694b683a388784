import CKernels
import Kernels
import Tensors
import Testing

/// Scales and zero points in panels take as few bytes as they can, and products do not notice.
@Suite struct GroupValuesTests {
  /// Values and the type they need.
  struct Sample: Sendable {
    let values: [Float]
    let kind: ck_value_kind

    init(_ kind: ck_value_kind, _ values: Float...) { (self.values, self.kind) = (values, kind) }
  }

  private static let fine: Float = 1 + 0x1p-10
  static let cases: [Sample] = [
    Sample(ck_value_none), Sample(ck_value_int8, 0, 1, -128, 127), Sample(ck_value_bf16, -0.0),
    Sample(ck_value_bf16, 128), Sample(ck_value_f16, -1025), Sample(ck_value_bf16, 0.5, 0x1p100),
    Sample(ck_value_bf16, 1, .infinity), Sample(ck_value_bf16, .nan), Sample(ck_value_f16, fine),
    Sample(ck_value_f16, 0x1p-24, fine), Sample(ck_value_f32, 0x1p-25, fine), Sample(ck_value_f32, 0x1p100, fine),
    Sample(ck_value_f32, fine, 0x1p100), Sample(ck_value_f32, 0.1), Sample(ck_value_f32, 1, 2, 3, 0.1),
  ]

  @Test(arguments: cases)
  func `values take the smallest type that holds all of them in every bit`(sample: Sample) {
    let (values, kind) = (sample.values, sample.kind)
    #expect(ck_smallest_value_kind(values, values.count) == kind)
    // Also behind many that fit into less.
    let many = [Float](repeating: 1, count: 1000) + values + [Float](repeating: 2, count: 300)
    #expect(ck_smallest_value_kind(many, many.count) == (values.isEmpty ? ck_value_int8 : kind))
  }

  /// Values that need a type.
  private static let samples: [(bytes: Int, value: Float)] = [(1, 3), (2, -0x1.8p20), (2, 1.5 + 0x1p-10), (4, 0.7)]

  @Test(arguments: PackedMatrix.Kind.allCases, [false, true])
  func `products are the same in every bit however values are stored`(kind: PackedMatrix.Kind, hasZeroPoints: Bool) {
    let (outFeatures, inFeatures, groupSize, groups) = (37, 160, 32, 5)
    let codes = (0..<outFeatures * inFeatures).map { UInt8($0 * 37 % 113) }
    for scale in Self.samples {
      for zero in hasZeroPoints ? Self.samples : [(0, 0)] {
        // All but those of the first rows are whole.
        func values(_ sample: Float) -> [Float] {
          (0..<outFeatures * groups).map { $0 < groups ? sample : Float($0 % 15 - 7) }
        }
        func packed(_ scales: [Float], _ zeros: [Float]) -> PackedMatrix {
          PackedMatrix(
            kind, codes: codes, outFeatures: outFeatures, inFeatures: inFeatures, groupSize: groupSize, scales: scales,
            zeroPoints: hasZeroPoints ? zeros : nil)
        }
        let weight = packed(values(scale.value), values(zero.value))
        let floats = packed(values(0.7), values(0.7))
        let codeBytes = weight.withPanels { ck_panel_count($0.out) * ck_panel_code_bytes($0.kind, $0.in) }
        #expect(weight.byteCount == codeBytes + 3 * 16 * groups * (scale.bytes + zero.bytes))

        let rows = 1..<outFeatures
        #expect(weight.dequantizedRows(rows) == floats.dequantizedRows(rows))
        for tokens in [1, 7] {
          let x = Matrix(
            rows: tokens, columns: inFeatures, values: (0..<tokens * inFeatures).map { Float($0 % 41) - 20 })
          for kernels in Tables.vector + [Tables.portable] {
            for product in [PackedMatrix.singleTokenProduct, PackedMatrix.manyTokenProduct] {
              let (actual, expected) = (product(weight)(x, kernels), product(floats)(x, kernels))
              #expect(actual.columns(rows).isIdentical(to: expected.columns(rows)), "\(Tables.name(kernels))")
            }
          }
          for kernels in weight.hasIntegerProduct ? IntegerProductTests.tables : [] {
            let (actual, expected) = (weight.integerProduct(x, kernels), floats.integerProduct(x, kernels))
            #expect(actual.columns(rows).isIdentical(to: expected.columns(rows)), "\(String(cString: kernels.name))")
            #expect(actual.isIdentical(to: weight.integerProduct(x, IntegerProductTests.tables[0])))
          }
        }
      }
    }
  }
}
