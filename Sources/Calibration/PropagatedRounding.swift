internal import CKernels
internal import Kernels
internal import Models
internal import Quantization
internal import Tensors

/// Rounds the linears of a block so that they make good what earlier roundings did to their inputs.
///
/// With X the inputs in full precision and X̂ those behind everything quantized so far, the linear is to give W·X from
/// X̂, and where its output is added to the residual stream, also what that stream has lost, ΔR: the target is
/// W* = W + (W·ΔX·X̂ᵀ + ΔR·X̂ᵀ)·(X̂·X̂ᵀ)⁻¹, ΔX = X − X̂, rounded with feedback under X̂·X̂ᵀ (the form of Qronos, Zhang et al., 2025, and of
/// WaterSIC's residual compensation, facts/algorithms.md §3.1). How much of the correction is used, tokens decide that
/// were not used to find it.
struct PropagatedRounding {
  let quantizer: LayerQuantizer
  let block: LayerBlock
  let tables: [RotaryTable]
  /// States before the block: in full precision, and through the quantized layers.
  let search, heldOut: (exact: HiddenStates, quantized: HiddenStates)
  /// The layer with a choice of prepared weights in place.
  let applying: (QuantizedBlock) -> DecoderLayer

  /// Shares of the correction that are tried.
  static let shares: [Float] = [0, 0.5, 1]
  private static let sampledRows = 64

  private var layer: DecoderLayer { quantizer.layer }

  /// What linears that read one input have to work with.
  private struct Moments: Sendable {
    var inputs: InputStatistics
    /// Σ ΔX·X̂ᵀ, `[channels, channels]`.
    var cross: [Float]
    /// Σ ΔR·X̂ᵀ, `[hidden, channels]`; empty where the output is not added to the residual stream.
    var residual: [Float]
  }

  /// Rounds stage by stage: linears that read the same input, in the order in which they are run.
  func run(_ found: QuantizedBlock) throws(ModelError) -> QuantizedBlock {
    var result = found
    for stage in try stages() {
      let names = stage.names.filter { result.weights[$0]?.rounded != nil && result.shrinkages[$0] != nil }
      guard let first = names.first, let shrinkage = result.shrinkages[first] else { continue }
      let candidate = applying(result)
      let factors = result.weights[first]?.columnFactors
      let moments = try observe(stage, candidate, factors)
      guard let factor = moments.inputs.factor(shrinkage: shrinkage) else { continue }
      let judged = try pairs(heldOut, 0, stage, candidate, factors)
      for name in names {
        guard let weight = result.weights[name] else { continue }
        result.weights[name]?.rounded = round(weight, moments, factor, judged)
      }
    }
    return result
  }

  private struct Stage {
    let reads: String
    var names: [String]
    /// Whether what the linears give is added to the residual stream as it is.
    var isLast = false
  }

  private func stages() throws(ModelError) -> [Stage] {
    var result: [Stage] = []
    let row = try search.exact.gather([.init(chunk: 0, row: 0)])
    _ = try layer.delta(block, of: row, sequences: Sequences(lengths: [1]), tables: tables) { name, _, _ in
      let reads = layer.layout.linear(name)?.reads ?? name
      if let index = result.firstIndex(where: { $0.reads == reads }) {
        result[index].names.append(name)
      } else {
        result.append(Stage(reads: reads, names: [name]))
      }
    }
    let norms = layer.configuration.norms
    let output = block == .attention ? norms.attentionOutput : norms.feedForwardOutput
    if output == nil, block != .parallel, !result.isEmpty { result[result.count - 1].isLast = true }
    return result
  }

  /// The inputs of a stage for one chunk, and what the residual stream has lost, all as the folded block sees them.
  private struct Pair {
    let exact: Matrix
    let quantized: Matrix
    let lost: Matrix?
  }

  private func pairs(
    _ states: (exact: HiddenStates, quantized: HiddenStates), _ chunk: Int, _ stage: Stage, _ candidate: DecoderLayer,
    _ factors: [Float]?
  ) throws(ModelError) -> Pair {
    var seen: (exact: Matrix?, quantized: Matrix?)
    let sequences = states.exact.chunks[chunk]
    let before = (exact: try states.exact.read(chunk), quantized: try states.quantized.read(chunk))
    let first = stage.names[0]
    _ = try layer.delta(block, of: before.exact, sequences: sequences, tables: tables) { name, input, _ in
      if name == first { seen.exact = input }
    }
    _ = try candidate.delta(block, of: before.quantized, sequences: sequences, tables: tables) { name, input, _ in
      if name == first { seen.quantized = input }
    }
    guard var exact = seen.exact, let quantized = seen.quantized else {
      preconditionFailure("\(first) was not run")
    }
    if let factors {
      for row in 0..<exact.rows { for column in 0..<exact.columns { exact[row, column] /= factors[column] } }
    }
    guard stage.isLast else { return Pair(exact: exact, quantized: quantized, lost: nil) }
    let multiplier = layer.configuration.residualMultiplier
    let lost = zip(before.exact.values, before.quantized.values).map { ($0 - $1) / multiplier }
    return Pair(
      exact: exact, quantized: quantized,
      lost: Matrix(rows: before.exact.rows, columns: before.exact.columns, values: lost))
  }

