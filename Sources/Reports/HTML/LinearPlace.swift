/// Where a linear stands: its kind and its decoder layer, read from its name.
struct LinearPlace: Hashable {
  /// `q`, `k`, `v`, `o`, `gate`, `up`, `down`, or the last part of the name.
  let kind: String
  /// The decoder layer; `nil` for linears outside the layers, such as `lm_head`.
  let layer: Int?

  /// - Parameter name: such as `model.layers.17.mlp.experts.3.down_proj`; the first number is the layer.
  init(_ name: String) {
    let parts = name.split(separator: ".")
    layer = parts.lazy.compactMap { Int($0) }.first
    let last = parts.last { Int($0) == nil && $0 != "weight" }.map(String.init) ?? name
    kind = Self.shortNames[last] ?? last
  }

  private static let shortNames = [
    "q_proj": "q", "k_proj": "k", "v_proj": "v", "o_proj": "o", "gate_proj": "gate", "up_proj": "up",
    "down_proj": "down", "w1": "gate", "w3": "up", "w2": "down", "out_proj": "o", "dense": "o",
  ]

  /// The order in which kinds are listed: as a layer computes them, others after that.
  static let order = ["q", "k", "v", "o", "gate", "up", "down"]
}
