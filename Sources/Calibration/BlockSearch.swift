internal import CKernels
internal import Kernels
internal import Models
internal import Quantization
internal import Tensors

/// What became of some linears of a layer, by names within it.
struct QuantizedBlock {
  var weights: [String: PreparedWeight] = [:]
  /// Factors of norms that folding changed.
  var norms: [String: [Float]] = [:]
  /// Biases that folding changed.
  var biases: [String: [Float]] = [:]
  /// Factors of the input channels of everything that reads a folded norm, by the norm's name.
  var normFactors: [String: [Float]] = [:]
  var folds: [FoldOutcome] = []
  var loss = 0.0
}

/// Searches the folds of one block, tries them on held-out text, and keeps what lowers the error of the block's output.
struct BlockSearch {
  let quantizer: LayerQuantizer
  /// Linears that are prepared.
  let names: [String]
  let folds: [Fold]
  /// The linears before this search; an earlier fold may have multiplied their columns.
  let initial: [String: PreparedWeight]
  let biases: [String: [Float]]
  /// Factors of norms that an earlier search has folded.
  let norms: [String: [Float]]
  let statistics: (String) -> InputStatistics
  /// What a linear reads on held-out text, where that was kept.
  let heldOutInput: (String) -> Matrix?
  /// Whether weights are rounded with feedback once the block is decided; folds are then judged by plain rounding.
  var isRoundedLater = false
  /// The block's output on held-out text in full precision, where it is known already.
  var reference: Matrix?
  /// The block's output on held-out text.
  let output: (DecoderLayer) throws(ModelError) -> Matrix

  private struct Plan {
    let folding: ChannelFolding
    let found: ScaleSearch.Result
  }

  /// Clipping depends on the folds that touch a linear alone, so what was found is used again.
  private final class ClipMemory {
    var found: [String: [Float]] = [:]
    var rounded: [String: QuantizedTensor] = [:]
  }
  private let clips = ClipMemory()
  private let factors = MomentFactors()

  init(
    quantizer: LayerQuantizer, names: [String], folds: [Fold], initial: [String: PreparedWeight],
    biases: [String: [Float]], norms: [String: [Float]], statistics: @escaping (String) -> InputStatistics,
    heldOutInput: @escaping (String) -> Matrix? = { _ in nil },
    output: @escaping (DecoderLayer) throws(ModelError) -> Matrix
  ) {
    self.quantizer = quantizer
    self.names = names
    self.folds = folds
    self.initial = initial
    self.biases = biases
    self.norms = norms
    self.statistics = statistics
    self.heldOutInput = heldOutInput
    self.output = output
  }

  private var layer: DecoderLayer { quantizer.layer }

  private func isQuantized(_ name: String) -> Bool { quantizer.schemes[name] != nil }

  /// Whether activation-aware scales can help a linear: float formats have no steps to move.
  private func isScaled(_ name: String) -> Bool {
    guard quantizer.methods[name]?.searchesScales ?? false, case .int? = quantizer.schemes[name]?.weights.format else {
      return false
    }
    return true
  }

  private func feedsScores(_ name: String) -> Bool { layer.layout.linear(name)?.feedsScores ?? false }

