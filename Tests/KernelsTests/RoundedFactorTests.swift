import Tensors
import TestSupport
import Testing

@testable import Kernels

/// What fitting and rounding with feedback may round to BF16, by all tables that this processor can run.
@Suite(.serialized) struct RoundedFactorTests {
  // Two spans and a part, and a last one of one place.
  private static let sizes = [1100, 1025]

  private static func factor(_ size: Int) throws -> MomentFactor {
    try #require(MomentFactor(CholeskyTests.moments(size, seed: 6), scale: 0.5, channels: size, shrinkage: 0.1))
  }

  private static func isClose(_ found: Matrix, _ exact: Matrix, within share: Double) -> Bool {
    let noise = zip(found.values, exact.values).reduce(0.0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
    let signal = exact.values.reduce(0.0) { $0 + Double($1) * Double($1) }
    return noise > 0 && (noise / signal).squareRoot() < share
  }

  @Test(arguments: sizes)
  func `solving with a rounded factor is solving, but for rounding`(size: Int) throws {
    let factor = try Self.factor(size)
    func solved(_ factor: MomentFactor) -> Matrix {
      var values = Matrix.random(70, size, seed: 7)
      values.values.withUnsafeMutableBufferPointer { buffer in
        if let base = buffer.baseAddress { factor.solve(base, rows: 70, deviations: factor.deviations) }
      }
      return values
    }
    let exact = solved(factor)
    for table in Bfloat16Product.available {
      table.whileForced {
        let found = solved(factor.rounding(rows: 70))
        // Errors of 2⁻⁹ grow by what small eigenvalues, of which the least is ρ, make of them.
        #expect(Self.isClose(found, exact, within: 0.02), "\(table.name)")
        #expect(solved(factor.rounding(rows: 10)).isIdentical(to: exact), "few rows are not rounded for")
        expectSameForAnyThreadCount { solved(factor.rounding(rows: 70)) }
      }
    }
  }

  @Test(arguments: sizes)
  func `what errors ask of other places is what the factor says, but for rounding`(size: Int) throws {
    let factor = try Self.factor(size)
    let l = try #require(factor.lower)
    let x = Matrix.random(66, size, seed: 8)
    for table in Bfloat16Product.available {
      try table.whileForced {
        let rounded = try #require(factor.rounding(rows: 66).rounded)
        for span in RoundedFactor.spans(size) {
          for isEarlier in [true, false] {
            let places = isEarlier ? 0..<span.lowerBound : span.upperBound..<size
            var sums = [Float](repeating: 1, count: 66 * size)
            sums.withUnsafeMutableBufferPointer { sums in
              guard let base = sums.baseAddress else { return }
              if isEarlier {
                rounded.addProduct(x.values, rows: 66, of: span, toEarlier: base)
              } else {
                rounded.addProduct(x.values, rows: 66, of: span, toLater: base)
              }
            }
            var (noise, signal) = (0.0, 0.0)
            for row in [0, 65] {
              for place in 0..<size {
                let terms = span.map {
                  Double(x[row, $0]) * Double(isEarlier ? l[$0 * size + place] : l[place * size + $0])
                }
                let expected = places.contains(place) ? terms.reduce(0, +) : 0
                let error = Double(sums[row * size + place]) - 1 - expected
                if !places.contains(place) { #expect(error == 0, "\(table.name): place \(place) of \(span)") }
                noise += error * error
                if places.contains(place) { signal += terms.reduce(0) { $0 + $1 * $1 } }
              }
            }
            #expect(noise <= signal * 0x1p-16, "\(table.name), \(span): \(noise) of \(signal)")
          }
        }
      }
    }
  }

  @Test func `a factor of one span has nothing to be rounded`() throws {
    let table = try #require(Bfloat16Product.available.first)
    try table.whileForced {
      let factor = try Self.factor(512)
      #expect(factor.rounding(rows: 100).rounded == nil)
      #expect(MomentFactor(uncorrelated: [Float](repeating: 1, count: 600)).rounding(rows: 100).rounded == nil)
    }
  }

  // Groups in one block of 256 channels, across two, and a last one that is narrower.
  @Test(arguments: [(32, 300), (96, 600), (128, 1100), (512, 1100)])
  func `errors times rounded moments are those of the other groups`(width: Int, channels: Int) throws {
    let factor = try Self.factor(channels)
    let moments = CholeskyTests.moments(channels, seed: 6)
    var errors = Matrix.random(67, channels, seed: 9)
    for table in Bfloat16Product.available where width.isMultiple(of: table.tileRows) {
      try table.whileForced {
        let rounded = try #require(RoundedMoments(factor, width: width, rows: 67))
        let lines = RoundedMoments.Errors(rounded, errors.values, rows: 67)
        var last = 0..<0
        for start in stride(from: 0, to: channels, by: width) {
          let columns = start..<min(channels, start + width)
          var sums = [Float](repeating: 1, count: 67 * columns.count)
          lines.addProduct(errors.values, columns, after: last, times: 3, to: &sums)
          var (noise, signal) = (0.0, 0.0)
          for row in [0, 66] {
            for (index, column) in columns.enumerated() {
              let expected = (0..<channels).filter { !columns.contains($0) }.reduce(0.0) {
                $0 + 3 * Double(errors[row, $1]) * Double(moments[max(column, $1) * channels + min(column, $1)])
              }
              let error = Double(sums[row * columns.count + index]) - 1 - expected
              noise += error * error
              signal += expected * expected
            }
          }
          #expect(noise <= signal * 0x1p-16, "\(table.name), \(columns): \(noise) of \(signal)")
          // A fit changes the group's own errors, which the groups behind it are to see.
          for row in 0..<67 { for column in columns { errors[row, column] *= -0.5 } }
          last = columns
        }
      }
    }
  }

  @Test func `moments are not rounded where that is slower or cannot be told apart`() throws {
    let factor = try Self.factor(300)
    for table in Bfloat16Product.available {
      table.whileForced {
        #expect(RoundedMoments(factor, width: 32, rows: 63) == nil, "few rows")
        #expect(RoundedMoments(factor, width: 300, rows: 64) == nil, "one group")
        #expect(RoundedMoments(factor, width: 43, rows: 64) == nil, "no whole tiles")
        let alone = MomentFactor(uncorrelated: [Float](repeating: 1, count: 300))
        #expect(RoundedMoments(alone, width: 32, rows: 64) == nil, "nothing goes together")
      }
    }
  }
}
