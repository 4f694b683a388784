internal import Calibration
internal import Foundation
internal import Quantization

/// What a person wants of entropy-coded weights.
public enum Rate: Hashable, Sendable {
  /// Mean bits a weight of the linears of the decoder layers.
  case bits(Double)
  /// Bytes of the whole artifact, at most.
  case bytes(Int)
  /// Mean KL divergence from full precision, at most; the smallest file that holds it.
  case divergence(Double)
}

/// Gives every linear its step, so that the last bit spent lowers the divergence by the same amount everywhere.
///
/// With the expected divergence Σ s·D(c) and D = n·c²/12, the bits of a linear fall by n a halving of c, and the best
/// division is c = c₀/√s for one c₀ (facts/algorithms.md §3.1: one λ for the whole model).
struct RateAllocation {
  /// A linear whose step is to be found.
  struct Coded {
    let name: String
    let curve: RateCurve
    let sensitivity: Double
    /// Whether it counts for ``Rate/bits(_:)``.
    let isInLayer: Bool
    let outFeatures, inFeatures: Int
  }

  let coded: [Coded]
  /// Bytes of everything else in the artifact.
  let otherBytes: Int

  /// Of the highest sensitivity, what every linear has at least: one that nothing depends on must not have an infinite step.
  private let leastSensitivity: Double
  /// Whether ``Rate/bits(_:)`` means all linears, where none of the layers is coded.
  private let countsAll: Bool

  init(coded: [Coded], otherBytes: Int) {
    self.coded = coded
    self.otherBytes = otherBytes
    leastSensitivity = max((coded.map(\.sensitivity).max() ?? 1) * 1e-9, .leastNormalMagnitude)
    countsAll = !coded.contains(where: \.isInLayer)
  }

  /// Codes take so much more than their order-0 entropy once they are compressed.
  static let overhead = 1.02
  /// Bytes of a linear beside its codes: a class and a gain of every column; gains of rows compress to next to nothing.
  static func sideBytes(inFeatures: Int) -> Int { 2 * inFeatures }
  /// Fewer bits a weight are not spent, whatever a limit of the divergence allows: no model is left.
  static let leastBits = 1.0

  /// Within what was measured: beyond it nobody knows what a linear takes and loses.
  private func step(_ linear: Coded, _ base: Double) -> Float {
    let step = Float(base / max(linear.sensitivity, leastSensitivity).squareRoot())
    guard let coarsest = linear.curve.points.first?.step, let finest = linear.curve.points.last?.step else {
      return step
    }
    return min(max(step, finest), coarsest)
  }

  /// Expected mean bits, bytes and divergence for one c₀.
  func expected(_ base: Double) -> (bits: Double, bytes: Double, divergence: Double) {
    var (bits, weights, bytes, divergence) = (0.0, 0.0, Double(otherBytes), 0.0)
    for linear in coded {
      let found = linear.curve.at(step(linear, base))
      let all = found.bitsPerWeight * Double(linear.curve.weights)
      if linear.isInLayer || countsAll {
        bits += all
        weights += Double(linear.curve.weights)
      }
      bytes += all / 8 * Self.overhead + Double(Self.sideBytes(inFeatures: linear.inFeatures))
      divergence += linear.sensitivity * found.loss
    }
    return (weights > 0 ? bits / weights : 0, bytes, divergence)
  }

  /// The c₀ that gives what is wanted; of limits, the coarsest that holds them.
  func base(for rate: Rate) -> Double {
    var (low, high) = (-40.0, 40.0)
    for _ in 0..<60 {
      let middle = (low + high) / 2
      let found = expected(exp2(middle))
      let isFineEnough: Bool =
        switch rate {
        case .bits(let bits): found.bits >= bits
        case .bytes(let bytes): found.bytes >= Double(bytes) && found.bits >= Self.leastBits
        case .divergence(let limit): found.divergence <= limit && found.bits >= Self.leastBits
        }
      if isFineEnough { low = middle } else { high = middle }
    }
    return exp2(low)
  }

  /// Whether a limit of the divergence is expected to be held by the fewest bits that are spent, and would be by fewer.
  func allowsLess(_ rate: Rate) -> Bool {
    guard case .divergence(let limit) = rate else { return false }
    return expected(base(for: .bits(Self.leastBits))).divergence <= limit
  }

  /// Refuses a target that leaves nothing for codes.
  static func require(_ target: Int, above otherBytes: Int) throws {
    guard target <= otherBytes else { return }
    throw PipelineError.doesNotFit(
      "what is not coded takes about \(otherBytes) bytes already; a target of \(target) cannot be reached")
  }

  /// How each linear is coded.
  func codings(_ base: Double) -> [String: (scheme: QuantizationScheme, coding: EntropyCoding)] {
    var result: [String: (QuantizationScheme, EntropyCoding)] = [:]
    for linear in coded {
      let step = step(linear, base)
      let found = linear.curve.at(step)
      let bits = found.bitsPerWeight < 3 ? 4 : 8
      let needed = bits == 4 ? found.splitColumns.nibbles : found.splitColumns.bytes
      // Some rows were looked at, and there is room for what the others may need.
      let room = needed + needed / 4 + linear.inFeatures / (bits == 4 ? 8 : 64) + 2
      result[linear.name] = (
        .entropyCoded(bits: bits), EntropyCoding(step: step, splitColumns: room, rowWeights: linear.curve.rowWeights)
      )
    }
    return result
  }
}
