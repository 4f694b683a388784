import Kernels
import Tensors
import TestSupport
import Testing

@Suite struct DenseRowsTests {
  static let dtypes: [DType] = [.bfloat16, .float16, .float32]

  /// A weight whose bytes lie one byte off alignment, as they may in a file.
  static func weight(_ dtype: DType, _ outFeatures: Int, _ inFeatures: Int) -> Tensor {
    var generator = SeededGenerator(seed: UInt64(outFeatures * 1000 + inFeatures))
    let aligned = Tensor(
      [outFeatures, inFeatures], floats: generator.normals(outFeatures * inFeatures), as: dtype)
    let storage = TensorStorage(byteCount: aligned.byteCount + 1) { target in
      aligned.withBytes { UnsafeMutableRawBufferPointer(rebasing: target[1...]).copyMemory(from: $0) }
    }
    return Tensor(dtype, [outFeatures, inFeatures], storage: storage, byteOffset: 1)
  }

  static func activations(_ tokens: Int, _ inFeatures: Int) -> Matrix {
    var generator = SeededGenerator(seed: UInt64(inFeatures))
    return Matrix(rows: tokens, columns: inFeatures, values: generator.normals(tokens * inFeatures))
  }

  @Test(arguments: dtypes, [[1, 1], [2, 15], [3, 16], [5, 17], [69, 43], [130, 400]])
  func `products agree with double precision`(dtype: DType, shape: [Int]) {
    let weight = Self.weight(dtype, shape[0], shape[1])
    let floats = Matrix(weight)
    for tokens in 1...DenseRows.mostTokens {
      let x = Self.activations(tokens, shape[1])
      let portable = DenseRows(weight).product(x, Tables.portable)
      let vector = Tables.vector.map { DenseRows(weight).product(x, $0) }
      for token in 0..<tokens {
        for row in 0..<shape[0] {
          var (expected, magnitude) = (0.0, 0.0)
          for (a, b) in zip(floats.row(row), x.row(token)) {
            expected += Double(a) * Double(b)
            magnitude += abs(Double(a) * Double(b))
          }
          #expect(abs(Double(portable[token, row]) - expected) <= RoundingBound.portable * magnitude)
          for y in vector {
            #expect(abs(Double(y[token, row]) - expected) <= RoundingBound.vector(shape[1]) * magnitude)
          }
        }
      }
    }
  }

  @Test(arguments: dtypes)
  func `neither other tokens nor the instruction set nor the place of a row change a bit`(dtype: DType) {
    let weight = Self.weight(dtype, 131, 203)
    let x = Self.activations(33, 203)
    for kernels in Tables.vector {
      let all = DenseRows(weight).product(x, kernels)
      #expect(all.isIdentical(to: DenseRows(weight).product(x, Tables.vector[0])))
      for token in 0..<33 {
        let one = DenseRows(weight).product(x.rows(token..<token + 1), kernels)
        #expect(one.isIdentical(to: all.rows(token..<token + 1)))
      }
      let tail = DenseRows(weight.rows(1..<131)).product(x, kernels)
      #expect(tail.isIdentical(to: all.columns(1..<131)))
    }
  }

  @Test func `infinities and NaN of the weights come through`() {
    let x = Matrix(rows: 1, columns: 17, values: [Float](repeating: 1, count: 17))
    for dtype in Self.dtypes {
      for (special, place) in [(Float.infinity, 3), (-Float.infinity, 16), (Float.nan, 16)] {
        var values = [Float](repeating: 1, count: 17)
        values[place] = special
        for kernels in Tables.vector + [Tables.portable] {
          let y = DenseRows(Tensor([1, 17], floats: values, as: dtype)).product(x, kernels).values[0]
          #expect(y == special || y.isNaN && special.isNaN, "\(dtype), \(Tables.name(kernels))")
        }
      }
    }
  }
}
