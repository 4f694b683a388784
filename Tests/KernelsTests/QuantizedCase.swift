import CKernels
import Kernels
import Tensors
import TestSupport

/// One weight with random codes, and products with it in double precision.
struct QuantizedCase {
  let kind: PackedMatrix.Kind
  let outFeatures: Int
  let inFeatures: Int
  let groupSize: Int
  let codes: [UInt8]
  let scales: [Float]
  let zeroPoints: [Float]?
  let packed: PackedMatrix
  private var generator: SeededGenerator

  init(_ kind: PackedMatrix.Kind, _ outFeatures: Int, _ inFeatures: Int, groupSize: Int, hasZeroPoints: Bool) {
    var generator = SeededGenerator(seed: UInt64(outFeatures * 1_000_000 + inFeatures * 1000 + groupSize))
    let groups = (inFeatures + groupSize - 1) / groupSize
    codes = (0..<outFeatures * inFeatures).map { _ in
      let code = UInt8.random(in: 0...255, using: &generator)
      return switch kind {
      case .uint4: code & 15
      case .int8: code
      case .float8E4M3: code & 0x7F == 0x7F ? code ^ 1 : code
      }
    }
    // Of integers some are negative or 0; kernels know no difference.
    scales = (0..<outFeatures * groups).map { index in
      index % 11 == 10 ? 0 : Float.random(in: -0.1..<0.1, using: &generator)
    }
    zeroPoints = hasZeroPoints ? scales.map { _ in Float.random(in: 0..<16, using: &generator).rounded(.down) } : nil
    packed = PackedMatrix(
      kind, codes: codes, outFeatures: outFeatures, inFeatures: inFeatures, groupSize: groupSize, scales: scales,
      zeroPoints: zeroPoints)
    self.kind = kind
    self.outFeatures = outFeatures
    self.inFeatures = inFeatures
    self.groupSize = groupSize
    self.generator = generator
  }

  func activations(_ tokens: Int) -> Matrix {
    var generator = generator
    return Matrix(rows: tokens, columns: inFeatures, values: generator.normals(tokens * inFeatures))
  }

  /// The number that a code stands for, from the definition of its format.
  static func value(_ code: UInt8, _ kind: PackedMatrix.Kind) -> Double {
    switch kind {
    case .uint4: return Double(code)
    case .int8: return Double(Int8(bitPattern: code))
    case .float8E4M3:
      let sign: Double = code & 0x80 == 0 ? 1 : -1
      let (exponent, fraction) = (Int(code >> 3 & 15), Double(code & 7))
      if exponent == 0 { return sign * fraction / 512 }
      return sign * Double(sign: .plus, exponent: exponent - 7, significand: 1 + fraction / 8)
    }
  }

  /// Each output in double precision, and the sum of the magnitudes that it is made of, to which rounding errors are
  /// in proportion; zero points count in full even where they cancel codes.
  func reference(_ x: Matrix, token: Int) -> [(value: Double, magnitude: Double)] {
    let groups = (inFeatures + groupSize - 1) / groupSize
    return (0..<outFeatures).map { row in
      var (value, magnitude) = (0.0, 0.0)
      for k in 0..<inFeatures {
        let group = row * groups + k / groupSize
        let code = Self.value(codes[row * inFeatures + k], kind)
        let zeroPoint = Double(zeroPoints?[group] ?? 0)
        let factor = Double(scales[group]) * Double(x[token, k])
        value += (code - zeroPoint) * factor
        magnitude += (abs(code) + abs(zeroPoint)) * abs(factor)
      }
      return (value, magnitude)
    }
  }
}

/// The tables of kernels that this machine runs.
enum Tables {
  static let portable = InstructionSet.portable.kernels
  /// All vector instruction sets, the AVX-512 kernels compiled for AVX2 included.
  static let vector: [ck_kernels] = (1..<Int32(ck_isa_count)).compactMap { ck_kernels_of($0)?.pointee }

  static func name(_ kernels: ck_kernels) -> String { String(cString: kernels.name) }
}

/// Bounds on rounding errors, in units of the sum of magnitudes of an output.
///
/// They are what rounding once per operation can do at worst, so a right kernel cannot exceed them, while one wrong code
/// or feature does by far.
enum RoundingBound {
  /// Half a unit in the last place of 1.
  static let unit = 0x1p-24

  /// Sums in double precision, rounded to float once; twice that for the reference's own errors.
  static let portable = 2 * unit
  /// Sums of `count` products in float, in any order, and four roundings of a weight or of a group on top.
  static func vector(_ count: Int) -> Double { Double(count + 4) * unit }
}

extension Matrix {
  /// Compares in every bit, unlike `==`, for which −0 equals 0.
  func isIdentical(to other: Matrix) -> Bool {
    rows == other.rows && columns == other.columns && values.map(\.bitPattern) == other.values.map(\.bitPattern)
  }
}
