import CKernels
import Tensors
import TestSupport
import Testing

@testable import Kernels

/// Products of matrices rounded to BF16, by all tables that this processor can run.
@Suite(.serialized) struct Bfloat16ProductTests {
  /// Sums in float of products that are exact.
  private static func rounding(_ count: Int) -> Double { Double(count) * 0x1p-24 }

  private static func rounded(_ x: Matrix) -> Matrix {
    Matrix(Tensor([x.rows, x.columns], floats: x.values, as: .bfloat16))
  }

  /// Σ a·b of two rows in double, and the sum of its magnitudes.
  private static func product(_ a: ArraySlice<Float>, _ b: ArraySlice<Float>) -> (sum: Double, magnitude: Double) {
    zip(a, b).reduce(into: (0.0, 0.0)) { result, pair in
      result.0 += Double(pair.0) * Double(pair.1)
      result.1 += abs(Double(pair.0) * Double(pair.1))
    }
  }

  private static func expectClose(
    _ y: Matrix, _ x: Matrix, _ weight: Matrix, _ what: String, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let (x, weight) = (rounded(x), rounded(weight))
    var worst = 0.0
    for token in 0..<x.rows {
      for row in 0..<weight.rows {
        let (expected, magnitude) = product(x.row(token), weight.row(row))
        worst = max(worst, abs(Double(y[token, row]) - expected) / max(magnitude, 1e-30))
      }
    }
    #expect(worst <= rounding(x.columns), "\(what): \(worst)", sourceLocation: sourceLocation)
  }

  // Around tiles of 4, 6, 12, 16 and 32 lines, 256 outputs and blocks of 256 features.
  @Test(arguments: [[1, 1, 1], [5, 17, 3], [13, 33, 70], [64, 257, 512], [65, 31, 513], [7, 300, 1030]])
  func `products agree with double precision of rounded factors`(shape: [Int]) {
    let (x, floats) = (Matrix.random(shape[0], shape[2], seed: 1), Matrix.random(shape[1], shape[2], seed: 2))
    for table in Bfloat16Product.available {
      for dtype in [DType.bfloat16, .float16, .float32] {
        let weight = Tensor([shape[1], shape[2]], floats: floats.values, as: dtype)
        Self.expectClose(table.product(x, weight), x, Matrix(weight), "\(table.name), \(dtype)")
      }
      Self.expectClose(table.product(x, WeightRows(floats)), x, floats, "\(table.name), rows")
    }
  }

  @Test func `neither threads nor other tokens nor the place of a row change a bit`() {
    // More tokens than one task takes.
    let (x, weight) = (Matrix.random(2100, 530, seed: 3), DenseRowsTests.weight(.bfloat16, 300, 530))
    for table in Bfloat16Product.available {
      expectSameForAnyThreadCount { table.product(x, weight) }
      let all = table.product(x, weight)
      #expect(table.product(x.rows(7..<100), weight).isIdentical(to: all.rows(7..<100)))
      #expect(table.product(x.rows(2040..<2100), weight).isIdentical(to: all.rows(2040..<2100)))
      #expect(table.product(x, weight.rows(1..<300)).isIdentical(to: all.columns(1..<300)))
    }
  }

  @Test(arguments: [[1, 1, 1], [33, 7, 400], [21, 400, 7], [600, 385, 90]])
  func `moments are added to what is there`(shape: [Int]) {
    let (x, y) = (Matrix.random(shape[0], shape[1], seed: 4), Matrix.random(shape[0], shape[2], seed: 5))
    let (across, down) = (Self.rounded(x).transposed, Self.rounded(y).transposed)
    for table in Bfloat16Product.available {
      var sum = [Float](repeating: 1, count: shape[1] * shape[2])
      table.addCrossGram(x, y, to: &sum)
      var gram = [Float](repeating: 2, count: shape[1] * shape[1])
      table.addGram(x, to: &gram)
      for row in 0..<shape[1] {
        for column in 0..<shape[2] {
          let (expected, magnitude) = Self.product(across.row(row), down.row(column))
          let found = Double(sum[row * shape[2] + column])
          #expect(abs(found - 1 - expected) <= Self.rounding(shape[0] + 1) * (magnitude + 1), "\(table.name)")
        }
        for column in 0...row {
          let (expected, magnitude) = Self.product(across.row(row), across.row(column))
          let found = Double(gram[row * shape[1] + column])
          #expect(abs(found - 2 - expected) <= Self.rounding(shape[0] + 1) * (magnitude + 2), "\(table.name)")
        }
      }
    }
  }

  // Around 384 columns that a task takes.
  @Test(arguments: [[5, 31], [70, 385], [2100, 40]])
  func `rows times a matrix agree with double precision of rounded factors`(shape: [Int]) {
    let (x, matrix) = (Matrix.random(shape[0], shape[1], seed: 1), Matrix.random(shape[1], shape[1], seed: 2))
    for table in Bfloat16Product.available {
      Self.expectClose(table.product(x, columnsOf: matrix), x, matrix.transposed, table.name)
      expectSameForAnyThreadCount { table.product(x, columnsOf: matrix) }
      table.whileForced {
        let isRounded = MatrixProduct.product(x, columnsOf: matrix, .bfloat16)
          .isIdentical(to: table.product(x, columnsOf: matrix))
        #expect(isRounded == (x.rows >= 64))
      }
    }
  }

  @Test func `floats are rounded where somebody asks and there are enough rows`() {
    let (x, weight) = (Matrix.random(64, 200, seed: 6), Matrix.random(9, 200, seed: 7))
    let tensor = Tensor([9, 200], floats: weight.values)
    let exact = MatrixProduct.product(x, tensor)
    for table in Bfloat16Product.available {
      table.whileForced {
        #expect(MatrixProduct.product(x, tensor).isIdentical(to: exact))
        let rounded = MatrixProduct.product(x, tensor, .bfloat16)
        #expect(rounded.isIdentical(to: table.product(x, tensor)))
        #expect(!rounded.isIdentical(to: exact))
        #expect(MatrixProduct.product(x, WeightRows(weight), .bfloat16).isIdentical(to: rounded))
        let few = x.rows(0..<63)
        #expect(MatrixProduct.product(few, tensor, .bfloat16).isIdentical(to: MatrixProduct.product(few, tensor)))
      }
    }
  }
}

extension Matrix {
  fileprivate var transposed: Matrix {
    let values = (0..<columns).flatMap { column in (0..<rows).map { self[$0, column] } }
    return Matrix(rows: columns, columns: rows, values: values)
  }
}
