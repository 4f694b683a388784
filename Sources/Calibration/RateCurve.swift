public import Kernels
public import Models
public import Quantization
public import Tensors

/// What a linear takes, and loses, by how finely it is coded.
public struct RateCurve: Sendable {
  /// One step.
  public struct Point: Sendable {
    /// ``EntropyCoding/step``.
    public let step: Float
    /// What some rows say of all of them.
    public let estimate: EntropyRounding.Estimate
  }

  /// Number of weights.
  public let weights: Int
  /// Coarse to fine.
  public let points: [Point]
  /// ``EntropyCoding/rowWeights``.
  public let rowWeights: [Float]?

  /// Measures a curve on some rows of a weight.
  public init(_ weight: WeightRows, factor: MomentFactor) {
    self.init(PreparedWeight(weight, scheme: nil, storedType: .float32), factor: factor)
  }

  init(_ weight: PreparedWeight, factor: MomentFactor) {
    let prepared = weight.sampled(weight.sampledRows(Self.sampledRows))
    let (sample, own) = (prepared.source.matrix(), prepared.coding?.rowWeights)
    rowWeights = weight.coding?.rowWeights
    let outFeatures = weight.source.outFeatures
    let middle = Self.middleStep(sample, deviations: factor.conditionalDeviations)
    weights = outFeatures * weight.source.inFeatures
    points = Self.octaves.map { octave in
      let step = middle * Float(MathFunctions.power(2, octave))
      return Point(
        step: step,
        estimate: EntropyRounding.estimate(
          sample, outFeatures: outFeatures, factor: factor, step: step, rowWeights: own))
    }
  }

  private static let sampledRows = 96
  private static let octaves = stride(from: 3, through: -5, by: -0.5).map(\.self)

  /// A step of about three and a half bits a weight: a column of deviation σ takes log2(σ·ℓ / c) + 2.05 bits.
  static func middleStep(_ sample: Matrix, deviations: [Float]) -> Float {
    var (sum, count) = (0.0, 0)
    for column in 0..<sample.columns {
      let square = (0..<sample.rows).reduce(Float(0)) { $0 + sample[$1, column] * sample[$1, column] }
      let spread = (square / Float(max(1, sample.rows))).squareRoot() * deviations[column]
      guard spread > 0 else { continue }
      sum += MathFunctions.logarithm2(Double(spread))
      count += 1
    }
    return Float(MathFunctions.power(2, (count > 0 ? sum / Double(count) : 0) + 2.05 - 3.5))
  }

  /// Bits a weight, output error and further columns at a step; between points along straight lines of logarithms.
  public func at(_ step: Float) -> EntropyRounding.Estimate {
    let place = points.firstIndex { $0.step <= step } ?? points.count - 1
    guard place > 0, points[place].step <= step else { return points[place].estimate }
    let (coarse, fine) = (points[place - 1], points[place])
    let share =
      MathFunctions.logarithm2(Double(step / fine.step)) / MathFunctions.logarithm2(Double(coarse.step / fine.step))
    func between(_ one: Double, _ other: Double) -> Double { one + (other - one) * share }
    let (low, high) = (fine.estimate, coarse.estimate)
    let loss =
      low.loss > 0 && high.loss > 0
      ? MathFunctions.power(
        2, between(MathFunctions.logarithm2(low.loss), MathFunctions.logarithm2(high.loss))) : low.loss
    return EntropyRounding.Estimate(
      bitsPerWeight: between(low.bitsPerWeight, high.bitsPerWeight), loss: loss, splitColumns: low.splitColumns)
  }
}

/// Measures the curves of a layer's linears while hidden states pass through it.
public struct LayerSurvey {
  private let quantizer: LayerQuantizer
  private let states: CalibrationStates
  private let tables: [RotaryTable]
  /// Bytes of second moments of experts that are held at a time; with more, channels are taken for uncorrelated.
  private static let mostExpertMoments = 1 << 30

  /// A survey of one layer; the states move behind it.
  public init(_ quantizer: LayerQuantizer, states: CalibrationStates, tables: [RotaryTable]) {
    self.quantizer = quantizer
    self.states = states
    self.tables = tables
  }

