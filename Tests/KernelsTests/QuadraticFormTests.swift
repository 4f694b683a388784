import Kernels
import Testing

@Suite struct QuadraticFormTests {
  @Test(arguments: [(1, 1), (3, 5), (64, 128), (130, 33)])
  func `values are those of the whole matrix`(rows: Int, width: Int) {
    var random = SystemRandomNumberGenerator()
    func draw() -> Float { Float.random(in: -1...1, using: &random) }
    var moments = [Float](repeating: 0, count: width * width)
    for row in 0..<width {
      for column in 0...row {
        let value = draw() + (row == column ? 2 : 0)
        moments[row * width + column] = value
        moments[column * width + row] = value
      }
    }
    let errors = (0..<rows * width).map { _ in draw() }
    var scratch = [Float](repeating: .nan, count: rows * width)
    var found = [Double](repeating: .nan, count: rows)
    QuadraticForm(moments, width: width).values(at: errors, rows: rows, scratch: &scratch, result: &found)
    for row in 0..<rows {
      var expected = 0.0
      var scale = 0.0
      for (index, moment) in moments.enumerated() {
        let term = Double(errors[row * width + index / width] * errors[row * width + index % width]) * Double(moment)
        expected += term
        scale += abs(term)
      }
      #expect(abs(found[row] - expected) <= 1e-6 * scale, "row \(row): \(found[row]), not \(expected)")
    }
  }
}