  func run() throws(ModelError) -> QuantizedBlock {
    let known = Set(names)
    let plans = folds.filter { fold in fold.linears.contains { known.contains($0) && isScaled($0) } }.map(search)
    let useful = plans.indices.filter { plans[$0].found.relativeError < 1 }
    guard !useful.isEmpty || names.contains(where: isClipped) else {
      var plain = build([], plans, clipsScores: false)
      plain.folds = plans.map { outcome($0, kept: false, without: 0, with: 0, reason: Self.useless) }
      return plain
    }
    let reference = if let reference { reference } else { try output(layer) }
    let energy = reference.values.withUnsafeBufferPointer { ck_sum_of_squares($0.baseAddress, $0.count) }
    var losses: [Set<Int>: Double] = [:]
    /// Of folds that are tried one by one: the loss without and with each, at its turn.
    var decided: [Int: (without: Double, with: Double)] = [:]
    func measured(_ active: Set<Int>, clipsScores: Bool = false) throws(ModelError) -> QuantizedBlock {
      var candidate = build(active, plans, clipsScores: clipsScores)
      let found = try output(applying(candidate, isTrial: true))
      let difference = zip(found.values, reference.values).map { $0 - $1 }
      candidate.loss = ck_sum_of_squares(difference, difference.count) / max(energy, .leastNormalMagnitude)
      losses[active] = min(candidate.loss, losses[active] ?? .infinity)
      return candidate
    }
    var active: Set<Int> = []
    var chosen = try measured(active)
    if useful.count <= 2 {
      // All four combinations are measured, so none is kept on trust. Ties go to fewer folds, then to the first.
      for choice in 1..<(1 << useful.count) {
        let tried = Set(useful.enumerated().filter { choice >> $0.offset & 1 == 1 }.map(\.element))
        let candidate = try measured(tried)
        if (candidate.loss, tried.count) < (chosen.loss, active.count) { (active, chosen) = (tried, candidate) }
      }
    } else {
      // More folds are added one by one, in the order of the data.
      for fold in useful {
        let tried = active.union([fold])
        let candidate = try measured(tried)
        decided[fold] = (chosen.loss, candidate.loss)
        if candidate.loss < chosen.loss { (active, chosen) = (tried, candidate) }
      }
    }
    // Errors of queries and keys meet in a product under a softmax, where the squared error of each alone misleads:
    // they are clipped only where the whole attention is better for it.
    if names.contains(where: { feedsScores($0) && isClipped($0) }) {
      let clipped = try measured(active, clipsScores: true)
      if clipped.loss < chosen.loss { chosen = clipped }
    }
    chosen.folds = plans.indices.map { index in
      guard useful.contains(index) else {
        return outcome(plans[index], kept: false, without: chosen.loss, with: chosen.loss, reason: Self.useless)
      }
      let isKept = active.contains(index)
      return outcome(
        plans[index], kept: isKept,
        without: decided[index]?.without ?? losses[active.subtracting([index])] ?? chosen.loss,
        with: decided[index]?.with ?? losses[active.union([index])] ?? chosen.loss,
        reason: isKept ? nil : "the held-out loss of its block is not lower with it")
    }
    return chosen
  }

  private static let useless = "no scales lower the expected error"

  private func outcome(
    _ plan: Plan, kept: Bool, without: Double, with: Double, reason: String?
  ) -> FoldOutcome {
    FoldOutcome(
      title: plan.folding.fold.title, isKept: kept, alpha: plan.found.relativeError < 1 ? plan.found.alpha : 0,
      lossWithout: without, lossWith: with, reason: reason)
  }

  private func isClipped(_ name: String) -> Bool {
    guard let method = quantizer.methods[name], method != .roundToNearest,
      let weights = quantizer.schemes[name]?.weights, weights.granularity != .perRowAndColumn,
      case .int(let bits) = weights.format
    else { return false }
    return bits < 8
  }

  /// The factor of what a linear reads; `nil` where rounding each weight by itself is better.
  private func choice(_ name: String) -> MomentFactors.Choice? {
    guard let first = initial[name], first.scheme != nil else { return nil }
    let reads = layer.layout.linear(name)?.reads ?? name
    return factors.choice(reads, statistics(name), heldOut: heldOutInput(name), weight: first)
  }

  /// A weight's codes, rounded with feedback; `nil` where rounding each weight by itself is better.
  private func fedBack(_ name: String, _ weight: PreparedWeight) -> QuantizedTensor? {
    guard weight.scheme != nil else { return nil }
    if let choice = choice(name) {
      return weight.rounded(
        weight.scaled, factor: choice.factor, channelFactors: weight.columnFactors, refits: true)
    }
    return weight.roundedAlone(statistics(name))
  }

  private func search(_ fold: Fold) -> Plan {
    let folding = ChannelFolding(
      fold, layer: layer, bias: { biases[$0] }, storedType: quantizer.storedType, isQuantized: isQuantized)
    let readers = fold.linears.filter { name in
      guard initial[name] != nil, case .int? = quantizer.schemes[name]?.weights.format else { return false }
      return true
    }
    let search = ScaleSearch(
      quantizations: readers.compactMap { quantizer.schemes[$0]?.weights }, scaleType: quantizer.storedType,
      weights: readers.compactMap { initial[$0]?.scaled }, statistics: statistics(fold.linears[0]),
      sourceChannel: folding.sourceChannel)
    return Plan(folding: folding, found: search.run(adjust: folding.storable))
  }

