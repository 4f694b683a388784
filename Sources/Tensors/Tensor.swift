internal import CKernels

/// An immutable, contiguous, row-major array of one element type.
public struct Tensor: Sendable {
  /// The element type.
  public let dtype: DType
  /// The extents.
  public let shape: Shape
  private let storage: TensorStorage
  private let byteOffset: Int

  /// A tensor over part of a storage.
  ///
  /// - Precondition: the storage holds `shape.byteCount(of: dtype)` bytes from `byteOffset` on; file readers check
  ///   this against what a file declares before they come here.
  public init(_ dtype: DType, _ shape: Shape, storage: TensorStorage, byteOffset: Int = 0) {
    guard let count = shape.byteCount(of: dtype) else { preconditionFailure("\(dtype) \(shape) has no byte count") }
    precondition(byteOffset >= 0 && byteOffset + count <= storage.bytes.count, "\(dtype) \(shape) exceeds its storage")
    self.dtype = dtype
    self.shape = shape
    self.storage = storage
    self.byteOffset = byteOffset
  }

  /// A tensor whose bytes the closure fills.
  public init(_ dtype: DType, _ shape: Shape, fill: (UnsafeMutableRawBufferPointer) throws -> Void) rethrows {
    guard let count = shape.byteCount(of: dtype) else { preconditionFailure("\(dtype) \(shape) has no byte count") }
    self.init(dtype, shape, storage: try TensorStorage(byteCount: count, fill: fill))
  }

  /// A tensor of given bytes.
  public init(_ dtype: DType, _ shape: Shape, bytes: some Collection<UInt8>) {
    self.init(dtype, shape) { $0.copyBytes(from: bytes) }
  }

  /// Floats rounded to a float type, to nearest even.
  ///
  /// - Parameter dtype: F32, BF16 or F16.
  public init(_ shape: Shape, floats: [Float], as dtype: DType = .float32) {
    precondition(floats.count == shape.elementCount, "\(floats.count) values for \(shape)")
    self.init(dtype, shape) { bytes in
      switch dtype {
      case .float32: floats.withUnsafeBytes { bytes.copyMemory(from: $0) }
      case .bfloat16: ck_f32_to_bf16(floats, bytes.baseAddress?.assumingMemoryBound(to: UInt16.self), floats.count)
      case .float16: ck_f32_to_f16(floats, bytes.baseAddress?.assumingMemoryBound(to: UInt16.self), floats.count)
      default: preconditionFailure("floats cannot be stored as \(dtype)")
      }
    }
  }

  /// Number of bytes.
  public var byteCount: Int { shape.byteCount(of: dtype) ?? 0 }

  /// Number of elements.
  public var elementCount: Int { shape.elementCount ?? 0 }

  /// Lends the bytes; they may be unaligned for the element type, as in files.
  public func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try withExtendedLifetime(storage) {
      try body(UnsafeRawBufferPointer(rebasing: storage.bytes[byteOffset..<byteOffset + byteCount]))
    }
  }

  /// The same bytes under other extents of the same count.
  public func reshaped(to shape: Shape) -> Tensor {
    precondition(shape.elementCount == elementCount, "\(self.shape) does not reshape to \(shape)")
    return Tensor(dtype, shape, storage: storage, byteOffset: byteOffset)
  }

  /// Part of the outermost axis, without copying.
  public func rows(_ range: Range<Int>) -> Tensor {
    precondition(shape.rank > 0 && range.lowerBound >= 0 && range.upperBound <= shape[0], "rows \(range) of \(shape)")
    let rowBytes = shape[0] == 0 ? 0 : byteCount / shape[0]
    return Tensor(
      dtype, Shape([range.count] + shape.extents.dropFirst()), storage: storage,
      byteOffset: byteOffset + range.lowerBound * rowBytes)
  }

  /// Writes the elements as floats.
  ///
  /// - Precondition: the type is F32, BF16, F16 or F8_E4M3, and the counts agree.
  public func copyFloats(to destination: UnsafeMutableBufferPointer<Float>) {
    precondition(destination.count == elementCount, "\(destination.count) places for \(shape)")
    guard let target = destination.baseAddress else { return }
    withBytes { bytes in
      guard let source = bytes.baseAddress else { return }
      switch dtype {
      case .float32: UnsafeMutableRawPointer(target).copyMemory(from: source, byteCount: bytes.count)
      case .bfloat16: ck_bf16_to_f32(source, target, elementCount)
      case .float16: ck_f16_to_f32(source, target, elementCount)
      case .float8E4M3: ck_e4m3_to_f32(source.assumingMemoryBound(to: UInt8.self), target, elementCount)
      default: preconditionFailure("\(dtype) is not read as floats")
      }
    }
  }

  /// The elements as floats; see ``copyFloats(to:)`` for the types.
  public func floats() -> [Float] {
    [Float](unsafeUninitializedCapacity: elementCount) { buffer, count in
      copyFloats(to: UnsafeMutableBufferPointer(rebasing: buffer[..<elementCount]))
      count = elementCount
    }
  }
}

extension Tensor {
  /// Index of the first element that is NaN or infinite, or `nil`; for the types of ``copyFloats(to:)``.
  public var firstNonFinite: Int? {
    let count = elementCount
    let index = withBytes { bytes in
      switch dtype {
      case .float32: ck_first_non_finite(bytes.baseAddress, count)
      case .bfloat16: ck_first_non_finite_bf16(bytes.baseAddress, count)
      case .float16: ck_first_non_finite_f16(bytes.baseAddress, count)
      case .float8E4M3: bytes.firstIndex { $0 & 0x7F == 0x7F } ?? count
      default: preconditionFailure("\(dtype) is not read as floats")
      }
    }
    return index < count ? index : nil
  }
}
