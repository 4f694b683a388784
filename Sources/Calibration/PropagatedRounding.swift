internal import CKernels
internal import Kernels
internal import Models
internal import Quantization
internal import Tensors

/// Rounds the linears of a block so that they make good what earlier roundings did to their inputs, and moves the states
/// of the quantized layers behind it.
///
/// With X the inputs in full precision and X̂ those behind everything quantized so far, a linear is to give W·X from
/// X̂, and where its output is added to the residual stream, also what that stream has lost: the target is
/// W* = W + D·X̂ᵀ·(X̂·X̂ᵀ)⁻¹, with D what is missing from W·X̂, rounded with feedback under X̂·X̂ᵀ (the form of Qronos, Zhang
/// et al., 2025, and of WaterSIC's residual compensation, facts/algorithms.md §3.1). How much of the correction is used,
/// tokens decide that were not used to find it.
struct PropagatedRounding {
  /// States of one kind of texts.
  struct States {
    /// Before the block and behind it, in full precision.
    let before, after: HiddenStates
    /// Before the block, through the quantized layers.
    let quantized: HiddenStates
  }

  let quantizer: LayerQuantizer
  let block: LayerBlock
  let tables: [RotaryTable]
  let search, heldOut: States
  /// The layer with a choice of prepared weights in place.
  let applying: (QuantizedBlock) -> DecoderLayer

  /// Shares of the correction that are tried.
  static let shares: [Float] = [0, 0.5, 1]
  /// Rows of weights that are corrected at a time.
  private static let rowsAtOnce = 2048

  private var layer: DecoderLayer { quantizer.layer }

  /// Rounds stage by stage: linears that read the same input, in the order in which they are run.
  func run(_ found: QuantizedBlock) throws(ModelError) -> QuantizedBlock {
    var result = found
    let stages = try stages()
    /// What the last linear reads, so that nothing is run twice.
    var kept: StageInputs?
    for (index, stage) in stages.enumerated() {
      let names = stage.names.filter(quantizer.feedsBack)
      guard let first = names.first, let weight = result.weights[first] else { continue }
      // Nothing behind the stage's input is needed to see it.
      let later = stages[index...].flatMap(\.names)
      let bias = try layer.linear(first).bias
      let inputs = StageInputs(
        stage, exact: layer.without(later), quantized: applying(result).without(later), weight: weight,
        bias: result.biases[first] ?? bias, of: self)
      var moments = try inputs.observe()
      let judged = try inputs.judged()
      if stage.isLast { kept = inputs }
      guard let chosen = MomentFactors.search(moments.inputs, judged.quantized, weight).choice?.factor else {
        for name in names {
          let codes = result.weights[name]?.roundedAlone(moments.inputs)
          result.weights[name]?.rounded = codes
        }
        continue
      }
      let factor = chosen.rounding(rows: weight.source.outFeatures)
      let correction = Correction(&moments, factor, weight.scaled)
      for name in names {
        guard let weight = result.weights[name] else { continue }
        result.weights[name]?.rounded = round(weight, correction, factor, judged)
      }
    }
    try advance(applying(result), kept)
    return result
  }

  /// Moves the states of the quantized layers behind the block.
  private func advance(_ layer: DecoderLayer, _ kept: StageInputs?) throws(ModelError) {
    guard let kept else {
      for states in [search, heldOut] { try layer.advance(states.quantized, through: block, tables: tables) }
      return
    }
    let last = try layer.linear(kept.stage.names[0])
    for (states, inputs) in [(search, kept.search), (heldOut, kept.heldOut)] {
      guard let inputs else { preconditionFailure("the last stage keeps its inputs") }
      for chunk in inputs.chunks.indices {
        var hidden = try states.quantized.read(chunk)
        hidden.add(last(try inputs.read(chunk)), times: layer.configuration.residualMultiplier)
        try states.quantized.write(hidden, to: chunk)
      }
    }
  }

  private func stages() throws(ModelError) -> [Stage] {
    var result: [Stage] = []
    let row = try search.before.gather([.init(chunk: 0, row: 0)])
    _ = try layer.delta(block, of: row, sequences: Sequences(lengths: [1]), tables: tables) { name, _, _ in
      let reads = layer.layout.linear(name)?.reads ?? name
      if let index = result.firstIndex(where: { $0.reads == reads }) {
        result[index].names.append(name)
      } else {
        result.append(Stage(reads: reads, names: [name], isFirst: result.isEmpty))
      }
    }
    let norms = layer.configuration.norms
    let output = block == .attention ? norms.attentionOutput : norms.feedForwardOutput
    if output == nil, block != .parallel, result.last?.names.count == 1 { result[result.count - 1].isLast = true }
    return result
  }

