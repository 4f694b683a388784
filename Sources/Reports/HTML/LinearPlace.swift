/// Where a linear stands in the model, read from its name.
struct LinearPlace: Hashable {
  /// What a linear belongs to.
  enum Part: String, CaseIterable {
    /// Attention, a dense MLP, or something outside the layers.
    case plain
    /// An expert that sees every token.
    case shared
    /// One of the experts that a router picks from.
    case expert
  }

  /// `q`, `kv_a`, `gate`, … or the last part of the name.
  let kind: String
  /// What it belongs to.
  let part: Part
  /// The decoder layer; `nil` for linears elsewhere, such as `lm_head` or a vision tower.
  let layer: Int?
  /// The name with `*` for the expert's number, so that the experts of a layer share it.
  let pattern: String

  /// - Parameter name: such as `model.layers.17.mlp.experts.3.down_proj`, with or without `.weight`.
  init(_ name: String) {
    var parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    if parts.last == "weight" && parts.count > 1 { parts.removeLast() }
    let expert = Self.expertPart(of: parts)
    let number = parts.indices.first { $0 != expert && Int(parts[$0]) != nil }
    let isElsewhere = number.map { !Self.otherTowers.isDisjoint(with: parts[..<$0]) } ?? true
    layer = isElsewhere ? nil : number.flatMap { Int(parts[$0]) }
    part = parts.contains { $0.hasPrefix("shared_expert") } ? .shared : expert == nil ? .plain : .expert
    let last = parts.last { Int($0) == nil } ?? name
    kind = Self.shortNames[last] ?? last
    if let expert, part == .expert { parts[expert] = "*" }
    pattern = parts.joined(separator: ".")
  }

  /// The number of the expert that a linear belongs to.
  static func expert(_ name: String) -> Int? {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    return expertPart(of: parts).flatMap { Int(parts[$0]) }
  }

  private static func expertPart(of parts: [String]) -> Int? {
    parts.indices.dropFirst().first { Int(parts[$0]) != nil && parts[$0 - 1].hasSuffix("experts") }
  }

  /// What plots call it: the kind, after `shared` where that is meant.
  var label: String { part == .shared ? "shared " + kind : kind }

  /// Stacks with layers of their own, whose numbers are not those of decoder layers.
  private static let otherTowers: Set<String> = [
    "visual", "vision_tower", "vision_model", "vision_encoder", "vision", "audio_tower", "audio_model", "audio_encoder",
    "mtp",
  ]

  private static let shortNames = [
    "q_proj": "q", "k_proj": "k", "v_proj": "v", "o_proj": "o", "out_proj": "o", "dense": "o",
    "qkv_proj": "qkv", "query_key_value": "qkv", "Wqkv": "qkv", "W_pack": "qkv",
    "q_a_proj": "q_a", "q_b_proj": "q_b", "kv_a_proj_with_mqa": "kv_a", "kv_b_proj": "kv_b",
    "gate_proj": "gate", "up_proj": "up", "down_proj": "down", "gate_up_proj": "gate_up",
    "w1": "gate", "w3": "up", "w2": "down", "dense_h_to_4h": "up", "dense_4h_to_h": "down", "gate": "router",
  ]

  /// The order in which kinds are listed: as a layer computes them, others after that.
  static let order = [
    "q_a", "q_b", "q", "kv_a", "kv_b", "k", "v", "qkv", "o", "router", "gate_up", "gate", "up", "down",
  ]
}
