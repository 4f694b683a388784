public import Kernels

/// How tokens see each other.
public enum AttentionConfiguration: Hashable, Sendable {
  /// Queries over groups of shared keys and values (Ainslie et al., 2023).
  case grouped(GroupedAttention)
  /// Keys and values out of one compressed vector a token (DeepSeek-V2, 2024).
  case latent(LatentAttention)
}

/// Which rotary table a layer uses, and which channels it pairs.
public struct RotaryUse: Hashable, Sendable {
  /// Index into ``ModelConfiguration/rotaries``.
  public var table: Int
  /// Which channels turn together.
  public var pairing: RotaryPairing

  /// A use of a table.
  public init(table: Int = 0, pairing: RotaryPairing = .halves) {
    self.table = table
    self.pairing = pairing
  }
}

/// Attention with separate (or fused) query, key and value projections.
public struct GroupedAttention: Hashable, Sendable {
  /// Norms of queries and keys.
  public struct HeadNorms: Hashable, Sendable {
    /// What one norm spans, and how many weights it has.
    public enum Span: Hashable, Sendable {
      /// Each head by itself, one weight a channel, shared by all heads.
      case head
      /// Each head by itself, every head with weights of its own.
      case ownHead
      /// All heads together.
      case row
    }
    /// What is normalised together.
    public var span: Span
    /// Module names.
    public var query = "self_attn.q_norm", key = "self_attn.k_norm"
    /// Whether the rotation comes first.
    public var followsRotary = false

    /// Norms before the rotation.
    public init(_ span: Span) { self.span = span }
  }

  /// Number of query heads.
  public var heads: Int
  /// Number of key-value heads; divides ``heads``.
  public var keyValueHeads: Int
  /// Channels a head.
  public var headDimension: Int
  /// Factor of the scores.
  public var scale: Float
  /// Rotation, if the layer knows positions at all.
  public var rotary: RotaryUse? = RotaryUse()
  /// Number of keys a query sees, itself included; `nil` sees all before it.
  public var window: Int?
  /// c of c·tanh(score / c).
  public var softcap: Float?
  /// Whether `self_attn.sinks` adds a logit a head to the softmax.
  public var hasSinks = false
  /// Norms of queries and keys.
  public var headNorms: HeadNorms?
  /// Whether q, k and v lie in one `self_attn.qkv_proj`.
  public var isFused = false
  /// Whether q, k and v have biases.
  public var hasQueryKeyValueBias = false
  /// Whether o has a bias.
  public var hasOutputBias = false
  /// Bound of queries, keys and values before they turn (OLMoE).
  public var clip: Float?
  /// The output projection's module.
  public var outputName = "self_attn.o_proj"

  /// Attention without biases over the whole text.
  public init(heads: Int, keyValueHeads: Int, headDimension: Int) {
    self.heads = heads
    self.keyValueHeads = keyValueHeads
    self.headDimension = headDimension
    scale = 1 / Float(headDimension).squareRoot()
  }
}

/// Multi-head latent attention.
public struct LatentAttention: Hashable, Sendable {
  /// Number of heads.
  public var heads: Int
  /// Width of the compressed queries; `nil` projects them directly.
  public var queryRank: Int?
  /// Width of the compressed keys and values.
  public var keyValueRank: Int
  /// Channels of a query or key that do not turn, and that do.
  public var plainDimension, rotaryDimension: Int
  /// Channels of a value.
  public var valueDimension: Int
  /// Factor of the scores.
  public var scale: Float
  /// Rotation.
  public var rotary: RotaryUse
  /// Whether the projections out of the hidden states and the output projection have biases.
  public var hasBias = false
  /// ε of the norms inside.
  public var epsilon: Float = 1e-6

  /// Channels of a query or key.
  public var headDimension: Int { plainDimension + rotaryDimension }

  /// Latent attention whose scale is 1/√(plain + rotary).
  public init(
    heads: Int, queryRank: Int?, keyValueRank: Int, plainDimension: Int, rotaryDimension: Int, valueDimension: Int,
    rotary: RotaryUse
  ) {
    self.heads = heads
    self.queryRank = queryRank
    self.keyValueRank = keyValueRank
    self.plainDimension = plainDimension
    self.rotaryDimension = rotaryDimension
    self.valueDimension = valueDimension
    self.rotary = rotary
    scale = 1 / Float(plainDimension + rotaryDimension).squareRoot()
  }
}
