internal import CKernels
internal import Kernels
internal import Models
internal import Quantization
internal import Tensors

/// What the linears of a stage read behind the quantized layers, and what is missing from what they give.
final class StageInputs {
  let stage: PropagatedRounding.Stage
  /// X̂ of the last stage.
  private(set) var search, heldOut: HiddenStates?
  private let rounding: PropagatedRounding
  /// The layer as far as the stage's input.
  private let exact, quantized: DecoderLayer
  /// One of the stage's weights, and its bias.
  private let weight: PreparedWeight
  private let bias: [Float]?

  init(
    _ stage: PropagatedRounding.Stage, exact: DecoderLayer, quantized: DecoderLayer, weight: PreparedWeight,
    bias: [Float]?, of rounding: PropagatedRounding
  ) {
    self.stage = stage
    self.exact = exact
    self.quantized = quantized
    self.weight = weight
    self.bias = bias
    self.rounding = rounding
  }

  /// Sums over the tokens, outlying ones weighed down.
  struct Moments: Sendable {
    /// Of X̂, with X̂·X̂ᵀ.
    var inputs: InputStatistics
    /// The mean of (D + W·X̂)·X̂ᵀ, `[out, channels]`, or of ΔX·X̂ᵀ, `[channels, channels]`.
    var missing: [Float]
    /// Whether it is of the last linear's outputs: they are fewer than its inputs, and D holds what the residual stream
    /// has lost.
    let isOfOutputs: Bool
  }

  /// Runs the texts for searching as far as the stage.
  func observe() throws(ModelError) -> Moments {
    let states = rounding.search
    let channels = weight.source.inFeatures
    let rows = stage.isLast ? weight.source.outFeatures : channels
    var result = Moments(
      inputs: InputStatistics(channels: channels, groupSize: 0, keepsMoments: true, precision: exact.precision),
      missing: [Float](repeating: 0, count: rows * channels), isOfOutputs: stage.isLast)
    let kept = stage.isLast ? try states.quantized.zeros(columns: channels) : nil
    search = kept
    for chunk in states.quantized.chunks.indices {
      let x = try input(quantized, states.quantized, chunk)
      try kept?.write(x, to: chunk)
      let weights = result.inputs.add(x).map { Float($0) }
      var missing: Matrix
      if stage.isLast {
        missing = try wanted(states, chunk)
      } else {
        missing = try exactInput(states, chunk)
        missing.add(x, times: -1)
      }
      missing.scaleRows(by: weights)
      MatrixProduct.addCrossGram(missing, x, to: &result.missing, exact.precision)
    }
    let scale = Float(1 / max(result.inputs.weight, 1))
    result.missing.withUnsafeMutableBufferPointer { values in
      for index in values.indices { values[index] *= scale }
    }
    return result
  }

  /// Held-out tokens.
  struct Judged {
    /// X̂, `[tokens, channels]`.
    let quantized: Matrix
    /// X, or of the last linear what it should give.
    fileprivate let wanted: Matrix
    fileprivate let isOfOutputs: Bool

    /// What some rows of a weight should give, `[tokens, rows]`.
    func wanted(_ rows: Matrix, at picked: [Int]) -> Matrix {
      guard isOfOutputs else { return MatrixProduct.product(wanted, transposed: rows) }
      var result = Matrix(rows: wanted.rows, columns: picked.count)
      for token in 0..<wanted.rows {
        for (place, output) in picked.enumerated() { result[token, place] = wanted[token, output] }
      }
      return result
    }
  }

  /// Runs the first of the held-out texts as far as the stage; of the last stage all of them, which are kept.
  func judged() throws(ModelError) -> Judged {
    let states = rounding.heldOut
    let x = try input(quantized, states.quantized, 0)
    if stage.isLast {
      let kept = try states.quantized.zeros(columns: x.columns)
      for chunk in kept.chunks.indices {
        try kept.write(chunk == 0 ? x : input(quantized, states.quantized, chunk), to: chunk)
      }
      heldOut = kept
    }
    return Judged(
      quantized: x, wanted: stage.isLast ? try wanted(states, 0) : try exactInput(states, 0),
      isOfOutputs: stage.isLast)
  }

  /// What the last linear should give without its bias: what moves the quantized layers' states behind the block to
  /// those in full precision.
  private func wanted(_ states: PropagatedRounding.States, _ chunk: Int) throws(ModelError) -> Matrix {
    var result = try states.after.read(chunk)
    result.add(try states.quantized.read(chunk), times: -1)
    result.scale(by: 1 / exact.configuration.residualMultiplier)
    if let bias { result.addToRows(bias.map { -$0 }) }
    return result
  }

  /// X, in the folded channels.
  private func exactInput(_ states: PropagatedRounding.States, _ chunk: Int) throws(ModelError) -> Matrix {
    var result = try input(exact, states.before, chunk)
    if let factors = weight.columnFactors { result.scaleColumns(by: factors.map { 1 / $0 }) }
    return result
  }

  private func input(_ layer: DecoderLayer, _ states: HiddenStates, _ chunk: Int) throws(ModelError) -> Matrix {
    guard !stage.isFirst else { return layer.input(of: rounding.block, try states.read(chunk)) }
    let name = stage.names[0]
    var found: Matrix?
    _ = try layer.delta(
      rounding.block, of: try states.read(chunk), sequences: states.chunks[chunk], tables: rounding.tables
    ) { run, input, _ in
      if run == name { found = input }
    }
    guard let found else { preconditionFailure("\(name) was not run") }
    return found
  }
}
