internal import Foundation
internal import Kernels
public import Tensors

extension DecoderLayer {
  /// Rows that an expert works on together.
  public static let expertRows = 2048

  /// Chooses experts for normalised rows.
  public func routes(_ m: MixtureOfExperts, _ x: Matrix, tap: Tap? = nil) throws(ModelError) -> Routes {
    let logits = try apply(m.router, x, tap)
    return m.routing.routes(logits, perToken: m.perToken, correction: m.routing.correction.flatMap { vectors[$0] })
  }

  /// What one expert makes of normalised rows, before it is weighed.
  public func expert(
    _ index: Int, of m: MixtureOfExperts, _ x: Matrix, tap: Tap? = nil
  ) throws(ModelError) -> Matrix {
    let prefix = "\(m.prefix)\(index)."
    switch m.storage {
    case .modules(let gate, let up, let down):
      let branches = try apply([prefix + gate, prefix + up], x, tap)
      return try apply(prefix + down, branches[0].gated(with: branches[1], by: m.gate), tap)
    case .stacked(let stacks):
      let both = try apply(prefix + stacks.gateUp, x, tap)
      let (gates, ups) =
        stacks.takesTurns
        ? both.deinterleaved() : (both.columns(0..<m.width), both.columns(m.width..<2 * m.width))
      return try apply(prefix + stacks.down, gates.gated(with: ups, by: m.gate), tap)
    }
  }

  /// What the shared expert makes of normalised rows, if there is one.
  public func sharedExpert(_ m: MixtureOfExperts, _ x: Matrix, tap: Tap? = nil) throws(ModelError) -> Matrix? {
    guard let shared = m.shared else { return nil }
    var result = try feed(shared.feedForward, x, tap: tap)
    if let name = shared.gateName {
      let gates = try apply(name, x, tap).values.map { 1 / (1 + exp(-$0)) }
      result.scaleRows(by: gates)
    }
    return result
  }

  /// Moves hidden states through experts, one expert at a time over the tokens of all chunks.
  func advance(_ hidden: HiddenStates, through m: MixtureOfExperts, tap: Tap?) throws(ModelError) {
    let sums = try mix(m, hidden, tap: tap) { (rows: Matrix) in input(rows, configuration.norms.feedForwardInput) }
    try add(sums, to: hidden)
  }

  /// Adds what experts gave to the residual stream, through the norm behind them if there is one.
  public func add(_ sums: HiddenStates, to hidden: HiddenStates) throws(ModelError) {
    for chunk in hidden.chunks.indices {
      var states = try hidden.read(chunk)
      states.add(
        input(try sums.read(chunk), configuration.norms.feedForwardOutput), times: configuration.residualMultiplier)
      try hidden.write(states, to: chunk)
    }
  }

  /// The weighed sum of all experts for every row.
  func mix(
    _ m: MixtureOfExperts, _ hidden: HiddenStates, tap: Tap?, normalize: (Matrix) -> Matrix
  ) throws(ModelError) -> HiddenStates {
    let sums = try hidden.zeros()
    var seats = ExpertSeats(count: m.count)
    for chunk in hidden.chunks.indices {
      let x = normalize(try hidden.read(chunk))
      seats.add(try routes(m, x, tap: tap), chunk: chunk)
      if let shared = try sharedExpert(m, x, tap: tap) { try sums.write(shared, to: chunk) }
    }
    for index in 0..<m.count {
      for piece in seats.pieces(of: index, rows: Self.expertRows) {
        let x = normalize(try hidden.gather(piece.places))
        try sums.add(try expert(index, of: m, x, tap: tap), to: piece.places, weights: piece.weights)
      }
    }
    return sums
  }
}

/// Which rows of hidden states each expert works on.
public struct ExpertSeats: Sendable {
  /// Rows of one expert, in order.
  public struct Piece: Sendable {
    /// The rows.
    public var places: [HiddenStates.Place] = []
    /// What each is weighed with.
    public var weights: [Float] = []
  }

  private var experts: [Piece]

  /// No rows yet.
  public init(count: Int) { experts = [Piece](repeating: Piece(), count: count) }

  /// Adds the rows of a chunk.
  public mutating func add(_ routes: Routes, chunk: Int) {
    for (index, expert) in routes.experts.enumerated() {
      experts[expert].places.append(.init(chunk: chunk, row: index / routes.perToken))
      experts[expert].weights.append(routes.weights[index])
    }
  }

  /// Rows of each expert.
  public var counts: [Int] { experts.map(\.places.count) }

  /// All rows of an expert.
  public subscript(expert: Int) -> Piece { experts[expert] }

  /// The rows of an expert in pieces of bounded size.
  public func pieces(of expert: Int, rows limit: Int) -> [Piece] {
    let all = experts[expert]
    return stride(from: 0, to: all.places.count, by: limit).map { start in
      let range = start..<min(start + limit, all.places.count)
      return Piece(places: Array(all.places[range]), weights: Array(all.weights[range]))
    }
  }
}
