public import Kernels

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

  /// Tensors of several experts; an expert's linears are called after them.
  public struct Stacks: Hashable, Sendable {
    /// How the matrix of an expert lies in its tensor.
    public enum Order: Hashable, Sendable {
      /// `[experts, out, in]`.
      case outIn
      /// `[experts, in, out]`.
      case inOut
      /// Either, as the extents say, `[experts, out, in]` where both fit: files of both kinds are about.
      case either
    }

    /// Module of gate and up, and of down.
    public var gateUp = "gate_up_proj", down = "down_proj"
    /// What follows a module in its tensor's name.
    public var suffix = ""
    /// How a matrix lies.
    public var order = Order.outIn
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
