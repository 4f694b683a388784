public import Kernels
public import Tensors

/// Which rows of a matrix of hidden states belong to which text; a text never sees another.
public struct Sequences: Sendable {
  /// Rows of each text, in order, without gaps.
  public let ranges: [Range<Int>]

  /// Texts of these lengths, one after the other.
  public init(lengths: [Int]) {
    var start = 0
    ranges = lengths.map { length in
      defer { start += length }
      return start..<start + length
    }
  }

  /// Windows put together so that a layer has enough rows to work on, and at most ``chunkRows`` unless one is longer.
  public static func chunks(_ windows: [[Int]]) -> [[[Int]]] {
    var result: [[[Int]]] = []
    var rows = 0
    for window in windows {
      if result.isEmpty || rows + window.count > chunkRows {
        result.append([])
        rows = 0
      }
      result[result.count - 1].append(window)
      rows += window.count
    }
    return result
  }

  /// Rows that move through a layer together.
  public static let chunkRows = 2048

  /// Number of rows.
  public var rowCount: Int { ranges.last?.upperBound ?? 0 }

  /// The length of the longest text.
  public var longest: Int { ranges.map(\.count).max() ?? 0 }
}

/// Self-attention with rotary positions and grouped key-value heads.
public struct Attention: Sendable {
  /// The projections.
  public var q, k, v, o: Linear
  /// Heads and scale.
  public let attention: CausalAttention

  /// Attends.
  ///
  /// - Parameters:
  ///   - x: normalised hidden states, `[tokens, hiddenSize]`.
  ///   - cache: keys and values of earlier tokens; then `x` continues that one text.
  /// - Returns: `[tokens, hiddenSize]`.
  public func callAsFunction(
    _ x: Matrix, sequences: Sequences, rotary: RotaryTable, cache: KeyValueCache? = nil, tap: Tap? = nil
  ) -> Matrix {
    var queries = q(x)
    tap?("self_attn.q_proj", x, queries)
    var keys = k(x)
    tap?("self_attn.k_proj", x, keys)
    let values = v(x)
    tap?("self_attn.v_proj", x, values)
    let past = cache?.length ?? 0
    let positions = sequences.ranges.flatMap { range in range.map { $0 - range.lowerBound + past } }
    rotary.rotate(&queries, headDimension: attention.headDimension, positions: positions)
    rotary.rotate(&keys, headDimension: attention.headDimension, positions: positions)
    let mixed: Matrix
    if let cache {
      cache.append(keys: keys, values: values)
      mixed = cache.read { keys, values in attention(queries: queries, keys: keys, values: values) }
    } else if sequences.ranges.count == 1 {
      mixed = attention(queries: queries, keys: keys, values: values)
    } else {
      var joined: [Float] = []
      joined.reserveCapacity(queries.values.count)
      for range in sequences.ranges {
        joined +=
          attention(queries: queries.rows(range), keys: keys.rows(range), values: values.rows(range)).values
      }
      mixed = Matrix(rows: queries.rows, columns: queries.columns, values: joined)
    }
    let output = o(mixed)
    tap?("self_attn.o_proj", mixed, output)
    return output
  }
}

/// down(silu(gate(x)) ⊙ up(x)).
public struct GatedFeedForward: Sendable {
  /// The projections.
  public var gate, up, down: Linear

  /// Applies the feed-forward to normalised hidden states, `[tokens, hiddenSize]`.
  public func callAsFunction(_ x: Matrix, tap: Tap? = nil) -> Matrix {
    let gated = gate(x)
    tap?("mlp.gate_proj", x, gated)
    let raised = up(x)
    tap?("mlp.up_proj", x, raised)
    let inner = gated.siluGated(with: raised)
    let output = down(inner)
    tap?("mlp.down_proj", inner, output)
    return output
  }
}

/// One decoder layer: x += attention(norm(x)); x += feedForward(norm(x)).
public struct DecoderLayer: Sendable {
  /// Weights of the norm before attention.
  public var inputNorm: [Float]
  /// Attention.
  public var attention: Attention
  /// Weights of the norm before the feed-forward.
  public var postAttentionNorm: [Float]
  /// The feed-forward.
  public var feedForward: GatedFeedForward
  /// ε of both norms.
  public let normEpsilon: Float

  /// Moves hidden states through the layer.
  public func callAsFunction(
    _ hidden: inout Matrix, sequences: Sequences, rotary: RotaryTable, cache: KeyValueCache? = nil, tap: Tap? = nil
  ) {
    let attended = attention(
      hidden.rmsNormalized(weight: inputNorm, epsilon: normEpsilon), sequences: sequences, rotary: rotary, cache: cache,
      tap: tap)
    hidden += attended
    let fed = feedForward(hidden.rmsNormalized(weight: postAttentionNorm, epsilon: normEpsilon), tap: tap)
    hidden += fed
  }

  /// The layer's linears by their names within the layer, in checkpoint order.
  public static let linearNames = [
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj",
    "mlp.down_proj",
  ]

  private static func path(_ name: String) -> WritableKeyPath<DecoderLayer, Linear> {
    switch name {
    case "self_attn.q_proj": \.attention.q
    case "self_attn.k_proj": \.attention.k
    case "self_attn.v_proj": \.attention.v
    case "self_attn.o_proj": \.attention.o
    case "mlp.gate_proj": \.feedForward.gate
    case "mlp.up_proj": \.feedForward.up
    case "mlp.down_proj": \.feedForward.down
    default: preconditionFailure("a decoder layer has no linear \(name)")
    }
  }

  /// A linear by its name within the layer.
  public subscript(linear name: String) -> Linear {
    get { self[keyPath: Self.path(name)] }
    set { self[keyPath: Self.path(name)] = newValue }
  }

  /// The weights of a norm by its name within the layer.
  public subscript(norm name: String) -> [Float] {
    get { name == "input_layernorm" ? inputNorm : postAttentionNorm }
    set { if name == "input_layernorm" { inputNorm = newValue } else { postAttentionNorm = newValue } }
  }
}
