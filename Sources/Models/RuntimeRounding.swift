/// What a runtime rounds besides the weights, to be carried out where it is asked for.
public struct RuntimeRounding: Sendable, Hashable {
  /// Inputs of linears whose scheme quantizes activations.
  public var activations: Bool
  /// Keys and values, where the checkpoint says how they are kept.
  public var cache: Bool
  /// What products with integer codes do to activations that ``activations`` leaves as they are: our own kernels', for
  /// speed, whatever the scheme says.
  public var products: Products

  /// What products with integer codes do to activations.
  public enum Products: Sendable, Hashable {
    /// Nothing: the arithmetic of verification.
    case float
    /// They round them to int8, but where the checkpoint says that this was measured and costs too much.
    case chosen
    /// They all round them to int8.
    case int8
  }

  /// What is rounded.
  public init(activations: Bool, cache: Bool, products: Products = .float) {
    self.activations = activations
    self.cache = cache
    self.products = products
  }

  /// Floats throughout.
  public static let none = RuntimeRounding(activations: false, cache: false)
  /// All that a runtime rounds.
  public static let all = RuntimeRounding(activations: true, cache: true)
}
