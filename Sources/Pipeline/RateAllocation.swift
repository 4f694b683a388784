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

  /// Codes take so much more than their order-0 entropy once they are compressed.
  private static let overhead = 1.02

  private func step(_ linear: Coded, _ base: Double) -> Float {
    // A linear that nothing depends on must not have an infinite step.
    let floor = (coded.map(\.sensitivity).max() ?? 1) * 1e-9
    return Float(base / max(linear.sensitivity, floor, .leastNormalMagnitude).squareRoot())
  }

  /// Expected mean bits, bytes and divergence for one c₀.
  func expected(_ base: Double) -> (bits: Double, bytes: Double, divergence: Double) {
    var (bits, weights, bytes, divergence) = (0.0, 0.0, Double(otherBytes), 0.0)
    for linear in coded {
      let found = linear.curve.at(step(linear, base))
      let all = found.bitsPerWeight * Double(linear.curve.weights)
      if linear.isInLayer {
        bits += all
        weights += Double(linear.curve.weights)
      }
      bytes += all / 8 * Self.overhead + Double(2 * linear.inFeatures)
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
        case .bytes(let bytes): found.bytes >= Double(bytes)
        case .divergence(let limit): found.divergence <= limit
        }
      if isFineEnough { low = middle } else { high = middle }
    }
    return exp2(low)
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