  private func observe(
    _ stage: Stage, _ candidate: DecoderLayer, _ factors: [Float]?
  ) throws(ModelError) -> Moments {
    let channels = layer.layout.linear(stage.names[0])?.inFeatures ?? 0
    var result = Moments(
      inputs: InputStatistics(channels: channels, groupSize: 0, keepsMoments: true),
      cross: [Float](repeating: 0, count: channels * channels),
      residual: stage.isLast ? [Float](repeating: 0, count: search.exact.columns * channels) : [])
    for chunk in search.exact.chunks.indices {
      let pair = try pairs(search, chunk, stage, candidate, factors)
      let weights = result.inputs.add(pair.quantized)
      var change = pair.exact
      for index in change.values.indices { change.values[index] -= pair.quantized.values[index] }
      var lost = pair.lost
      for (row, weight) in weights.enumerated() where weight < 1 {
        for column in 0..<channels { change[row, column] *= Float(weight) }
        for column in 0..<(lost?.columns ?? 0) { lost?[row, column] *= Float(weight) }
      }
      MatrixProduct.addCrossGram(change, pair.quantized, to: &result.cross)
      if let lost { MatrixProduct.addCrossGram(lost, pair.quantized, to: &result.residual) }
    }
    let scale = Float(1 / max(result.inputs.weight, 1))
    for index in result.cross.indices { result.cross[index] *= scale }
    for index in result.residual.indices { result.residual[index] *= scale }
    return result
  }

  /// The linear's codes for the best share of the correction.
  private func round(
    _ weight: PreparedWeight, _ moments: Moments, _ factor: MomentFactor, _ judged: Pair
  ) -> QuantizedTensor? {
    guard let scheme = weight.scheme else { return nil }
    let source = weight.scaled
    let step = max(1, source.outFeatures / Self.sampledRows)
    let picked = Array(stride(from: 0, to: source.outFeatures, by: step).prefix(Self.sampledRows))
    let sample = Matrix(
      rows: picked.count, columns: source.inFeatures, values: picked.flatMap { source.rows($0..<$0 + 1).values })
    let moved = Self.correction(sample, rows: picked, moments, factor)
    // What the rows should give: from the exact inputs, and what the stream has lost.
    var wanted = MatrixProduct.product(judged.exact, transposed: sample)
    if let lost = judged.lost {
      for row in 0..<wanted.rows {
        for (place, output) in picked.enumerated() { wanted[row, place] += lost[row, output] }
      }
    }
    let shrink = weight.shrink.map { shrink in
      let groups = shrink.count / source.outFeatures
      return picked.flatMap { shrink[$0 * groups..<($0 + 1) * groups] }
    }
    let granularity: Granularity =
      if case .perGroup = scheme.weights.granularity { scheme.weights.granularity } else { .perChannel }
    let sampled =
      scheme.weights.format.isFloat
      ? WeightQuantization(scheme.weights.format, granularity, scales: scheme.weights.scales)
      : WeightQuantization(scheme.weights.format, granularity, isSymmetric: scheme.weights.isSymmetric)
    var best = (share: Float(0), error: Double.infinity)
    for share in Self.shares {
      let target = WeightRows(Self.sum(sample, moved, share: share))
      let plain = RoundToNearest.quantized(
        target, as: sampled, scaleType: weight.storedType, shrink: shrink, scaling: weight.scaling)
      let rounded = FeedbackRounding.rounded(plain, target, factor: factor, channelFactors: nil)
      let output = MatrixProduct.product(judged.quantized, transposed: rounded.dequantized())
      let difference = zip(output.values, wanted.values).map { $0 - $1 }
      let error = ck_sum_of_squares(difference, difference.count)
      if error < best.error { best = (share, error) }
    }
    let share = best.share
    let target =
      share == 0
      ? source
      : WeightRows(outFeatures: source.outFeatures, inFeatures: source.inFeatures, storedType: .float32) {
        range, floats in
        let rows = source.rows(range)
        let moved = Self.correction(rows, rows: Array(range), moments, factor)
        _ = floats.update(fromContentsOf: Self.sum(rows, moved, share: share).values)
      }
    let plain = RoundToNearest.quantized(
      target, as: scheme.weights, scaleType: weight.storedType, shrink: weight.shrink, scaling: weight.scaling)
    return FeedbackRounding.refitted(plain, target, factor: factor, channelFactors: nil)
  }

  private static func sum(_ rows: Matrix, _ moved: Matrix, share: Float) -> Matrix {
    Matrix(
      rows: rows.rows, columns: rows.columns, values: zip(rows.values, moved.values).map { $0 + share * $1 })
  }

  /// (W·ΔX·X̂ᵀ + ΔR·X̂ᵀ)·(X̂·X̂ᵀ)⁻¹ for some rows of W.
  private static func correction(
    _ rows: Matrix, rows picked: [Int], _ moments: Moments, _ factor: MomentFactor
  ) -> Matrix {
    let channels = rows.columns
    var result = MatrixProduct.product(rows, columnsOf: moments.cross)
    if !moments.residual.isEmpty {
      for (place, output) in picked.enumerated() {
        for column in 0..<channels { result[place, column] += moments.residual[output * channels + column] }
      }
    }
    let count = result.rows
    result.values.withUnsafeMutableBufferPointer {
      if let base = $0.baseAddress { factor.solve(base, rows: count, deviations: factor.deviations) }
    }
    return result
  }
}
