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

  /// Gives the memory of mapped bytes back; they are read again when touched.
  func discardPages()
}

extension WeightSource {
  /// Nothing is mapped.
  public func discardPages() {}
}
