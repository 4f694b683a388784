internal import Foundation

/// How many bits the codes of a matrix hold, by the frequencies of single codes (order 0).
public struct CodeEntropy: Hashable, Sendable {
  /// Bits a weight with one distribution for all codes.
  public let pooled: Double
  /// Bits a weight with a distribution for each class of columns, as they are stored: what an entropy coder aims at.
  public let byClass: Double

  /// Bits that codes with these counts hold together.
  static func bits(_ counts: some Sequence<Int>) -> Double {
    let total = Double(counts.reduce(0, +))
    return counts.reduce(0) { $0 + ($1 > 0 ? Double($1) * log2(total / Double($1)) : 0) }
  }
}

extension QuantizedTensor {
  /// The class of each column of codes: 0 for zeros alone, else one class for each eighth of an octave of their root
  /// mean square.
  ///
  /// Codes of one class are distributed alike, so columns are stored by class. Computed without logarithms: the same on
  /// every machine.
  public var columnClasses: [UInt8] {
    let width = codeColumns
    var squares = [Int](repeating: 0, count: width)
    for start in stride(from: 0, to: codes.count, by: max(1, width)) {
      for column in 0..<width {
        let code = Int(Int8(bitPattern: codes[start + column]))
        squares[column] += code * code
      }
    }
    return squares.map { sum in
      guard sum > 0 else { return 0 }
      // An eighth of an octave of the root is one octave of the mean square's fourth power.
      let mean = Double(sum) / Double(outFeatures)
      let fourth = mean * mean * (mean * mean)
      return UInt8(clamping: max(1, Int(fourth.exponent) + Self.classOfOne))
    }
  }

  /// The class of columns whose codes have a mean square of 1.
  private static var classOfOne: Int { 128 }

  /// The place at which each column of codes is stored: columns come by class, those of one class in their order.
  public static func storedPlaces(_ classes: [UInt8]) -> [Int] {
    var next = [Int](repeating: 0, count: 257)
    for value in classes { next[Int(value) + 1] += 1 }
    for value in 1...256 { next[value] += next[value - 1] }
    return classes.map { value in
      next[Int(value)] += 1
      return next[Int(value)] - 1
    }
  }

  /// The entropy of the codes, further columns included, over the number of weights.
  public var codeEntropy: CodeEntropy {
    let (classes, width) = (columnClasses, codeColumns)
    var counts = [Int](repeating: 0, count: 256 * 256)
    for start in stride(from: 0, to: codes.count, by: max(1, width)) {
      for column in 0..<width { counts[Int(classes[column]) << 8 | Int(codes[start + column])] += 1 }
    }
    let weights = Double(max(1, outFeatures * inFeatures))
    let byClass = (0..<256).reduce(0) { $0 + CodeEntropy.bits(counts[$1 << 8..<($1 + 1) << 8]) }
    let pooled = CodeEntropy.bits((0..<256).map { code in (0..<256).reduce(0) { $0 + counts[$1 << 8 | code] } })
    return CodeEntropy(pooled: pooled / weights, byClass: byClass / weights)
  }
}