  /// The curve of every linear with an entropy-coded scheme, by its name within the layer.
  public func run() throws(ModelError) -> [String: RateCurve] {
    let layer = quantizer.layer
    let linears = layer.layout.linears
    let expertBytes = linears.filter { $0.expert != nil && $0.reads == $0.name }
      .reduce(0) { $0 + $1.inFeatures * $1.inFeatures * 4 }
    var statistics: [String: InputStatistics] = [:]
    for linear in linears where statistics[linear.reads] == nil {
      let isKnown = linear.expert == nil || expertBytes <= Self.mostExpertMoments
      statistics[linear.reads] =
        isKnown
        ? quantizer.statistics(linear.reads, tokens: .max)
        : InputStatistics(channels: linear.inFeatures, groupSize: 0)
    }
    var inputs: [String: Matrix] = [:]
    var outputs: [String: [Double]] = [:]
    try layer(states.search, tables: tables) { name, input, output in
      statistics[name]?.add(input)
      guard quantizer.codings[name] != nil else { return }
      Self.addSquares(of: output, to: &outputs[name, default: [Double](repeating: 0, count: output.columns)])
    }
    let rowWeights = try rowWeights(statistics, outputs)
    try layer(states.heldOut, tables: tables) { name, input, _ in
      if statistics[name] != nil { inputs[name] = input }
    }
    var curves: [String: RateCurve] = [:]
    let factors = MomentFactors()
    for linear in linears where quantizer.codings[linear.name] != nil {
      guard let seen = statistics[linear.reads] else { continue }
      var weight = quantizer.initial(try layer.linear(linear.name), linear.name)
      let deviations = seen.squares.map { $0.squareRoot() }
      let sample = weight.sampled(weight.sampledRows(MomentFactors.sampledRows)).source.matrix()
      weight.coding?.step = RateCurve.middleStep(sample, deviations: deviations)
      weight.coding?.rowWeights = rowWeights[linear.name]
      let choice = factors.choice(linear.reads, seen, heldOut: inputs[linear.reads], weight: weight)
      curves[linear.name] = RateCurve(weight, factor: choice?.factor ?? MomentFactor(uncorrelated: deviations))
    }
    return curves
  }

  /// Adds the squares of each column.
  private static func addSquares(of matrix: Matrix, to sums: inout [Double]) {
    for row in 0..<matrix.rows {
      for (column, value) in matrix.row(row).enumerated() { sums[column] += Double(value * value) }
    }
  }

  /// How much an error in each output of a linear weighs in what reads it, for linears whose outputs another reads
  /// channel by channel: up for down, values for the output projection.
  ///
  /// An output y reaches the reader's channels as inputs d that move in proportion, so an error in y weighs
  /// ‖W_reader[:, d]‖²·E[d²] / E[y²].
  private func rowWeights(
    _ statistics: [String: InputStatistics], _ outputs: [String: [Double]]
  ) throws(ModelError) -> [String: [Float]] {
    var result: [String: [Float]] = [:]
    for fold in quantizer.layer.layout.folds {
      guard case .rows(let source, let map) = fold.source, let energies = outputs[source],
        let reader = fold.linears.first, let layout = quantizer.layer.layout.linear(reader),
        let seen = statistics[layout.reads]
      else { continue }
      let weight = try quantizer.layer.linear(reader).rows.matrix()
      var norms = [Double](repeating: 0, count: weight.columns)
      Self.addSquares(of: weight, to: &norms)
      let tokens = max(1, seen.weight)
      var importance = [Double](repeating: 0, count: energies.count)
      for (channel, square) in seen.squares.enumerated() {
        importance[map.row(ofInput: channel)] += norms[channel] * Double(square)
      }
      for row in importance.indices where energies[row] > 0 { importance[row] /= energies[row] / tokens }
      let known = importance.filter { $0 > 0 }.sorted()
      guard !known.isEmpty else { continue }
      let middle = known[known.count / 2]
      result[source] = importance.map { value in
        Float(min(max((value > 0 ? value / middle : 1).squareRoot(), 1.0 / 64), 64))
      }
    }
    return result
  }
}
