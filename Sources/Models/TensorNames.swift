/// How a checkpoint's tensors are called: text models lie under other prefixes beside a vision tower.
public struct TensorNames: Sendable, Hashable {
  /// What comes before `layers.`, `embed_tokens` and `norm`.
  public let base: String
  /// The head's module.
  public let head: String

  /// `model.` and `lm_head`, as text models are published.
  public static let plain = TensorNames(base: "model.", head: "lm_head")

  /// The spellings in use, the plainest first.
  static let known = [
    plain, TensorNames(base: "model.language_model.", head: "lm_head"),
    TensorNames(base: "language_model.model.", head: "language_model.lm_head"),
    TensorNames(base: "model.text_model.", head: "lm_head"),
  ]

  /// The spelling of a checkpoint: the one whose embedding is there; the plain one if none is.
  static func of(_ has: (String) -> Bool) -> TensorNames {
    known.first { isLinear($0.embedding, has) } ?? plain
  }

  /// Whether a linear of this name is there, in full precision, packed or as columns of codes.
  static func isLinear(_ name: String, _ has: (String) -> Bool) -> Bool {
    [".weight", ".weight_packed", ".weight_codes"].contains { has(name + $0) }
  }

  /// The embedding's module.
  public var embedding: String { base + "embed_tokens" }
  /// The last norm's module.
  public var norm: String { base + "norm" }
  /// The prefix of a layer's tensors.
  public func layer(_ index: Int) -> String { "\(base)layers.\(index)." }

  /// The name within its layer of a module of a layer, and the layer's index.
  public func place(_ name: String) -> (layer: Int, local: String)? {
    let prefix = base + "layers."
    guard name.hasPrefix(prefix) else { return nil }
    let rest = name.dropFirst(prefix.count)
    guard let dot = rest.firstIndex(of: "."), let layer = Int(rest[..<dot]) else { return nil }
    return (layer, String(rest[rest.index(after: dot)...]))
  }
}
