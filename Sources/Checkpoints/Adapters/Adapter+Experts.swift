internal import Tensors

/// B·A of a fused parameter: one for each expert, interleaved as PEFT does it.
struct ExpertFactors: Sendable {
  /// `[experts · rank, inFeatures]`, the rows of one expert after those of another.
  let down: Matrix
  /// `[outFeatures, rank · experts]`, the experts of one rank after those of another: not the order of A.
  let up: Matrix
  let rank: Int
  let scale: Double

  /// Number of experts.
  var experts: Int { down.rows / rank }

  /// The update of some output features of one expert.
  ///
  /// - Parameter isTransposed: whether the expert is stored `[inFeatures, outFeatures]`.
  func update(of expert: Int, outputs: Range<Int>, isTransposed: Bool = false) -> LowRankUpdate {
    let a = down.rows(expert * rank..<(expert + 1) * rank)
    let b = Matrix(rows: outputs.count, columns: rank) { target in
      for (place, output) in outputs.enumerated() {
        for index in 0..<rank {
          target[place * rank + index] = Float(Double(up[output, index * experts + expert]) * scale)
        }
      }
    }
    return isTransposed
      ? LowRankUpdate(left: a.transposed(), right: b.transposed()) : LowRankUpdate(left: b, right: a)
  }
}

extension Adapter {
  /// The factors of one fused parameter of a module, or `nil` if it has none.
  func factors(of parameter: String, in module: AdapterModule) throws(CheckpointError) -> ExpertFactors? {
    // PEFT wraps the parameters in the order of their declaration, each around those before it: gate_up_proj lies within
    // down_proj, and sorted names are the depths.
    guard let depth = configuration.parameters(of: module.name).firstIndex(of: parameter),
      let factors = module.factors[depth], let down = factors.down, let up = factors.up
    else { return nil }
    let path = module.name + "." + parameter
    return ExpertFactors(
      down: Matrix(down), up: Matrix(up), rank: try configuration.rank(of: path),
      scale: try configuration.scale(of: path))
  }

  /// The rows of one projection of one expert, `[outFeatures, inFeatures]`, for a base that stores it by itself.
  func merged(
    _ rows: WeightRows, expert: ExpertProjection, of module: AdapterModule
  ) throws(CheckpointError) -> WeightRows? {
    guard let factors = try factors(of: expert.parameter, in: module) else { return nil }
    let halves = expert.half == nil ? 1 : 2
    guard factors.up.rows == halves * rows.outFeatures, factors.down.columns == rows.inFeatures else {
      throw refuse(
        module,
        "its lora tensors of \(expert.parameter) make [\(factors.up.rows), \(factors.down.columns)], the base's expert"
          + " \(expert.index) has \(halves) × [\(rows.outFeatures), \(rows.inFeatures)]")
    }
    guard expert.index < factors.experts else {
      throw refuse(
        module, "its lora tensors are for \(factors.experts) experts, the base has an expert \(expert.index)")
    }
    let begin = (expert.half ?? 0) * rows.outFeatures
    return Self.merged(rows, factors.update(of: expert.index, outputs: begin..<begin + rows.outFeatures))
  }
}
