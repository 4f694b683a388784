internal import Kernels
public import Tensors

/// What a file says of one tensor.
public struct TensorInfo: Hashable, Sendable {
  /// The name in the checkpoint, the only name a tensor has.
  public let name: String
  /// The element type.
  public let dtype: DType
  /// The extents.
  public let shape: Shape

  /// A name, type and shape whose byte count does not overflow.
  public init(name: String, dtype: DType, shape: Shape) {
    self.name = name
    self.dtype = dtype
    self.shape = shape
  }

  /// Number of bytes.
  public var byteCount: Int { shape.byteCount(of: dtype) ?? 0 }
}

/// Named tensors that can be read in any order: a folder of safetensors files, or an artifact.
public protocol WeightSource: Sendable {
  /// Every tensor, in file order.
  var tensors: [TensorInfo] { get }

  /// What is known of one tensor, or `nil` if there is none of this name.
  func info(_ name: String) -> TensorInfo?

  /// The tensor's content: mapped, or decoded for this call.
  func tensor(_ name: String) throws(CheckpointError) -> Tensor

  /// Lends the tensor's content part by part, so that it need never be in memory as a whole.
  ///
  /// - Parameter body: is given the offset of each part, a multiple of four bytes, in no order and on several threads at
  ///   once. When an error is thrown, some parts were lent.
  func forEachPart(
    of name: String, _ body: @Sendable (_ offset: Int, UnsafeRawBufferPointer) -> Void
  ) throws(CheckpointError)

  /// Gives the memory of mapped bytes back; they are read again when touched.
  func discardPages()
}

extension WeightSource {
  /// Parts of the whole tensor.
  public func forEachPart(
    of name: String, _ body: @Sendable (_ offset: Int, UnsafeRawBufferPointer) -> Void
  ) throws(CheckpointError) {
    let tensor = try tensor(name)
    tensor.withBytes { bytes in
      nonisolated(unsafe) let bytes = bytes
      Parallel.forEachRange(of: bytes.count, size: 1 << 20) { range in
        body(range.lowerBound, UnsafeRawBufferPointer(rebasing: bytes[range]))
      }
    }
  }

  /// Nothing is mapped.
  public func discardPages() {}
}
