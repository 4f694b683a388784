import Kernels
import Tensors
import TestSupport
import Testing

/// Runs a computation with several numbers of threads and expects the same bits.
func expectSameForAnyThreadCount(
  sourceLocation: SourceLocation = #_sourceLocation, _ compute: () -> Matrix
) {
  let before = Parallel.threads
  defer { Parallel.threads = before }
  let expected = compute()
  for count in [1, 2, 3, 7] {
    Parallel.threads = count
    #expect(compute().isIdentical(to: expected), "\(count) threads", sourceLocation: sourceLocation)
  }
}

extension Matrix {
  /// Normal numbers times a factor, the same for a seed.
  static func random(_ rows: Int, _ columns: Int, seed: UInt64, times factor: Float = 1) -> Matrix {
    var generator = SeededGenerator(seed: seed)
    return Matrix(rows: rows, columns: columns, values: generator.normals(rows * columns).map { $0 * factor })
  }
}
