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
    let stages = try stages()
    for (index, stage) in stages.enumerated() {
      let names = stage.names.filter { result.shrinkages[$0] != nil }
      guard let first = names.first, let shrinkage = result.shrinkages[first] else { continue }
      // Nothing behind the stage's input is needed to see it.
      let later = stages[index...].flatMap(\.names)
      let seen = Seen(
        exact: layer.without(later), quantized: applying(result).without(later),
        factors: result.weights[first]?.columnFactors)
      let moments = try observe(stage, seen)
      guard let factor = moments.inputs.factor(shrinkage: shrinkage) else { continue }
      let judged = try pairs(heldOut, 0, stage, seen)
      for name in names {
        guard let weight = result.weights[name] else { continue }
        result.weights[name]?.rounded = round(weight, moments, factor, judged)
      }
    }
    return result
  }

  /// The layer as far as a stage's input, in full precision and as it is quantized.
  private struct Seen {
    let exact, quantized: DecoderLayer
    /// By what folding divides the input.
    let factors: [Float]?
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
    _ states: (exact: HiddenStates, quantized: HiddenStates), _ chunk: Int, _ stage: Stage, _ seen: Seen
  ) throws(ModelError) -> Pair {
    let sequences = states.exact.chunks[chunk]
    let before = (exact: try states.exact.read(chunk), quantized: try states.quantized.read(chunk))
    func input(_ layer: DecoderLayer, _ hidden: Matrix) throws(ModelError) -> Matrix {
      var found: Matrix?
      _ = try layer.delta(block, of: hidden, sequences: sequences, tables: tables) { name, input, _ in
        if name == stage.names[0] { found = input }
      }
      guard let found else { preconditionFailure("\(stage.names[0]) was not run") }
      return found
    }
    var exact = try input(seen.exact, before.exact)
    let quantized = try input(seen.quantized, before.quantized)
    if let factors = seen.factors { exact.scaleColumns(by: factors.map { 1 / $0 }) }
    guard stage.isLast else { return Pair(exact: exact, quantized: quantized, lost: nil) }
    var lost = before.exact
    lost.add(before.quantized, times: -1)
    lost.scale(by: 1 / layer.configuration.residualMultiplier)
    return Pair(exact: exact, quantized: quantized, lost: lost)
  }

  private func observe(_ stage: Stage, _ seen: Seen) throws(ModelError) -> Moments {
    let channels = layer.layout.linear(stage.names[0])?.inFeatures ?? 0
    var result = Moments(
      inputs: InputStatistics(channels: channels, groupSize: 0, keepsMoments: true),
      cross: [Float](repeating: 0, count: channels * channels),
      residual: stage.isLast ? [Float](repeating: 0, count: search.exact.columns * channels) : [])
    for chunk in search.exact.chunks.indices {
      let pair = try pairs(search, chunk, stage, seen)
      let weights = result.inputs.add(pair.quantized).map { Float($0) }
      var change = pair.exact
      change.add(pair.quantized, times: -1)
      change.scaleRows(by: weights)
      MatrixProduct.addCrossGram(change, pair.quantized, to: &result.cross)
      guard var lost = pair.lost else { continue }
      lost.scaleRows(by: weights)
      MatrixProduct.addCrossGram(lost, pair.quantized, to: &result.residual)
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
    guard weight.scheme != nil else { return nil }
    let source = weight.scaled
    let picked = weight.sampledRows(MomentFactors.sampledRows)
    let sample = weight.sampled(picked)
    let rows = sample.source.matrix()
    let moved = Self.correction(rows, rows: picked, moments, factor)
    // What the rows should give: from the exact inputs, and what the stream has lost.
    var wanted = MatrixProduct.product(judged.exact, transposed: rows)
    if let lost = judged.lost {
      for row in 0..<wanted.rows {
        for (place, output) in picked.enumerated() { wanted[row, place] += lost[row, output] }
      }
    }
    var best = (share: Float(0), error: Double.infinity)
    for share in Self.shares {
      let rounded = sample.rounded(WeightRows(Self.sum(rows, moved, share: share)), factor: factor, channelFactors: nil)
      let output = MatrixProduct.product(judged.quantized, transposed: rounded.dequantized())
      let difference = zip(output.values, wanted.values).map { $0 - $1 }
      let error = ck_sum_of_squares(difference, difference.count)
      if error < best.error { best = (share, error) }
    }
    let share = best.share
    guard share > 0 else { return weight.rounded(source, factor: factor, channelFactors: nil, refits: true) }
    return weight.rounded(
      WeightRows(Self.target(source, moments, factor, share: share)), factor: factor, channelFactors: nil, refits: true)
  }

  /// W + share · correction, `[outFeatures, inFeatures]`: roundings read it several times, and it costs more than they do.
  private static func target(
    _ source: WeightRows, _ moments: Moments, _ factor: MomentFactor, share: Float
  ) -> Matrix {
    let columns = source.inFeatures
    return Matrix(rows: source.outFeatures, columns: columns) { buffer in
      nonisolated(unsafe) let buffer = buffer
      Parallel.forEachRange(of: source.outFeatures, size: 128) { range in
        let rows = source.rows(range)
        let moved = correction(rows, rows: Array(range), moments, factor)
        let tile = UnsafeMutableBufferPointer(rebasing: buffer[range.lowerBound * columns..<range.upperBound * columns])
        _ = tile.update(fromContentsOf: sum(rows, moved, share: share).values)
      }
    }
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
