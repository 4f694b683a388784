public import Kernels

/// What a runtime rounds besides the weights, to be carried out where it is asked for.
public struct RuntimeRounding: Sendable, Hashable {
  /// Inputs of linears whose scheme quantizes activations.
  public var activations: Bool
  /// Keys and values, where the checkpoint says how they are kept.
  public var cache: Bool
  /// What products with integer codes do to activations that ``activations`` leaves as they are: our own kernels', for
  /// speed, whatever the scheme says.
  public var products: PackedMatrix.Activations

  /// What is rounded.
  public init(activations: Bool, cache: Bool, products: PackedMatrix.Activations = .float) {
    self.activations = activations
    self.cache = cache
    self.products = products
  }

  /// Floats throughout.
  public static let none = RuntimeRounding(activations: false, cache: false)
  /// All that a runtime rounds.
  public static let all = RuntimeRounding(activations: true, cache: true)
}
