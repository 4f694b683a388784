public import Kernels

/// One decoder layer as data: what it computes and what its tensors are called.
///
/// All names are within the layer, as the checkpoint spells them.
public struct LayerConfiguration: Hashable, Sendable {
  /// How tokens see each other.
  public var attention: AttentionConfiguration
  /// What happens to each token by itself.
  public var feedForward: FeedForwardConfiguration
  /// Where the layer normalises.
  public var norms: LayerNorms
  /// Factor of what attention and feed-forward add to the residual stream.
  public var residualMultiplier: Float

  /// A layer; norms before each block unless said otherwise.
  public init(
    attention: AttentionConfiguration, feedForward: FeedForwardConfiguration, norms: LayerNorms = LayerNorms(),
    residualMultiplier: Float = 1
  ) {
    self.attention = attention
    self.feedForward = feedForward
    self.norms = norms
    self.residualMultiplier = residualMultiplier
  }

  /// The parts that are calibrated one after the other.
  public var blocks: [LayerBlock] { norms.isParallel ? [.parallel] : [.attention, .feedForward] }
}

/// A part of a decoder layer: what is added to the residual stream at once.
public enum LayerBlock: Sendable, Hashable {
  /// Attention, its norms included.
  case attention
  /// The feed-forward, its norms included.
  case feedForward
  /// Both, reading the same normalised input.
  case parallel
}

/// Where a layer normalises, and how.
public struct LayerNorms: Hashable, Sendable {
  /// Module before attention; `nil` where attention reads the residual stream itself.
  public var attentionInput: String?
  /// Module after attention, before its output is added.
  public var attentionOutput: String?
  /// Module before the feed-forward.
  public var feedForwardInput: String?
  /// Module after the feed-forward, before its output is added.
  public var feedForwardOutput: String?
  /// Whether attention and feed-forward both read `attentionInput` and are added together (Cohere).
  public var isParallel: Bool
  /// How all norms of the model work.
  public var style: NormStyle

  /// The common placement: a norm before attention, one before the feed-forward.
  public init(
    attentionInput: String? = "input_layernorm", attentionOutput: String? = nil,
    feedForwardInput: String? = "post_attention_layernorm", feedForwardOutput: String? = nil,
    isParallel: Bool = false, style: NormStyle = NormStyle()
  ) {
    self.attentionInput = attentionInput
    self.attentionOutput = attentionOutput
    self.feedForwardInput = feedForwardInput
    self.feedForwardOutput = feedForwardOutput
    self.isParallel = isParallel
    self.style = style
  }
}

/// How a norm works.
public struct NormStyle: Hashable, Sendable {
  /// Root mean square, or mean and variance.
  public var kind: NormKind = .rms
  /// ε under the root.
  public var epsilon: Float = 1e-6
  /// Whether the stored weight w stands for a factor of 1 + w (Gemma).
  public var isOffset = false

  /// A norm by its root mean square.
  public init(kind: NormKind = .rms, epsilon: Float = 1e-6, isOffset: Bool = false) {
    self.kind = kind
    self.epsilon = epsilon
    self.isOffset = isOffset
  }
}

// MARK: Attention

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

// MARK: Feed-forward

/// What happens to each token by itself.
public enum FeedForwardConfiguration: Hashable, Sendable {
  /// One gated feed-forward for all tokens.
  case dense(DenseFeedForward)
  /// A choice of experts for each token.
  case mixture(MixtureOfExperts)
}

/// down(gate function(gate(x)) ⊙ up(x)).
public struct DenseFeedForward: Hashable, Sendable {
  /// Channels inside.
  public var width: Int
  /// What the gate does.
  public var gate: GateFunction = .silu
  /// Whether the projections have biases.
  public var hasBias = false
  /// Whether gate and up lie in one `gate_up_proj`, the gate's rows first.
  public var isFused = false
  /// Prefix of the projections.
  public var prefix = "mlp."

  /// A feed-forward gated by SiLU.
  public init(width: Int) { self.width = width }
}

/// Experts of which a router chooses some for each token.
public struct MixtureOfExperts: Hashable, Sendable {
  /// How experts lie in the checkpoint.
  public enum Storage: Hashable, Sendable {
    /// A module for each projection of each expert; names of gate, up and down.
    case modules(gate: String, up: String, down: String)
    /// One tensor for gate and up of all experts, one for down.
    case stacked(Stacks)
  }

  /// Tensors of several experts, `[experts, out, in]`; an expert's linears are called after them.
  public struct Stacks: Hashable, Sendable {
    /// Module of gate and up, and of down.
    public var gateUp = "gate_up_proj", down = "down_proj"
    /// What follows a module in its tensor's name.
    public var suffix = ""
    /// Whether the tensors lie as `[experts, in, out]`.
    public var isTransposed = false
    /// Whether gates and ups take turns; otherwise all gates come first.
    public var takesTurns = false
    /// Whether `MODULE_bias` [experts, out] are there.
    public var hasBias = false

    /// Stacks without biases.
    public init() {}
  }

  /// An expert that sees every token.
  public struct Shared: Hashable, Sendable {
    /// The feed-forward.
    public var feedForward: DenseFeedForward
    /// Module of a scalar gate, if there is one.
    public var gateName: String?

    /// A shared expert.
    public init(_ feedForward: DenseFeedForward, gateName: String? = nil) {
      self.feedForward = feedForward
      self.gateName = gateName
    }
  }

  /// More experts than any model has; configurations that say more are refused.
  static let most = 65_536

  /// Number of experts.
  public var count: Int
  /// Experts a token.
  public var perToken: Int
  /// Channels inside an expert.
  public var width: Int
  /// What an expert's gate does.
  public var gate: GateFunction = .silu
  /// How experts are chosen and weighed.
  public var routing: Routing
  /// Module of the router.
  public var router = "mlp.gate"
  /// Whether the router has a bias.
  public var hasRouterBias = false
  /// Prefix of the experts.
  public var prefix = "mlp.experts."
  /// How experts lie in the checkpoint.
  public var storage: Storage = .modules(gate: "gate_proj", up: "up_proj", down: "down_proj")
  /// The expert that sees every token, if any.
  public var shared: Shared?

  /// Experts without biases, each with three modules.
  public init(count: Int, perToken: Int, width: Int, routing: Routing) {
    self.count = count
    self.perToken = perToken
    self.width = width
    self.routing = routing
  }
}
