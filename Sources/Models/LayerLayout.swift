public import Tensors

/// What a layer's tensors are: every module in checkpoint order, and where channel scales can be folded.
public struct LayerLayout: Sendable {
  /// A linear of a layer.
  public struct Linear: Sendable, Hashable {
    /// Where the bias is.
    public enum Bias: Sendable, Hashable {
      /// There is none.
      case none
      /// `NAME.bias`.
      case own
      /// One row of a tensor of the layer.
      case row(of: String, index: Int)
    }

    /// Name within the layer.
    public let name: String
    /// Extents.
    public let outFeatures, inFeatures: Int
    /// Where the bias is.
    public var bias: Bias = .none
    /// The tensor that holds the weights of several experts, and which of them it is.
    public var stack: Stack?
    /// Whether it decides over experts; never quantized.
    public var isRouter = false
    /// Whether its output meets another in a product under a softmax.
    public var feedsScores = false
    /// The expert it belongs to.
    public var expert: Int?
    /// The first linear that reads the same input.
    public var reads: String

    /// Part of a tensor of several experts.
    public struct Stack: Sendable, Hashable {
      /// Name within the layer.
      public let tensor: String
      /// Which expert.
      public let index: Int
      /// How many there are.
      public let count: Int
      /// How a matrix lies.
      public let order: MixtureOfExperts.Stacks.Order
    }

    /// Whether a stack of these extents holds `[in, out]`; `nil` if it does not fit at all.
    func isTransposed(in shape: Shape) -> Bool? {
      guard let stack else { return nil }
      switch stack.order {
      case .outIn where shape == [stack.count, outFeatures, inFeatures]: return false
      case .either where shape == [stack.count, outFeatures, inFeatures]: return false
      case .inOut where shape == [stack.count, inFeatures, outFeatures]: return true
      case .either where shape == [stack.count, inFeatures, outFeatures]: return true
      case .outIn, .inOut, .either: return nil
      }
    }
  }

  /// A module of a layer, or a tensor by itself.
  public enum Module: Sendable, Hashable {
    /// A norm, and the extents of its weight.
    case norm(String, shape: Shape)
    /// A linear.
    case linear(Linear)
    /// A tensor by itself.
    case vector(String, count: Int)
  }

  /// All modules in checkpoint order.
  public let modules: [Module]
  /// All linears, in the same order.
  public let linears: [Linear]
  /// Where channel scales can be folded.
  public let folds: [Fold]
  private let indices: [String: Int]

  /// The layout of a layer.
  public init(_ layer: LayerConfiguration, hiddenSize: Int) {
    var builder = LayoutBuilder(hidden: hiddenSize)
    builder.add(layer)
    modules = builder.modules
    linears = builder.modules.compactMap { if case .linear(let linear) = $0 { linear } else { nil } }
    folds = builder.folds
    indices = Dictionary(uniqueKeysWithValues: linears.enumerated().map { ($1.name, $0) })
  }

  /// A linear by its name within the layer.
  public func linear(_ name: String) -> Linear? { indices[name].map { linears[$0] } }
}
