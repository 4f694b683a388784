internal import Kernels
public import Tensors

/// A normalisation with its weights.
public struct Norm: Sendable {
  /// How it works.
  public let style: NormStyle
  /// The factor of each channel; where weights are stored as offsets, this is 1 + w.
  public var gains: [Float]

  /// A norm out of weights as they are stored.
  public init(_ style: NormStyle, stored: [Float]) {
    self.style = style
    gains = style.isOffset ? stored.map { 1 + $0 } : stored
  }

  /// Normalises rows, or runs of `width` columns of each row.
  public func callAsFunction(_ x: Matrix, width: Int? = nil) -> Matrix {
    x.normalized(style.kind, weight: gains, epsilon: style.epsilon, width: width)
  }

  /// Factors as they are stored.
  public func stored(_ gains: [Float]) -> [Float] { style.isOffset ? gains.map { $0 - 1 } : gains }

  /// The factors nearest to `gains` that can be stored.
  public func storable(_ gains: [Float], as dtype: DType) -> [Float] {
    let rounded = Tensor([gains.count], floats: stored(gains), as: dtype).floats()
    return style.isOffset ? rounded.map { 1 + $0 } : rounded
  }
}

extension GateFunction {
  /// Whether a factor of `up` is a factor of the result, so that scales can be folded through.
  var isLinearInUp: Bool { if case .clampedSwish = self { false } else { true } }
}
