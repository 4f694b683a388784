extension Report {
  /// How many calibration tokens the router of each mixture-of-experts layer sent to each expert, and what was done for
  /// the experts that saw too few.
  public struct Experts: Sendable, Equatable {
    /// One for each layer with experts, in the order of the model.
    public var layers: [Layer]

    /// Counts of all layers.
    public init(layers: [Layer]) { self.layers = layers }

    /// The experts of one layer.
    public struct Layer: Sendable, Equatable {
      /// The block that holds the experts, such as `model.layers.3.mlp`.
      public var name: String
      /// Calibration tokens that entered the block; each goes to as many experts as the model picks.
      public var routedTokens: Int
      /// Tokens each expert saw on the calibration text, before any help; by expert.
      public var tokens: [Int]
      /// The number of tokens below which an expert counts as starved.
      public var quota: Int
      /// What was done for starved experts, by expert.
      public var help: [Int: Help]

      /// - Parameters:
      ///   - name: the block that holds the experts.
      ///   - routedTokens: calibration tokens that entered the block.
      ///   - tokens: tokens each expert saw, by expert.
      ///   - quota: how many tokens are enough.
      ///   - help: what was done for the experts under the quota, by expert.
      public init(name: String, routedTokens: Int, tokens: [Int], quota: Int, help: [Int: Help] = [:]) {
        self.name = name
        self.routedTokens = routedTokens
        self.tokens = tokens
        self.quota = quota
        self.help = help
      }

      /// The experts that saw fewer tokens than the quota, in order.
      public var starved: [Int] { tokens.indices.filter { tokens[$0] < quota } }
    }

    /// What was done for a starved expert.
    public enum Help: Sendable, Hashable {
      /// More text was read until it had seen this many tokens, which may still be less than the quota.
      case extraSamples(tokens: Int)
      /// Its statistics were replaced by those of everything that entered the layer.
      case layerStatistics
    }
  }
}
