import Foundation
import Models
import Tensors
import Testing

@Suite struct RoutingTests {
  private static func routes(
    _ routing: Routing, _ logits: [Float], perToken: Int, correction: [Float]? = nil
  ) -> Routes {
    routing.routes(
      Matrix(rows: 1, columns: logits.count, values: logits), perToken: perToken, correction: correction)
  }

  private static func sigmoid(_ x: Float) -> Float { 1 / (1 + exp(-x)) }

  @Test func `among equals the lowest index wins`() {
    for routing in [Routing(.softmax), Routing(.sigmoid), Routing(.softmaxOfChosen)] {
      #expect(Self.routes(routing, [1, 2, 2, 2], perToken: 2).experts == [1, 2])
      #expect(Self.routes(routing, [0, 0, 0, 0], perToken: 3).experts == [0, 1, 2])
    }
    // More than sixteen are chosen by sorting.
    let many = Self.routes(Routing(.softmax), [Float](repeating: 0, count: 40), perToken: 20)
    #expect(many.experts == Array(0..<20))
  }

  @Test func `choosing by sorting is choosing one after the other`() {
    let logits = (0..<64).map { Float(($0 * 37) % 17) }
    let fifteen = Self.routes(Routing(.sigmoid), logits, perToken: 15).experts
    #expect(Array(Self.routes(Routing(.sigmoid), logits, perToken: 16).experts.prefix(15)) == fifteen)
  }

  @Test func `weights are probabilities over all, over the chosen, or divided by their sum`() {
    let logits: [Float] = [0, Float(log(2.0)), Float(log(5.0))]
    func weights(_ routing: Routing) -> [Float] { Self.routes(routing, logits, perToken: 2).weights }
    func near(_ found: [Float], _ expected: [Float]) -> Bool { zip(found, expected).allSatisfy { abs($0 - $1) < 1e-6 } }
    #expect(near(weights(Routing(.softmax)), [5 / 8, 2 / 8]))
    #expect(near(weights(Routing(.softmax, normalizes: true)), [5 / 7, 2 / 7]))
    #expect(near(weights(Routing(.softmaxOfChosen)), [5 / 7, 2 / 7]))
    #expect(near(weights(Routing(.softmax, scaling: 2.5)), [5 * 2.5 / 8, 2 * 2.5 / 8]))
    #expect(near(weights(Routing(.sigmoid)), [5 / 6, 2 / 3]))
    #expect(near(weights(Routing(.sigmoid, normalizes: true, scaling: 3)), [5 / 3, 4 / 3]))
  }

  @Test func `a correction chooses and does not weigh`() {
    let found = Self.routes(
      Routing(.sigmoid, correction: "bias"), [3, 0, 0, -3], perToken: 2, correction: [-9, 0, 0.1, 2])
    #expect(found.experts == [3, 2])
    #expect(found.weights == [Self.sigmoid(-3), Self.sigmoid(0)])
  }

  @Test func `groups are judged by their best expert or their best two`() {
    // Group 0 has the best expert, group 1 the best pair.
    let logits: [Float] = [4, -4, 2, 2, -1, -1]
    let best = Routing(.sigmoid, groups: .init(count: 3, kept: 1, sumsTopTwo: false))
    let pairs = Routing(.sigmoid, groups: .init(count: 3, kept: 1, sumsTopTwo: true))
    #expect(Self.routes(best, logits, perToken: 2).experts == [0, 1])
    #expect(Self.routes(pairs, logits, perToken: 2).experts == [2, 3])
  }

  @Test func `experts outside of the kept groups lose even to those whose corrected score is negative`() {
    let routing = Routing(.sigmoid, correction: "bias", groups: .init(count: 2, kept: 1, sumsTopTwo: true))
    let found = Self.routes(routing, [0, 0, 0, 0], perToken: 2, correction: [3, -5, -1, -1])
    // Were the others zero rather than out, expert 2 would beat expert 1.
    #expect(found.experts == [0, 1])
  }

  @Test func `groups of equal scores are kept in order, and all groups may be`() {
    let one = Routing(.softmax, groups: .init(count: 4, kept: 2, sumsTopTwo: false))
    #expect(Self.routes(one, [0, 0, 0, 0, 0, 0, 0, 0], perToken: 4).experts == [0, 1, 2, 3])
    let all = Routing(.softmax, groups: .init(count: 4, kept: 4, sumsTopTwo: false))
    #expect(Self.routes(all, [0, 1, 0, 3, 0, 2, 0, 0], perToken: 2).experts == [3, 5])
    let single = Routing(.sigmoid, groups: .init(count: 4, kept: 1, sumsTopTwo: true))
    #expect(Self.routes(single, [0, 1, 0, 3], perToken: 1).experts == [3])
  }

  @Test func `extreme logits choose and weigh finitely`() {
    for routing in [
      Routing(.softmax, normalizes: true), Routing(.sigmoid, normalizes: true), Routing(.softmaxOfChosen),
    ] {
      for logits: [Float] in [[1e30, -1e30, 0], [-1e30, -1e30, -1e30], [88, 89, 90]] {
        let found = Self.routes(routing, logits, perToken: 2)
        #expect(found.weights.allSatisfy { $0.isFinite && $0 >= 0 } && Set(found.experts).count == 2)
      }
    }
  }

  @Test func `seats hold each row once for every expert it goes to`() {
    var seats = ExpertSeats(count: 3)
    var routes = Routes(perToken: 2)
    routes.experts = [2, 0, 2, 1]
    routes.weights = [0.75, 0.25, 0.5, 0.5]
    seats.add(routes, chunk: 0)
    seats.add(routes, chunk: 4)
    #expect(seats.counts == [2, 2, 4])
    #expect(seats[0].places == [.init(chunk: 0, row: 0), .init(chunk: 4, row: 0)] && seats[0].weights == [0.25, 0.25])
    let pieces = seats.pieces(of: 2, rows: 3)
    #expect(pieces.map(\.places.count) == [3, 1])
    #expect(pieces.flatMap(\.places) == seats[2].places && pieces.flatMap(\.weights) == [0.75, 0.5, 0.75, 0.5])
  }
}
