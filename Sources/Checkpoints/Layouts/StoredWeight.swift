public import Kernels
public import Quantization
public import Tensors

/// The weight of one quantized linear, as its file holds it.
///
/// Shapes, types, scales, zero points and the order of columns were checked when it was opened; of the codes nothing was
/// read. The tensors of a folder stay mapped, so a weight costs no memory of its own; those of an artifact are decoded
/// once and live as long as the weight.
public struct StoredWeight: Sendable {
  /// The rows as floats, decoded tile by tile.
  ///
  /// A float8 code that is NaN reads as NaN: whoever reads a whole weight anyway sees it there, without a pass of its
  /// own over the file. ``check()`` and ``codes`` refuse it.
  public let rows: WeightRows
  /// The codes and scales as one quantized matrix, checked while they are read; `nil` where columns are out of order
  /// (GPTQ with `desc_act`).
  public let codes: (@Sendable () throws(CheckpointError) -> QuantizedTensor)?
  /// The same in the kernels' layout, packed while they are read.
  public let packed: (@Sendable () throws(CheckpointError) -> PackedMatrix)?
  private let stored: StoredCodes
  private let refusal: @Sendable (String) -> CheckpointError

  /// - Parameter codesName: the tensor that holds the codes, for messages.
  init(_ stored: StoredCodes, storedType: DType, codesName: String, file: String) {
    let refusal: @Sendable (String) -> CheckpointError = { problem in
      .malformed(file: file, offset: nil, tensor: codesName, problem: problem)
    }
    self.stored = stored
    self.refusal = refusal
    rows = WeightRows(
      outFeatures: stored.outFeatures, inFeatures: stored.inFeatures, storedType: storedType
    ) { stored.copyRows($0, to: $1) }
    guard stored.order == nil else {
      (codes, packed) = (nil, nil)
      return
    }
    codes = { () throws(CheckpointError) in
      if let problem = stored.problem() { throw refusal(problem) }
      return stored.quantizedTensor()
    }
    packed = { () throws(CheckpointError) in
      if let problem = stored.problem() { throw refusal(problem) }
      return try stored.packed()
    }
  }

  /// How the weights are stored, as its tensors say.
  public var quantization: WeightQuantization { stored.quantization }

  /// Reads every code that could be wrong and refuses those that are: NaN among float8, integers too large for their
  /// bits.
  public func check() throws(CheckpointError) {
    if let problem = stored.problem() { throw refusal(problem) }
  }
}
