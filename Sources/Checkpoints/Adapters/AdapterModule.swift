internal import Tensors

/// All that an adapter says of one module.
struct AdapterModule: Sendable {
  /// A and B, and B's bias.
  struct Factors: Sendable {
    /// A `[rank, inFeatures]`; of fused experts `[experts · rank, inFeatures]`.
    var down: Tensor?
    /// B `[outFeatures, rank]`; of fused experts `[outFeatures, rank · experts]`.
    var up: Tensor?
    /// `[outFeatures]`.
    var bias: Tensor?
  }

  /// Its name in the adapter, without PEFT's prefix.
  let name: String
  /// By depth of nesting: wrappers around wrappers, one for each fused parameter, the last declared outermost, at 0.
  var factors: [Int: Factors] = [:]
  /// A `[rank, vocabulary]` of an embedding.
  var embeddingDown: Tensor?
  /// B `[hidden, rank]` of an embedding.
  var embeddingUp: Tensor?
  /// The lengths of rows, `[outFeatures]`, or of an embedding's columns, `[hidden]`.
  var magnitude: Tensor?
  /// Rows of an embedding that replace the base's, `[tokens, hidden]`.
  var tokenRows: Tensor?
  /// Tensors that replace the base's, by the last part of their names.
  var whole: [String: Tensor] = [:]
  /// Every tensor, under its name in the file.
  var tensors: [(name: String, tensor: Tensor)] = []

  init(name: String) { self.name = name }

  /// Whether B·A is added somewhere.
  var hasLowRank: Bool { !factors.isEmpty || hasEmbeddingFactors }

  /// Whether B·A is added to an embedding.
  var hasEmbeddingFactors: Bool { embeddingDown != nil || embeddingUp != nil }

  /// Whether the module's `weight` changes; fused parameters are others.
  var changesWeight: Bool { hasLowRank || tokenRows != nil || whole["weight"] != nil }
}

// MARK: Reading

extension AdapterModule {
  /// What a tensor of an adapter is.
  enum Role: Equatable {
    case down(depth: Int)
    case up(depth: Int)
    case upBias(depth: Int)
    case embeddingDown, embeddingUp, magnitude, tokenRows
    case whole(String)
  }

  /// Splits a tensor's name, without PEFT's prefix, into its module and what it is there; `nil` if it is neither known nor
  /// a parameter of a module.
  static func parse(_ name: String) -> (module: String, role: Role)? {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    let markers = [
      "lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector", "token_adapter",
    ]
    guard let place = parts.firstIndex(where: markers.contains) else {
      guard let last = parts.last, parts.count > 1, !parts.contains(where: { $0.hasPrefix("lora_") }),
        !parts.contains("modules_to_save")
      else { return nil }
      return (stripped(Array(parts.dropLast())).module, .whole(last))
    }
    let (module, depth) = stripped(Array(parts[..<place]))
    guard !module.isEmpty else { return nil }
    var rest = Array(parts[(place + 1)...])
    // What follows may still name the adapter, as in memory: `lora_A.default.weight`.
    let ending = rest.last.flatMap { ["weight", "bias"].contains($0) ? rest.removeLast() : nil }
    switch (parts[place], ending) {
    case ("lora_A", "weight"?) where rest.count < 2: return (module, .down(depth: depth))
    case ("lora_B", "weight"?) where rest.count < 2: return (module, .up(depth: depth))
    case ("lora_B", "bias"?) where rest.count < 2: return (module, .upBias(depth: depth))
    case ("lora_embedding_A", nil) where rest.count < 2 && depth == 0: return (module, .embeddingDown)
    case ("lora_embedding_B", nil) where rest.count < 2 && depth == 0: return (module, .embeddingUp)
    case ("lora_magnitude_vector", nil) where rest.count < 2 && depth == 0: return (module, .magnitude)
    case ("lora_magnitude_vector", "weight"?) where rest.count < 2 && depth == 0: return (module, .magnitude)
    case ("token_adapter", nil) where rest.first == "trainable_tokens_delta" && rest.count < 3:
      return (module, .tokenRows)
    case ("token_adapter", "weight"?) where rest == ["base_layer"]: return (module, .whole("weight"))
    default: return nil
    }
  }

  private static func stripped(_ parts: [String]) -> (module: String, depth: Int) {
    let depth = parts.reversed().prefix { $0 == "base_layer" }.count
    return (parts.dropLast(depth).joined(separator: "."), depth)
  }

  /// Takes a tensor in; `false` if there is one in its place.
  mutating func add(_ tensor: Tensor, named name: String, as role: Role) -> Bool {
    tensors.append((name, tensor))
    func put(_ place: inout Tensor?) -> Bool {
      guard place == nil else { return false }
      place = tensor
      return true
    }
    switch role {
    case .down(let depth): return put(&factors[depth, default: Factors()].down)
    case .up(let depth): return put(&factors[depth, default: Factors()].up)
    case .upBias(let depth): return put(&factors[depth, default: Factors()].bias)
    case .embeddingDown: return put(&embeddingDown)
    case .embeddingUp: return put(&embeddingUp)
    case .magnitude: return put(&magnitude)
    case .tokenRows: return put(&tokenRows)
    case .whole(let last): return put(&whole[last])
    }
  }
}
