internal import StrictJSON

extension Report {
  /// Whose inputs are worth rounding to int8 with a scale for every 32 features, as `quantize generate` does, and what
  /// that costs; measured on held-out calibration text.
  public struct Int8Activations: Sendable, Equatable {
    /// Linears that could take them and were measured.
    public var measured: Int
    /// Those that do; the others keep float.
    public var int8: Int
    /// What it adds to the squared error of their outputs, relative to what rounding the weights costs.
    public var added: Spread
    /// The squared error that it adds, relative to the square of the outputs.
    public var noise: Spread

    /// The middle and the largest of a number over the linears that take int8; 0 where none does.
    public struct Spread: Sendable, Equatable {
      /// The median.
      public var median: Double
      /// The maximum.
      public var largest: Double

      /// Two numbers.
      public init(median: Double, largest: Double) {
        self.median = median
        self.largest = largest
      }

      /// The spread of some numbers.
      public init(_ values: [Double]) {
        let sorted = values.sorted()
        self.init(median: sorted.isEmpty ? 0 : sorted[sorted.count / 2], largest: sorted.last ?? 0)
      }
    }

    /// What was measured.
    public init(measured: Int, int8: Int, added: Spread, noise: Spread) {
      self.measured = measured
      self.int8 = int8
      self.added = added
      self.noise = noise
    }

    /// Such as `167 of 168 linears take activations in int8, which adds 0.31% to the squared error of their outputs
    /// (1.9% at most), …`.
    public var sentence: String {
      let all = "\(NumberText.count(int8)) of \(NumberText.count(measured)) linears"
      guard int8 > 0 else { return "\(all) take activations in int8" }
      return "\(all) take activations in int8, which adds \(NumberText.percent(added.median)) to the squared error of "
        + "their outputs (\(NumberText.percent(added.largest)) at most), "
        + "\(NumberText.significant(noise.median)) of its square"
    }
  }
}

extension Report.Int8Activations {
  var json: JSONValue {
    func spread(_ value: Spread) -> JSONValue { ["median": .real(value.median), "largest": .real(value.largest)] }
    return [
      "measured": .integer(measured), "int8": .integer(int8), "added": spread(added), "noise": spread(noise),
    ]
  }

  init(_ node: ReportNode) throws(ReportsError) {
    func spread(_ name: String) throws(ReportsError) -> Spread {
      let node = try node.node(name)
      return Spread(median: try node.number("median"), largest: try node.number("largest"))
    }
    self.init(
      measured: try node.whole("measured"), int8: try node.whole("int8"), added: try spread("added"),
      noise: try spread("noise"))
    guard int8 <= measured else {
      throw .malformedReport(key: node.path + ".int8", expected: "at most as many as were measured")
    }
  }
}