  /// The linear's codes for the best share of the correction.
  private func round(
    _ weight: PreparedWeight, _ correction: Correction, _ factor: MomentFactor, _ judged: StageInputs.Judged
  ) -> QuantizedTensor? {
    guard weight.scheme != nil else { return nil }
    let source = weight.scaled
    let picked = weight.sampledRows(MomentFactors.sampledRows)
    let sample = weight.sampled(picked)
    let rows = sample.source.matrix()
    let moved = correction(rows, at: picked)
    let wanted = judged.wanted(rows, at: picked)
    var best = (share: Float(0), error: Double.infinity)
    for share in Self.shares {
      let rounded = sample.rounded(WeightRows(Self.sum(rows, moved, share: share)), factor: factor, channelFactors: nil)
      let output = MatrixProduct.product(judged.quantized, transposed: rounded.dequantized())
      let difference = zip(output.values, wanted.values).map { $0 - $1 }
      let error = ck_sum_of_squares(difference, difference.count)
      if error < best.error { best = (share, error) }
    }
    let target = best.share > 0 ? WeightRows(Self.target(source, correction, share: best.share)) : source
    return weight.rounded(target, factor: factor, channelFactors: nil, refits: true)
  }

  /// W + share · correction, `[outFeatures, inFeatures]`: roundings read it several times, and it costs more than they do.
  private static func target(_ source: WeightRows, _ correction: Correction, share: Float) -> Matrix {
    let columns = source.inFeatures
    return Matrix(rows: source.outFeatures, columns: columns) { buffer in
      for first in stride(from: 0, to: source.outFeatures, by: rowsAtOnce) {
        let range = first..<min(source.outFeatures, first + rowsAtOnce)
        let rows = source.rows(range)
        let tile = UnsafeMutableBufferPointer(rebasing: buffer[range.lowerBound * columns..<range.upperBound * columns])
        _ = tile.update(fromContentsOf: sum(rows, correction(rows, at: Array(range)), share: share).values)
      }
    }
  }

  private static func sum(_ rows: Matrix, _ moved: Matrix, share: Float) -> Matrix {
    var result = rows
    result.add(moved, times: share)
    return result
  }
}

extension PropagatedRounding {
  /// Linears that read the same input.
  struct Stage {
    let reads: String
    var names: [String]
    /// Whether it reads what the block reads.
    var isFirst = false
    /// Whether what its one linear gives is added to the residual stream as it is.
    var isLast = false
  }

  /// What is to be added to the weights of a stage: D·X̂ᵀ·(X̂·X̂ᵀ)⁻¹.
  struct Correction: Sendable {
    /// D·X̂ᵀ·(X̂·X̂ᵀ)⁻¹ of the last linear, or ΔX·X̂ᵀ·(X̂·X̂ᵀ)⁻¹, by which the weights of the stage are multiplied.
    private let solved: Matrix
    private let isOfOutputs: Bool
    private let channels: Int

    /// Takes what is missing out of the moments, so that there is no copy of it.
    ///
    /// Of the last linear it is T·X̂ᵀ, with T = D + W·X̂ what it should give. With H = X̂·X̂ᵀ and H′ = (1 − ρ)·H + ρ·diag H,
    /// (T·X̂ᵀ − W·H)·H′⁻¹ = (T·X̂ᵀ + W·diag H·ρ/(1 − ρ))·H′⁻¹ − W/(1 − ρ), so that nobody has to multiply W by X̂ or H.
    init(_ moments: inout StageInputs.Moments, _ factor: MomentFactor, _ weight: WeightRows) {
      var values: [Float] = []
      swap(&values, &moments.missing)
      let (channels, isOfOutputs) = (moments.inputs.channels, moments.isOfOutputs)
      let kept = 1 - (factor.shrinkage ?? 0)
      let ridge = factor.deviations.map { $0 * $0 * (1 - kept) / kept }
      values.withUnsafeMutableBufferPointer { buffer in
        nonisolated(unsafe) let base = buffer.baseAddress
        Parallel.forEachRange(of: buffer.count / channels, size: 128) { rows in
          guard let base = base?.advanced(by: rows.lowerBound * channels) else { return }
          let own = isOfOutputs ? weight.rows(rows).values : []
          if isOfOutputs {
            for index in own.indices { base[index] += own[index] * ridge[index % channels] }
          }
          factor.solve(base, rows: rows.count, deviations: factor.deviations)
          if isOfOutputs {
            for index in own.indices {
              base[index] = factor.deviations[index % channels] > 0 ? base[index] - own[index] / kept : 0
            }
          }
        }
      }
      solved = Matrix(rows: values.count / channels, columns: channels, values: values)
      self.isOfOutputs = isOfOutputs
      self.channels = channels
    }

    /// For some rows of a weight, `[rows, channels]`.
    func callAsFunction(_ rows: Matrix, at picked: [Int]) -> Matrix {
      guard isOfOutputs else { return MatrixProduct.product(rows, columnsOf: solved, .bfloat16) }
      return Matrix(rows: picked.count, columns: channels) { buffer in
        for (place, row) in picked.enumerated() {
          let target = UnsafeMutableBufferPointer(rebasing: buffer[place * channels..<(place + 1) * channels])
          _ = target.update(fromContentsOf: solved.row(row))
        }
      }
    }
  }
}
