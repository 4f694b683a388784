internal import CKernels
internal import Tensors

/// A lower triangular factor L in spans of places, of which what lies outside the squares on the diagonal is rounded to
/// BF16: for rounding with feedback and for solving, where this processor multiplies so faster.
///
/// What is multiplied with it are errors of rounding and corrections, of which it changes 2⁻⁹; the tokens that L was
/// measured on leave more to chance.
struct RoundedFactor: Sendable {
  /// Places of a span.
  static let span = 512

  private let product: Bfloat16Product
  private let size: Int
  /// By span: L left of the span's square, its columns as lines.
  private let left: TensorStorage
  /// By span: L below the span's square, its rows as lines.
  private let below: TensorStorage
  private let leftStarts, belowStarts: [Int]

  /// Rounds L, `[size, size]`, on all threads.
  ///
  /// - Returns: `nil` where there is no faster product, or one span is all.
  init?(_ l: UnsafePointer<Float>, size: Int, rows: Int) {
    guard size > Self.span, let product = MatrixProduct.bfloat16(.bfloat16, rows: rows) else { return nil }
    self.product = product
    self.size = size
    let spans = Self.spans(size)
    func starts(_ count: (Range<Int>) -> Int) -> [Int] {
      spans.reduce(into: [0]) { $0.append($0[$0.count - 1] + count($1)) }
    }
    let leftStarts = starts { product.packedCount(rows: $0.lowerBound, features: $0.count) }
    let belowStarts = starts { product.packedCount(rows: size - $0.upperBound, features: $0.count) }
    nonisolated(unsafe) let l = l
    func packed(
      _ starts: [Int], _ pack: @escaping @Sendable (Range<Int>, UnsafeMutablePointer<UInt16>) -> Void
    ) -> TensorStorage {
      TensorStorage(byteCount: starts[spans.count] * MemoryLayout<UInt16>.size) { bytes in
        guard let target = SharedPointer(bytes.assumingMemoryBound(to: UInt16.self)) else { return }
        Parallel.forEach(spans.count) { pack(spans[$0], target.base + starts[$0]) }
      }
    }
    left = packed(leftStarts) { span, target in
      product.packColumns(l + span.lowerBound * size, stride: size, span.lowerBound, span.count, to: target)
    }
    below = packed(belowStarts) { span, target in
      let corner = l + span.upperBound * size + span.lowerBound
      product.packRows(corner, stride: size, size - span.upperBound, span.count, to: target)
    }
    self.leftStarts = leftStarts
    self.belowStarts = belowStarts
  }

  /// The spans of a factor.
  static func spans(_ size: Int) -> [Range<Int>] {
    stride(from: 0, to: size, by: span).map { $0..<min(size, $0 + span) }
  }

  /// Adds x·L of a span's rows to the places before it, on the calling thread.
  ///
  /// - Parameters:
  ///   - x: `[rows, places]`, of which the span's places are read.
  ///   - sums: `[rows, places]`.
  func addProduct(
    _ x: UnsafePointer<Float>, rows: Int, of span: Range<Int>, toEarlier sums: UnsafeMutablePointer<Float>
  ) {
    guard span.lowerBound > 0 else { return }
    add(x, rows, span, (left, leftStarts), lines: span.lowerBound, to: sums)
  }

  /// Adds x·Lᵀ of a span's columns to the places behind it, likewise.
  func addProduct(
    _ x: UnsafePointer<Float>, rows: Int, of span: Range<Int>, toLater sums: UnsafeMutablePointer<Float>
  ) {
    guard span.upperBound < size else { return }
    add(x, rows, span, (below, belowStarts), lines: size - span.upperBound, to: sums + span.upperBound)
  }

  private func add(
    _ x: UnsafePointer<Float>, _ rows: Int, _ span: Range<Int>, _ packed: (storage: TensorStorage, starts: [Int]),
    lines: Int, to sums: UnsafeMutablePointer<Float>
  ) {
    let weights = packed.storage.bytes.assumingMemoryBound(to: UInt16.self)
    guard let base = weights.baseAddress else { return }
    let room = Bfloat16Product.allocate(product.packedCount(tokens: rows, features: span.count))
    defer { room.deallocate() }
    product.packTokens(x + span.lowerBound, stride: size, rows, span.count, to: room)
    product.multiply(
      base + packed.starts[span.lowerBound / Self.span], rows: lines, room, tokens: rows, features: span.count,
      to: sums, stride: size, adds: true)
  }
}
