internal import CKernels
internal import Kernels
internal import Models
internal import Quantization
internal import Tensors

/// Searches the folds of one block, tries every combination on held-out text, and keeps the best.
struct BlockSearch {
  let quantizer: LayerQuantizer
  let block: Fold.Block
  let names: [String]
  let folds: [Fold]
  let observation: LayerObservation
  let representatives: [String: String]
  let rotary: RotaryTable

  /// A combination of folds, its weights, and its loss.
  private struct Candidate {
    var weights: [String: QuantizedLayer.Weight] = [:]
    var norms: [String: [Float]] = [:]
    var biases: [String: [Float]] = [:]
    var loss = Double.infinity
  }

  private var layer: DecoderLayer { quantizer.layer }

  private func isQuantized(_ name: String) -> Bool { quantizer.schemes[name] != nil }

  /// Whether activation-aware scales can help a linear: float formats have no steps to move.
  private func isScaled(_ name: String) -> Bool {
    guard quantizer.methods[name] == .awq, case .int? = quantizer.schemes[name]?.weights.format else { return false }
    return true
  }

  func run() -> QuantizedLayer {
    let originals = Dictionary(uniqueKeysWithValues: names.map { ($0, LayerQuantizer.matrix(layer[linear: $0])) })
    var plans: [(folding: ChannelFolding, found: ScaleSearch.Result)] = []
    for fold in folds where fold.linears.contains(where: isScaled) {
      plans.append(search(fold, originals))
    }
    let reference = output(of: Candidate(), originals)
    let energy = reference.values.withUnsafeBufferPointer { ck_sum_of_squares($0.baseAddress, $0.count) }
    func measured(_ active: Set<Int>, clipsQueries: Bool = false) -> Candidate {
      var candidate = build(active.sorted().map { plans[$0] }, originals, clipsQueries: clipsQueries)
      let difference = zip(output(of: candidate, originals).values, reference.values).map { $0 - $1 }
      candidate.loss = ck_sum_of_squares(difference, difference.count) / max(energy, .leastNormalMagnitude)
      return candidate
    }
    // Two folds a block: all four combinations are measured, so none is kept on trust.
    let useful = plans.indices.filter { plans[$0].found.relativeError < 1 }
    var combinations: [Set<Int>: Candidate] = [:]
    var active: Set<Int> = []
    var chosen = measured(active)
    combinations[active] = chosen
    for choice in 1..<(1 << useful.count) {
      let tried = Set(useful.enumerated().filter { choice >> $0.offset & 1 == 1 }.map(\.element))
      let candidate = measured(tried)
      combinations[tried] = candidate
      // Ties go to fewer folds, then to the first.
      if (candidate.loss, tried.count) < (chosen.loss, active.count) { (active, chosen) = (tried, candidate) }
    }
    // Errors of queries and keys meet in a product under a softmax, where the squared error of each alone misleads:
    // they are clipped only where the whole attention is better for it.
    if names.contains(where: { Self.isQueryOrKey($0) && isScaled($0) }) {
      let clipped = measured(active, clipsQueries: true)
      if clipped.loss < chosen.loss {
        chosen = clipped
        combinations[active] = clipped
      }
    }
    var result = QuantizedLayer()
    result.weights = chosen.weights
    result.norms = chosen.norms
    result.biases = chosen.biases
    result.folds = plans.indices.map { index in
      let plan = plans[index]
      guard useful.contains(index) else {
        return FoldOutcome(
          title: plan.folding.fold.title, isKept: false, alpha: 0, lossWithout: chosen.loss, lossWith: chosen.loss,
          reason: "no scales lower the expected error")
      }
      let without = combinations[active.subtracting([index])]?.loss ?? chosen.loss
      let with = combinations[active.union([index])]?.loss ?? chosen.loss
      return FoldOutcome(
        title: plan.folding.fold.title, isKept: active.contains(index), alpha: plan.found.alpha, lossWithout: without,
        lossWith: with, reason: active.contains(index) ? nil : "the held-out loss of its block is not lower with it")
    }
    return result
  }

