internal import Foundation
public import Tensors

/// How a router's logits choose and weigh experts.
public struct Routing: Hashable, Sendable {
  /// What logits become before experts are chosen.
  public enum Score: Hashable, Sendable {
    /// Probabilities over all experts.
    case softmax
    /// A probability for each expert by itself.
    case sigmoid
    /// The logits choose; weights are probabilities over the chosen alone.
    case softmaxOfChosen
  }

  /// Experts are in groups of which only some may be chosen from.
  public struct Groups: Hashable, Sendable {
    /// Number of groups, and how many may be chosen from.
    public var count, kept: Int
    /// Whether a group's score is the sum of its two best experts; its best one otherwise.
    public var sumsTopTwo: Bool

    /// Groups.
    public init(count: Int, kept: Int, sumsTopTwo: Bool) {
      self.count = count
      self.kept = kept
      self.sumsTopTwo = sumsTopTwo
    }
  }

  /// What logits become.
  public var score: Score
  /// Tensor of one number an expert that is added to the scores for choosing only.
  public var correction: String?
  /// Groups, if experts have some.
  public var groups: Groups?
  /// Whether the chosen weights are divided by their sum.
  public var normalizes: Bool
  /// Factor of the weights.
  public var scaling: Float

  /// A routing.
  public init(
    _ score: Score, correction: String? = nil, groups: Groups? = nil, normalizes: Bool = false, scaling: Float = 1
  ) {
    self.score = score
    self.correction = correction
    self.groups = groups
    self.normalizes = normalizes
    self.scaling = scaling
  }

  /// Chooses for each row of logits, `[tokens, experts]`; among equals the lowest index wins.
  ///
  /// - Parameter correction: one number an expert, where ``correction-swift.property`` names a tensor.
  public func routes(_ logits: Matrix, perToken: Int, correction: [Float]?) -> Routes {
    var routes = Routes(perToken: perToken)
    routes.experts.reserveCapacity(logits.rows * perToken)
    routes.weights.reserveCapacity(logits.rows * perToken)
    for row in 0..<logits.rows {
      let scores = scores(Array(logits.row(row)))
      var wanted = correction.map { zip(scores, $0).map(+) } ?? scores
      if let groups { restrict(&wanted, to: groups) }
      let chosen = Self.largest(perToken, of: wanted)
      var weights = chosen.map { scores[$0] }
      switch score {
      case .softmaxOfChosen:
        weights = Self.softmax(weights)
      case .softmax, .sigmoid:
        if normalizes {
          let sum = weights.reduce(0, +) + 1e-20
          weights = weights.map { $0 / sum }
        }
      }
      routes.experts += chosen
      routes.weights += weights.map { $0 * scaling }
    }
    return routes
  }

  private func scores(_ logits: [Float]) -> [Float] {
    switch score {
    case .softmax: Self.softmax(logits)
    case .sigmoid: logits.map { 1 / (1 + exp(-$0)) }
    case .softmaxOfChosen: logits
    }
  }

  private static func softmax(_ logits: [Float]) -> [Float] {
    let top = logits.max() ?? 0
    let weights = logits.map { exp($0 - top) }
    let sum = weights.reduce(0, +)
    return weights.map { $0 / sum }
  }

  /// Takes the groups that are not kept out of the choice.
  private func restrict(_ scores: inout [Float], to groups: Groups) {
    let size = scores.count / groups.count
    let groupScores = (0..<groups.count).map { group -> Float in
      let members = scores[group * size..<(group + 1) * size]
      guard groups.sumsTopTwo else { return members.max() ?? 0 }
      return members.sorted(by: >).prefix(2).reduce(0, +)
    }
    let kept = Set(Self.largest(groups.kept, of: groupScores))
    for index in scores.indices where !kept.contains(index / size) { scores[index] = -.infinity }
  }

  private static func largest(_ count: Int, of values: [Float]) -> [Int] {
    guard count < 16 else {
      return Array(values.indices.sorted { (values[$0], $1) > (values[$1], $0) }.prefix(count))
    }
    var chosen: [Int] = []
    for _ in 0..<count {
      var best = -1
      for index in values.indices where !chosen.contains(index) && (best < 0 || values[index] > values[best]) {
        best = index
      }
      chosen.append(best)
    }
    return chosen
  }
}

/// Which experts the tokens of a matrix go to.
public struct Routes: Sendable {
  /// Experts a token.
  public let perToken: Int
  /// `[tokens × perToken]`.
  public var experts: [Int] = []
  /// Like ``experts``.
  public var weights: [Float] = []

  /// No tokens yet.
  public init(perToken: Int) { self.perToken = perToken }
}
