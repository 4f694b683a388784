public import Kernels
internal import Tensors

extension QuantizedTensor {
  /// Ŵ[n, k] = rowGain[n] · columnGain[k] · z[n, k], with integers that an entropy coder makes small.
  ///
  /// Columns whose integers exceed a code are split into ``CodeDigits``: the further columns follow the input features,
  /// in the order of the features they read, lower digits first.
  ///
  /// - Parameters:
  ///   - integers: z, `[outFeatures, inFeatures]`.
  ///   - rowGains: codes of ``GainGrid/rows``, one an output feature.
  ///   - columnGains: codes of ``GainGrid/columns``, one an input feature.
  ///   - bits: of a stored code, 8 or 4.
  public init(
    integers: [Int32], outFeatures: Int, inFeatures: Int, rowGains: [UInt8], columnGains: [UInt8], bits: Int
  ) {
    precondition(integers.count == outFeatures * inFeatures, "\(integers.count) for \(outFeatures) × \(inFeatures)")
    precondition(columnGains.count == inFeatures, "\(columnGains.count) column gains for \(inFeatures) features")
    let digits = CodeDigits(bits: bits)
    let counts = digits.counts(integers, columns: inFeatures)
    let sources = counts.enumerated().flatMap { column, count in [Int](repeating: column, count: count - 1) }
    let width = inFeatures + sources.count
    var codes = [UInt8](repeating: 0, count: outFeatures * width)
    codes.withUnsafeMutableBufferPointer { codes in
      for row in 0..<outFeatures {
        var further = row * width + inFeatures
        for column in 0..<inFeatures {
          var (digit, rest) = digits.split(Int(integers[row * inFeatures + column]))
          codes[row * width + column] = UInt8(truncatingIfNeeded: digit)
          for _ in 1..<counts[column] {
            (digit, rest) = digits.split(rest)
            codes[further] = UInt8(truncatingIfNeeded: digit)
            further += 1
          }
        }
      }
    }
    self.init(
      WeightQuantization(.int(bits: bits), .perRowAndColumn), outFeatures: outFeatures, inFeatures: inFeatures,
      codes: codes, scales: rowGains.map { GainGrid.rows.values[Int($0)] }, scaleType: .float32, zeroPoints: nil,
      columns: ColumnGains(codes: columnGains, sources: sources, bits: bits))
  }

  /// The integers z, `[outFeatures, inFeatures]`, of a matrix with a gain a row and a column.
  public func integers() -> [Int32] {
    guard let columns else { preconditionFailure("a matrix without column gains") }
    let width = codeColumns
    var factors = [Int](repeating: 1, count: width)
    var next = [Int](repeating: 1, count: inFeatures)
    for (index, source) in columns.sources.enumerated() {
      next[source] <<= quantization.format.bitWidth
      factors[inFeatures + index] = next[source]
    }
    var result = [Int32](repeating: 0, count: outFeatures * inFeatures)
    for row in 0..<outFeatures {
      for column in 0..<width {
        let feature = column < inFeatures ? column : columns.sources[column - inFeatures]
        let term = Int(Int8(bitPattern: codes[row * width + column])) * factors[column]
        result[row * inFeatures + feature] &+= Int32(truncatingIfNeeded: term)
      }
    }
    return result
  }
}

extension ColumnGains {
  /// Gains of features from their codes; the n-th further column of a feature has its gain times the base of the digits
  /// to the n-th power.
  ///
  /// - Parameters:
  ///   - codes: of ``GainGrid/columns``, one an input feature.
  ///   - sources: the feature of each further column; none more often than an integer of 32 bits has further digits.
  ///   - bits: of a stored code, 8 or 4.
  public init(codes: [UInt8], sources: [Int], bits: Int) {
    let base = Float(CodeDigits(bits: bits).base)
    let gains = codes.map { GainGrid.columns.values[Int($0)] }
    var last = gains
    let further = sources.map { source in
      last[source] *= base
      return last[source]
    }
    self.init(gains + further, sources: sources)
  }
}
