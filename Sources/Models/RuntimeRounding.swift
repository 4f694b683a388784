/// What a runtime rounds besides the weights, to be carried out where it is asked for.
public struct RuntimeRounding: Sendable, Hashable {
  /// Inputs of linears whose scheme quantizes activations.
  public var activations: Bool
  /// Keys and values, where the checkpoint says how they are kept.
  public var cache: Bool

  /// What is rounded.
  public init(activations: Bool, cache: Bool) {
    self.activations = activations
    self.cache = cache
  }

  /// Floats throughout.
  public static let none = RuntimeRounding(activations: false, cache: false)
  /// All that a runtime rounds.
  public static let all = RuntimeRounding(activations: true, cache: true)
}
