// What one token says about two models.
//
// With z the logits at a position, log p[i] = z[i] − log Σ exp z[j] over the whole vocabulary, p of the reference and q
// of the candidate, y the token that follows in the text:
//
//   divergence          KL(p‖q) = Σ p[i] · (log p[i] − log q[i])      nats, ≥ 0
//   loss                −log p[y], −log q[y]                          nats
//   top-1 agreement     arg max p = arg max q                         lowest index wins ties
//
// llama.cpp's examples/perplexity computes the same, from logits it has rounded to 16 bits, which leaves a floor of
// 5.5e-4 nats (facts/algorithms.md §6). Here logits are float32 and everything after them is double.

internal import CKernels
public import Tensors

/// The scores of one position.
public struct TokenScore: Sendable, Equatable {
  /// What the candidate made of the same position.
  public struct Candidate: Sendable, Equatable {
    /// KL(p‖q), nats; +∞ where the candidate's logits are not finite.
    public var divergence: Double
    /// −log q[y], nats; +∞ where the candidate's logits are not finite.
    public var loss: Double
    /// Whether both models hold the same token for the likeliest.
    public var agrees: Bool

    /// Scores made elsewhere.
    public init(divergence: Double, loss: Double, agrees: Bool) {
      self.divergence = divergence
      self.loss = loss
      self.agrees = agrees
    }

    /// q[y], the probability of the token that follows.
    public var targetProbability: Double { (-loss).exponential }
  }

  /// −log p[y], nats.
  public var referenceLoss: Double
  /// The candidate's scores; `nil` where only a perplexity is wanted.
  public var candidate: Candidate?

  /// Scores made elsewhere.
  public init(referenceLoss: Double, candidate: Candidate?) {
    self.referenceLoss = referenceLoss
    self.candidate = candidate
  }

  /// p[y], the probability of the token that follows, under the reference.
  public var targetProbability: Double { (-referenceLoss).exponential }

  /// Scores one position; safe to call from many threads at once.
  ///
  /// A candidate whose logits are not finite is infinitely far away; such a reference is an error.
  ///
  /// - Parameters:
  ///   - reference: logits `[vocabulary]`, float32.
  ///   - candidate: logits `[vocabulary]`, float32, or `nil` for the loss alone.
  ///   - target: the id of the token that follows.
  ///   - position: for the error's message.
  public init(
    reference: UnsafeBufferPointer<Float>, candidate: UnsafeBufferPointer<Float>?, target: Int, position: Int = 0
  ) throws(ReportsError) {
    precondition(reference.indices.contains(target), "target \(target) of a vocabulary of \(reference.count)")
    guard let x = reference.baseAddress else { throw .referenceNotFinite(position: position) }
    guard let candidate, let y = candidate.baseAddress else {
      let normalizer = ck_normalize_logits(x, reference.count)
      guard normalizer.log_sum.isFinite else { throw .referenceNotFinite(position: position) }
      self.init(referenceLoss: normalizer.log_sum - Double(x[target]), candidate: nil)
      return
    }
    precondition(candidate.count == reference.count, "\(candidate.count) logits beside \(reference.count)")
    var ofReference = ck_normalizer()
    var ofCandidate = ck_normalizer()
    let divergence = ck_kl_divergence(x, y, reference.count, &ofReference, &ofCandidate)
    guard ofReference.log_sum.isFinite else { throw .referenceNotFinite(position: position) }
    let isFinite = ofCandidate.log_sum.isFinite
    self.init(
      referenceLoss: ofReference.log_sum - Double(x[target]),
      candidate: Candidate(
        divergence: isFinite ? max(0, divergence) : .infinity,
        loss: isFinite ? ofCandidate.log_sum - Double(y[target]) : .infinity,
        agrees: isFinite && ofReference.top == ofCandidate.top))
  }
}

/// The scores of one window of text, in the order of its positions.
public struct TokenScores: Sendable, Equatable {
  /// One score per position.
  public var positions: [TokenScore]

  /// Scores made elsewhere, or in parallel.
  public init(_ positions: [TokenScore] = []) { self.positions = positions }

  /// Scores all positions of a window, or a slice of it, one after another.
  ///
  /// - Parameters:
  ///   - reference: logits `[positions, vocabulary]`.
  ///   - candidate: logits of the same shape, or `nil` for the loss alone.
  ///   - targets: per position the id of the token that follows.
  public init(reference: Matrix, candidate: Matrix?, targets: [Int]) throws(ReportsError) {
    precondition(targets.count == reference.rows, "\(targets.count) targets for \(reference.rows) positions")
    if let candidate {
      precondition(
        candidate.rows == reference.rows && candidate.columns == reference.columns,
        "candidate [\(candidate.rows), \(candidate.columns)], reference [\(reference.rows), \(reference.columns)]")
    }
    var scores: [TokenScore] = []
    scores.reserveCapacity(targets.count)
    for (position, target) in targets.enumerated() {
      scores.append(try Self.score(position, reference, candidate, target: target))
    }
    positions = scores
  }

  /// Appends the scores of the positions that follow in the same window.
  public mutating func append(_ more: TokenScores) { positions += more.positions }

  private static func score(
    _ position: Int, _ reference: Matrix, _ candidate: Matrix?, target: Int
  ) throws(ReportsError) -> TokenScore {
    let range = position * reference.columns..<(position + 1) * reference.columns
    let result = reference.values.withUnsafeBufferPointer { x in
      let row = UnsafeBufferPointer(rebasing: x[range])
      guard let candidate else {
        return Result { () throws(ReportsError) in
          try TokenScore(reference: row, candidate: nil, target: target, position: position)
        }
      }
      return candidate.values.withUnsafeBufferPointer { y in
        Result { () throws(ReportsError) in
          try TokenScore(
            reference: row, candidate: UnsafeBufferPointer(rebasing: y[range]), target: target, position: position)
        }
      }
    }
    return try result.get()
  }
}