  /// Applies folds and clips; nothing is rounded yet.
  private func build(_ active: Set<Int>, _ plans: [Plan], clipsScores: Bool) -> QuantizedBlock {
    var block = QuantizedBlock()
    var touched: [String: [Int]] = [:]
    block.weights = initial
    for index in active.sorted() {
      let (folding, scales) = (plans[index].folding, plans[index].found.scales)
      let factors = folding.columnFactors(scales)
      switch folding.fold.source {
      case .norm(let name):
        block.norms[name] = folding.foldedPin(scales)
        block.normFactors[name] = factors
      case .rows(let name, _):
        guard let source = block.weights[name] else { continue }
        block.weights[name]?.rowDivisors = folding.rowDivisors(scales, outFeatures: source.source.outFeatures)
        if let bias = folding.foldedPin(scales, bias: biases[name]) { block.biases[name] = bias }
        touched[name, default: []].append(index)
      }
      for name in folding.fold.linears where block.weights[name] != nil {
        let before = block.weights[name]?.columnFactors
        block.weights[name]?.columnFactors = before.map { zip($0, factors).map(*) } ?? factors
        touched[name, default: []].append(index)
      }
    }
    for name in names where isClipped(name) && (clipsScores || !feedsScores(name)) {
      guard let weight = block.weights[name], let scheme = weight.scheme else { continue }
      let key = "\(name) \(touched[name] ?? [])"
      if clips.found[key] == nil {
        clips.found[key] = ClipSearch.run(
          weight.scaled, as: scheme.weights, scaleType: weight.storedType, statistics: statistics(name),
          scales: weight.columnFactors ?? [Float](repeating: 1, count: weight.source.inFeatures),
          isFedBack: quantizer.feedsBack(name))
      }
      block.weights[name]?.shrink = clips.found[key]
    }
    for name in names {
      let factors = block.weights[name]?.columnFactors
      if isScaledByError(name) { block.weights[name]?.scaling = scaling(name, factors: factors) }
      let shared = sharedMaximum(name, block.weights)
      block.weights[name]?.scaling.sharedMaximum = shared
    }
    for name in names where quantizer.feedsBack(name) && !isRoundedLater {
      guard let weight = block.weights[name] else { continue }
      let key = "\(name) \(touched[name] ?? []) \(weight.shrink != nil)"
      if clips.rounded[key] == nil { clips.rounded[key] = fedBack(name, weight) }
      block.weights[name]?.rounded = clips.rounded[key]
    }
    return block
  }

  private func isScaledByError(_ name: String) -> Bool {
    (quantizer.methods[name] ?? .roundToNearest) != .roundToNearest
      && quantizer.schemes[name]?.weights.format.isFloat ?? false
  }

  /// Scales of floats by the expected error of the output, inputs being divided by the columns' factors.
  private func scaling(_ name: String, factors: [Float]?) -> FloatScaling {
    let seen = statistics(name)
    var squares = ClipSearch.shrunk(seen.squares, tokens: seen.weight).squares
    guard squares.count == initial[name]?.source.inFeatures else { return FloatScaling(.leastError(importance: nil)) }
    if let factors { squares = zip(squares, factors).map { $0 / ($1 * $1) } }
    return FloatScaling(.leastError(importance: squares))
  }

  /// The largest weight of all linears that read the same input: runtimes fuse them, and one divisor of scales serves all.
  private func sharedMaximum(_ name: String, _ weights: [String: PreparedWeight]) -> Float? {
    guard quantizer.schemes[name]?.weights.scales == .float8, let own = layer.layout.linear(name) else { return nil }
    return layer.layout.linears
      .filter { $0.reads == own.reads && $0.expert == own.expert && !$0.isRouter }
      .compactMap { weights[$0.name] }.map { FloatScales.largestMagnitude(of: $0.scaled) }.max()
  }

  /// The layer as a runtime would load it.
  ///
  /// - Parameter isTrial: whether it is compared with other choices alone: products of few bits then round activations
  ///   to int8, which is faster, and disturbs all choices alike by far less than they differ.
  func applying(_ block: QuantizedBlock, isTrial: Bool = false) -> DecoderLayer {
    var layer = layer
    // What is tried is not what the layer gives.
    layer.cacheMaxima = nil
    for (name, weight) in block.weights {
      let bias = block.biases[name] ?? biases[name]
      let packed = isTrial && weight.hasFewBits ? weight.packed() : nil
      layer.replace(
        name,
        by: packed.map { Linear(name: name, packed: $0, activations: .int8, bias: bias) }
          ?? Linear(name: name, weight: .rows(weight.stored), bias: bias))
    }
    for (name, gains) in norms.merging(block.norms, uniquingKeysWith: { $1 }) { layer.norms[name]?.gains = gains }
    return layer
  }
}
