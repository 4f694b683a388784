public import Kernels
public import Tensors

/// y = x · Wᵀ + b, with weights in full precision or quantized.
public struct Linear: Sendable {
  /// How the weights are held.
  public enum Weight: Sendable {
    /// As they lie in the checkpoint, `[outFeatures, inFeatures]`.
    case dense(Tensor)
    /// Floats in memory, `[outFeatures, inFeatures]`.
    case matrix(Matrix)
    /// Codes in the kernels' layout.
    case quantized(PackedMatrix)
  }

  /// The module's name in the checkpoint, such as `model.layers.0.mlp.up_proj`.
  public let name: String
  /// The weights.
  public var weight: Weight
  /// One value an output feature, if any.
  public var bias: [Float]?

  /// A linear.
  public init(name: String, weight: Weight, bias: [Float]? = nil) {
    self.name = name
    self.weight = weight
    self.bias = bias
  }

  /// Applies the linear to `[tokens, inFeatures]`.
  public func callAsFunction(_ x: Matrix) -> Matrix {
    var y =
      switch weight {
      case .dense(let tensor) where x.rows <= DenseRows.mostTokens: DenseRows(tensor).product(x)
      case .dense(let tensor): MatrixProduct.product(x, tensor)
      case .matrix(let matrix): MatrixProduct.product(x, transposed: matrix)
      case .quantized(let packed): packed.product(x)
      }
    if let bias { y.addToRows(bias) }
    return y
  }

  /// Number of output features.
  public var outFeatures: Int {
    switch weight {
    case .dense(let tensor): tensor.shape[0]
    case .matrix(let matrix): matrix.rows
    case .quantized(let packed): packed.outFeatures
    }
  }

  /// Number of input features.
  public var inFeatures: Int {
    switch weight {
    case .dense(let tensor): tensor.shape[1]
    case .matrix(let matrix): matrix.columns
    case .quantized(let packed): packed.inFeatures
    }
  }
}

/// Sees every linear of a layer at work: its name within the layer, its input and its output.
///
/// Linears that read the same activation are shown the same input one after another.
public typealias Tap = (_ linear: String, _ input: Matrix, _ output: Matrix) -> Void
