public import Tensors

/// What a conversion makes of a model's weights.
public enum ConversionTarget: String, Sendable, CaseIterable {
  /// Codes of quantized linears stay, spelled as compressed-tensors; everything else stays as it is.
  case compressedTensors = "compressed-tensors"
  /// Everything is decoded and rounded to BF16.
  case bfloat16 = "bf16"
  /// Everything is decoded and rounded to F16.
  case float16
  /// Everything is decoded, and loses nothing.
  case float32

  /// The type of all weights; `nil` where they keep theirs.
  public var elementType: DType? {
    switch self {
    case .compressedTensors: nil
    case .bfloat16: .bfloat16
    case .float16: .float16
    case .float32: .float32
    }
  }
}
