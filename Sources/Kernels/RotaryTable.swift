internal import CKernels
internal import Foundation
public import Tensors

/// Cosines and sines of rotary position embedding (Su et al., 2021) for positions up to a bound.
public struct RotaryTable: Sendable {
  private let half: Int
  private let cosines: [Float]
  private let sines: [Float]

  /// A table for positions `0..<positions`.
  ///
  /// - Parameters:
  ///   - frequencies: radians a position, one for each pair of channels.
  ///   - amplitude: factor of cosines and sines (YaRN's attention factor; 1 otherwise).
  public init(frequencies: [Float], amplitude: Float, positions: Int) {
    half = frequencies.count
    var cosines = [Float](repeating: 0, count: positions * frequencies.count)
    var sines = cosines
    for position in 0..<positions {
      for (index, frequency) in frequencies.enumerated() {
        // The product is rounded to float, as the reference implementations do; their tables are what models saw.
        let angle = Double(frequency * Float(position))
        cosines[position * half + index] = Float(cos(angle)) * amplitude
        sines[position * half + index] = Float(sin(angle)) * amplitude
      }
    }
    self.cosines = cosines
    self.sines = sines
  }

  /// Number of positions the table holds.
  public var positions: Int { half == 0 ? Int.max : cosines.count / half }

  /// Rotates every head of every row, pairing channel i with channel i + half.
  ///
  /// - Parameters:
  ///   - x: `[tokens, heads × headDimension]`; the first `2 × half` channels of each head turn.
  ///   - positions: one position a row, below ``positions``.
  public func rotate(_ x: inout Matrix, headDimension: Int, positions: [Int]) {
    precondition(positions.count == x.rows && 2 * half <= headDimension, "rotation of \(x.rows) rows")
    let columns = x.columns
    x.values.withUnsafeMutableBufferPointer { buffer in
      guard let x = SharedPointer(buffer) else { return }
      Parallel.forEachRange(of: positions.count, size: 64) { range in
        cosines.withUnsafeBufferPointer { cosines in
          sines.withUnsafeBufferPointer { sines in
            guard let cosines = cosines.baseAddress, let sines = sines.baseAddress else { return }
            for row in range {
              let offset = positions[row] * half
              for head in stride(from: 0, to: columns, by: headDimension) {
                ck_rotate_half(x.base + row * columns + head, cosines + offset, sines + offset, half)
              }
            }
          }
        }
      }
    }
  }
}
