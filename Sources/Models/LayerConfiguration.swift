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