  private func search(
    _ fold: Fold, _ originals: [String: Matrix]
  ) -> (folding: ChannelFolding, found: ScaleSearch.Result) {
    let folding = ChannelFolding(fold, layer: layer, storedType: quantizer.storedType, isQuantized: isQuantized)
    let readers = fold.linears.filter { if case .int? = quantizer.schemes[$0]?.weights.format { true } else { false } }
    let search = ScaleSearch(
      quantizations: readers.compactMap { quantizer.schemes[$0]?.weights }, scaleType: quantizer.storedType,
      weights: readers.compactMap { originals[$0] }, statistics: statistics(of: fold.linears[0]),
      sourceChannel: folding.sourceChannel)
    return (folding, search.run(adjust: folding.storable))
  }

  private func statistics(of name: String) -> InputStatistics {
    observation.statistics[representatives[name] ?? name] ?? InputStatistics(channels: 0, groupSize: 0)
  }

  /// Applies folds, clips and rounds.
  private func build(
    _ active: [(folding: ChannelFolding, found: ScaleSearch.Result)], _ originals: [String: Matrix],
    clipsQueries: Bool
  ) -> Candidate {
    var candidate = Candidate()
    var weights = originals
    var inputScales: [String: [Float]] = [:]
    var touched: Set<String> = []
    for (folding, found) in active {
      switch folding.fold.source {
      case .norm(let name): candidate.norms[name] = folding.foldedPin(found.scales)
      case .linear(let name), .valueHeads(let name):
        weights[name] = weights[name].map { folding.divided($0, by: found.scales) }
        if let bias = folding.foldedPin(found.scales) { candidate.biases[name] = bias }
        touched.insert(name)
      }
      for name in folding.fold.linears {
        weights[name] = weights[name].map { folding.multiplied($0, by: found.scales) }
        inputScales[name] = folding.sourceChannel.map { found.scales[$0] }
        touched.insert(name)
      }
    }
    for name in names {
      guard let weight = weights[name] else { continue }
      guard let scheme = quantizer.schemes[name] else {
        // Rounded as they will be stored, so that the loss counts it.
        candidate.weights[name] = touched.contains(name) ? .folded(rounded(weight)) : .unchanged
        continue
      }
      let scaleType = quantizer.scaleType(scheme)
      var shrink: [Float]?
      if isScaled(name), clipsQueries || !Self.isQueryOrKey(name), scheme.weights.format.bitWidth < 8 {
        shrink = ClipSearch.run(
          weight, as: scheme.weights, scaleType: scaleType, statistics: statistics(of: name),
          scales: inputScales[name] ?? [Float](repeating: 1, count: weight.columns))
      }
      candidate.weights[name] = .quantized(
        RoundToNearest.quantized(weight, as: scheme.weights, scaleType: scaleType, shrink: shrink))
    }
    return candidate
  }

  private func rounded(_ weight: Matrix) -> Matrix {
    let shape: Shape = [weight.rows, weight.columns]
    return Matrix(Tensor(shape, floats: weight.values, as: quantizer.storedType))
  }

  private static func isQueryOrKey(_ name: String) -> Bool {
    name == "self_attn.q_proj" || name == "self_attn.k_proj"
  }

  /// The block's output on held-out text.
  private func output(of candidate: Candidate, _ originals: [String: Matrix]) -> Matrix {
    var layer = layer
    for name in names {
      switch candidate.weights[name] {
      case .quantized(let tensor): layer[linear: name].weight = .matrix(tensor.dequantized())
      case .folded(let matrix): layer[linear: name].weight = .matrix(matrix)
      case .unchanged, nil:
        layer[linear: name].weight = originals[name].map { .matrix($0) } ?? layer[linear: name].weight
      }
    }
    for (name, bias) in candidate.biases { layer[linear: name].bias = bias }
    for (name, norm) in candidate.norms { layer[norm: name] = norm }
    switch block {
    case .attention:
      return layer.attention(
        observation.heldOut.before.rmsNormalized(weight: layer.inputNorm, epsilon: layer.normEpsilon),
        sequences: observation.heldOutSequences, rotary: rotary)
    case .feedForward:
      return layer.feedForward(
        observation.heldOut.between.rmsNormalized(weight: layer.postAttentionNorm, epsilon: layer.normEpsilon))
    }
  }
}
