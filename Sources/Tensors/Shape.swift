/// The extents of a tensor, outermost first; empty for a scalar.
public struct Shape: Hashable, Sendable, ExpressibleByArrayLiteral, CustomStringConvertible {
  /// Extents, outermost first.
  public let extents: [Int]

  /// A shape from its extents.
  public init(_ extents: [Int]) { self.extents = extents }

  /// A shape from its extents.
  public init(arrayLiteral elements: Int...) { extents = elements }

  /// Number of extents.
  public var rank: Int { extents.count }

  /// The extent of one axis.
  public subscript(axis: Int) -> Int { extents[axis] }

  /// Number of elements; `nil` when an extent is negative or the product, taken left to right, overflows.
  public var elementCount: Int? {
    var count = 1
    for extent in extents {
      guard extent >= 0 else { return nil }
      let (product, overflow) = count.multipliedReportingOverflow(by: extent)
      guard !overflow else { return nil }
      count = product
    }
    return count
  }

  /// Bytes that the elements take, or `nil` when that overflows or is not a whole number of bytes.
  public func byteCount(of dtype: DType) -> Int? {
    guard let count = elementCount else { return nil }
    let (bits, overflow) = count.multipliedReportingOverflow(by: dtype.bitWidth)
    guard !overflow, bits % 8 == 0 else { return nil }
    return bits / 8
  }

  /// Such as `[4096, 11008]`.
  public var description: String { "[" + extents.map(String.init).joined(separator: ", ") + "]" }
}
