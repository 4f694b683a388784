internal import CKernels
public import Kernels
public import Models
internal import Quantization
internal import Tensors

/// Measures on one layer what more calibration text is worth: the error that is left in what its linears give once they
/// are rounded by the text seen so far.
///
/// Of every distinct input some rows of one linear are rounded as the run will round them, but for channel scales, and
/// the error is taken on held-out text. Experts are left out: what comes to them, the router decides.
public struct SamplePilot {
  /// Rows of one linear, and what they read.
  private struct Probe {
    let sample: PreparedWeight
    let feedsBack: Bool
    var statistics: InputStatistics
    /// Held-out tokens, `[tokens, channels]`.
    var heldOut: Matrix?
  }

  /// The layer, without what nothing that is wanted reads.
  private let layer: DecoderLayer
  private let tables: [RotaryTable]
  /// By the linear that an input is seen at.
  private var probes: [String: Probe] = [:]

  /// A pilot.
  ///
  /// - Parameters:
  ///   - quantizer: how the layer's linears are to be rounded; none may be entropy-coded.
  ///   - heldOut: hidden states before the layer that errors are measured on; they move behind it.
  /// - Returns: `nil` if nothing in the layer is learned from text in a way that can be measured.
  public init?(_ quantizer: LayerQuantizer, heldOut: HiddenStates, tables: [RotaryTable]) throws(ModelError) {
    let layout = quantizer.layer.layout
    self.tables = tables
    for reader in layout.linears where reader.expert == nil && Self.learns(reader.name, quantizer) {
      let known = probes[reader.reads]
      // Of rounding with feedback the first reader is asked, as the search does; scores are clipped only at times.
      let feedsBack = quantizer.methods[reader.name]?.feedsBack ?? false
      guard known == nil || (feedsBack && !(known?.feedsBack ?? true)), feedsBack || !reader.feedsScores else {
        continue
      }
      let weight = quantizer.initial(try quantizer.layer.linear(reader.name), reader.name)
      probes[reader.reads] = Probe(
        sample: weight.sampled(weight.sampledRows(MomentFactors.sampledRows)), feedsBack: feedsBack,
        statistics: quantizer.statistics(reader.reads, tokens: .max))
    }
    guard !probes.isEmpty else { return nil }
    // Of a mixture only the router and the shared expert are run.
    let trunk = quantizer.layer.without(layout.linears.filter { $0.expert != nil }.map(\.name))
    var (inputs, last): ([String: Matrix], String?) = ([:], nil)
    let wanted = Set(probes.keys)
    try trunk(heldOut, tables: tables) { name, input, _ in
      if wanted.contains(name) {
        inputs[name] = Matrix(
          rows: (inputs[name]?.rows ?? 0) + input.rows, columns: input.columns,
          values: (inputs[name]?.values ?? []) + input.values)
      }
      if let linear = layout.linear(name), linear.expert == nil, !linear.isRouter { last = linear.reads }
    }
    // What the last input is multiplied with, nothing reads.
    layer = trunk.without(layout.linears.filter { $0.expert == nil && $0.reads == last }.map(\.name))
    for (name, input) in inputs { probes[name]?.heldOut = input }
  }

  /// Whether text decides how a linear is rounded.
  ///
  /// Channel scales alone are not looked at: a few windows settle them.
  private static func learns(_ name: String, _ quantizer: LayerQuantizer) -> Bool {
    guard let weights = quantizer.schemes[name]?.weights, let method = quantizer.methods[name] else { return false }
    precondition(weights.granularity != .perRowAndColumn, "\(name) is entropy-coded")
    if method.feedsBack { return true }
    guard method == .awq else { return false }
    if case .int(let bits) = weights.format { return bits < 8 }
    return weights.format.isFloat
  }

  /// Adds text: hidden states before the layer, which move behind it.
  public mutating func add(_ states: HiddenStates) throws(ModelError) {
    var seen: [(String, Matrix)] = []
    let wanted = Set(probes.keys)
    try layer(states, tables: tables) { name, input, _ in if wanted.contains(name) { seen.append((name, input)) } }
    for (name, input) in seen { probes[name]?.statistics.add(input) }
  }

  /// Squared error over the square of what linears give, as a geometric mean over the inputs.
  ///
  /// - Returns: `nil` if the text says nothing that can be measured, as too few held-out tokens or numbers that are not
  ///   finite do.
  public func error() -> Double? {
    var (sum, count) = (0.0, 0)
    for probe in probes.sorted(by: { $0.key < $1.key }).map(\.value) {
      guard let error = Self.relativeError(probe), error.isFinite else { return nil }
      // What is exact stays so.
      guard error > 0 else { continue }
      sum += MathFunctions.logarithm2(error)
      count += 1
    }
    return count > 0 ? MathFunctions.power(2, sum / Double(count)) : nil
  }

  private static func relativeError(_ probe: Probe) -> Double? {
    guard let input = probe.heldOut else { return nil }
    let rows = probe.sample.source.matrix()
    let output = MatrixProduct.product(input, transposed: rows)
    let energy = ck_sum_of_squares(output.values, output.values.count)
    guard energy > 0, energy.isFinite else { return nil }
    if probe.feedsBack {
      return MomentFactors.search(probe.statistics, input, probe.sample).error.map { $0 / energy }
    }
    return MomentFactors.error(clipped(probe).quantized(), rows, on: input) / energy
  }

  /// The sample with its ranges, or its scales, chosen by the text.
  private static func clipped(_ probe: Probe) -> PreparedWeight {
    var result = probe.sample
    guard let weights = result.scheme?.weights else { return result }
    if weights.format.isFloat {
      let squares = ClipSearch.shrunk(probe.statistics.squares, tokens: probe.statistics.weight).squares
      result.scaling = FloatScaling(.leastError(importance: squares))
    } else {
      result.shrink = ClipSearch.run(
        result.source, as: weights, scaleType: result.storedType, statistics: probe.statistics,
        scales: [Float](repeating: 1, count: result.source.inFeatures))
    }
    return result
  }
}
