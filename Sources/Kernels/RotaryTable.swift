internal import CKernels
internal import Foundation
public import Tensors

/// Which channels of a head turn together in a rotary position embedding.
public enum RotaryPairing: Hashable, Sendable {
  /// Channel i with channel i + half (Llama, Mistral, Qwen, Gemma, Phi-3, gpt-oss).
  case halves
  /// Channel 2i with channel 2i + 1 (DeepSeek, Cohere, GLM).
  case neighbours
}

/// Cosines and sines of rotary position embedding (Su et al., 2021) for positions up to a bound.
public struct RotaryTable: Sendable {
  // Some microseconds.
  private static let valuesPerTask = 16384
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

  /// Rotates a part of every head of every row.
  ///
  /// - Parameters:
  ///   - x: `[tokens, heads × headDimension]`; `2 × half` channels of each head turn, the others stay.
  ///   - offset: first channel of a head that turns.
  ///   - pairing: which channels turn together; each result takes the place of its channel.
  ///   - positions: one position a row, below ``positions``.
  public func rotate(
    _ x: inout Matrix, headDimension: Int, offset: Int = 0, pairing: RotaryPairing = .halves, positions: [Int]
  ) {
    precondition(
      positions.count == x.rows && positions.allSatisfy { (0..<self.positions).contains($0) },
      "positions \(positions) for \(x.rows) rows, table of \(self.positions)")
    precondition(
      offset >= 0 && offset + 2 * half <= headDimension && x.columns % headDimension == 0,
      "\(2 * half) channels from \(offset) of heads of \(headDimension) in \(x.columns) columns")
    let columns = x.columns
    x.values.withUnsafeMutableBufferPointer { buffer in
      guard let x = SharedPointer(buffer) else { return }
      Parallel.forEachRange(of: positions.count, size: max(1, Self.valuesPerTask / max(1, columns))) { range in
        cosines.withUnsafeBufferPointer { cosines in
          sines.withUnsafeBufferPointer { sines in
            guard let cosines = cosines.baseAddress, let sines = sines.baseAddress else { return }
            for row in range {
              let cosine = cosines + positions[row] * half
              let sine = sines + positions[row] * half
              for head in stride(from: offset, to: columns, by: headDimension) {
                let channels = x.base + row * columns + head
                switch pairing {
                case .halves: ck_rotate_half(channels, cosine, sine, half)
                case .neighbours: ck_rotate_neighbours(channels, cosine, sine, half)
                }
              }
            }
          }
        }
      }
    }
  }
}
