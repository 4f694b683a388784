public import Kernels
public import Models
internal import Quantization
internal import Tensors

/// Quantizes one decoder layer while hidden states pass through it, in checkpoint order, one linear in memory at a time.
///
/// Ask for norms, biases and weights in the order of the layer's modules; blocks are observed and searched when their
/// first module is asked for, experts one by one. ``finish()`` moves the hidden states on.
public final class LayerSession {
  let quantizer: LayerQuantizer
  let states: CalibrationStates?
  let tables: [RotaryTable]
  let quota: Int
  private var finished: Set<LayerBlock> = []
  private var mixture: MixtureSession?
  var result = QuantizedBlock()
  var maxima: [String: Float] = [:]
  var activationErrors: [String: ActivationError] = [:]

  /// What became of each fold so far.
  public var folds: [FoldOutcome] { result.folds }
  /// How far two halves of the calibration text are apart in what the layer's linears read, experts left out: the
  /// largest ``InputStatistics/halfDifference``; `nil` where nothing was searched.
  public private(set) var halfDifference: Double?
  /// Tokens seen by experts, if the layer has some and was calibrated.
  public var expertUse: ExpertUse? { mixture?.use }

  /// A session.
  ///
  /// - Parameters:
  ///   - states: hidden states before the layer; `nil` rounds to nearest without looking.
  ///   - quota: tokens below which an expert gets further samples.
  public init(_ quantizer: LayerQuantizer, states: CalibrationStates?, tables: [RotaryTable], quota: Int = 0) {
    self.quantizer = quantizer
    self.states = states
    self.tables = tables
    self.quota = quota
  }

  private var layer: DecoderLayer { quantizer.layer }

  /// The weights of a norm as they are to be stored, where folding changed them.
  public func norm(_ name: String) throws(ModelError) -> [Float]? {
    try prepare(for: name)
    return result.norms[name].flatMap { layer.norms[name]?.stored($0) }
  }

  /// The bias of a linear, where folding changed it.
  public func bias(_ name: String) throws(ModelError) -> [Float]? {
    try prepare(for: name)
    return result.biases[name]
  }

  /// A linear's weights on their way into the artifact.
  public func weight(_ name: String) throws(ModelError) -> PreparedWeight {
    try prepare(for: name)
    if let expert = layer.layout.linear(name)?.expert, states != nil {
      guard let found = try mixture?.weight(name, of: expert, in: self) else {
        preconditionFailure("an expert belongs to a mixture")
      }
      return found
    }
    if let found = result.weights[name] { return found }
    return quantizer.initial(try layer.linear(name), name)
  }

  /// What was seen of keys and values, where the layer was made to look.
  public var cacheMaxima: CacheMaxima? { layer.cacheMaxima }

  /// Largest magnitude of a linear's input, for static activation scales.
  public func inputMaximum(_ name: String) -> Float? { maxima[name] }

  /// What int8 activations add to a linear's error, and whether its input takes them, as all linears do that read the
  /// same, or none; `nil` for linears that were not asked for, and where nothing was measured.
  public func activationChoice(_ name: String) -> (error: ActivationError, isInt8: Bool)? {
    guard let error = activationErrors[name], let own = layer.layout.linear(name) else { return nil }
    let readers = layer.layout.linears.filter { $0.reads == own.reads && $0.expert == own.expert }
    return (error, readers.allSatisfy { activationErrors[$0.name]?.allowsInt8 ?? true })
  }

  /// Does what was not asked for, and moves the hidden states behind the layer.
  public func finish() throws(ModelError) {
    guard states != nil else { return }
    for block in layer.configuration.blocks { try run(block) }
    try mixture?.finish(in: self)
  }

  /// Moves the hidden states behind the layer as ``finish()`` does, for a layer that is written already.
  public func skip() throws(ModelError) {
    guard let states else { return }
    // What it did to its outputs is passed on as well: it is quantized once more, to the same codes.
    guard states.quantized == nil else { return try finish() }
    for block in layer.configuration.blocks {
      try observed(block, states).advance(states.search, through: block, tables: tables)
      for hidden in [states.heldOut, states.reserve].compactMap(\.self) {
        try layer.advance(hidden, through: block, tables: tables)
      }
    }
  }

  /// The layer that ``CalibrationStates/search`` runs through.
  private func observed(_ block: LayerBlock, _ states: CalibrationStates) throws(ModelError) -> DecoderLayer {
    if block == .feedForward, case .mixture = layer.configuration.feedForward { return layer }
    return try quantizer.observed(linears(of: block), tokens: states.search.rowCount)
  }

  /// The block that a module belongs to: everything that comes before the feed-forward's first module is attention's.
  private func block(of name: String) -> LayerBlock {
    guard layer.configuration.blocks.count > 1 else { return .parallel }
    let norms = layer.configuration.norms
    if name == norms.feedForwardInput || name == norms.feedForwardOutput { return .feedForward }
    return name.hasPrefix("self_attn.") || name == norms.attentionInput || name == norms.attentionOutput
      ? .attention : .feedForward
  }

  private func prepare(for name: String) throws(ModelError) {
    guard states != nil else { return }
    let wanted = block(of: name)
    for block in layer.configuration.blocks {
      try run(block)
      if block == wanted { return }
    }
  }

  private func run(_ block: LayerBlock) throws(ModelError) {
    guard let states, finished.insert(block).inserted else { return }
    if block == .feedForward, case .mixture(let experts) = layer.configuration.feedForward {
      let session = MixtureSession(experts)
      mixture = session
      return try session.open(in: self, states)
    }
    let names = linears(of: block)
    var statistics: [String: InputStatistics] = [:]
    let isRoundedLater = states.quantized != nil
    for name in names {
      statistics[reads(name)] = quantizer.statistics(reads(name), tokens: .max, keepsMoments: !isRoundedLater)
    }
    let before = states.quantized == nil ? nil : (try states.search.copy(), try states.heldOut.copy())
    let heldOut = try states.heldOut.read(0)
    let sequences = states.heldOut.chunks[0]
    try observed(block, states).advance(states.search, through: block, tables: tables) { name, input, _ in
      statistics[name]?.add(input)
    }
    let searched = names.filter {
      quantizer.schemes[$0] != nil && quantizer.methods[$0] ?? .roundToNearest != .roundToNearest
    }
    let differences = searched.compactMap { statistics[reads($0)]?.halfDifference }
    halfDifference = (differences + [halfDifference].compactMap(\.self)).max()
    let keepsInputs = statistics.values.contains { $0.keepsMoments }
    var inputs: [String: Matrix] = [:]
    var sample = InputSample()
    let given = try layer.delta(block, of: heldOut, sequences: sequences, tables: tables) { name, input, _ in
      if statistics[name] != nil { sample.add(name, input) }
      if keepsInputs, statistics[name] != nil { inputs[name] = input }
    }
    var behind = heldOut
    behind += given
    try states.heldOut.write(behind, to: 0)
    if let reserve = states.reserve { try layer.advance(reserve, through: block, tables: tables) }
    var (initial, biases): ([String: PreparedWeight], [String: [Float]]) = ([:], [:])
    for name in names {
      let linear = try layer.linear(name)
      initial[name] = quantizer.initial(linear, name)
      biases[name] = linear.bias
    }
    let (tables, seen, judged) = (tables, statistics, inputs)
    var search = BlockSearch(
      quantizer: quantizer, names: names, folds: quantizer.folds { $0.block == block }, initial: initial,
      biases: biases, norms: [:],
      statistics: { [self] in seen[reads($0)] ?? InputStatistics(channels: 0, groupSize: 0) },
      heldOutInput: { [self] in judged[reads($0)] },
      output: { (layer: DecoderLayer) throws(ModelError) in
        try layer.delta(block, of: heldOut, sequences: sequences, tables: tables)
      })
    search.isRoundedLater = isRoundedLater
    search.reference = given
    var found = try search.run()
    if let quantized = states.quantized, let before {
      let rounding = PropagatedRounding(
        quantizer: quantizer, block: block, tables: tables,
        search: .init(before: before.0, after: states.search, quantized: quantized.search),
        heldOut: .init(before: before.1, after: states.heldOut, quantized: quantized.heldOut),
        applying: { search.applying($0) })
      found = try rounding.run(found)
    }
    merge(found) { seen[reads($0)] }
    measureActivations(found) { sample[reads($0)] }
  }

  /// Measures what rounding their inputs costs linears that are quantized.
  func measureActivations(_ block: QuantizedBlock, input: (String) -> Matrix?) {
    for (name, weight) in block.weights {
      activationErrors[name] = input(name).flatMap { ActivationError.measure(weight, on: $0) }
    }
  }

  /// Keeps what became of a block, and the largest inputs of its linears, which folding divides.
  func merge(_ block: QuantizedBlock, seen statistics: (String) -> InputStatistics?) {
    for (name, weight) in block.weights { maxima[name] = statistics(name)?.maximum(dividedBy: weight.columnFactors) }
    result.weights.merge(block.weights) { $1 }
    result.norms.merge(block.norms) { $1 }
    result.biases.merge(block.biases) { $1 }
    result.normFactors.merge(block.normFactors) { $1 }
    result.folds += block.folds
  }

  private func reads(_ name: String) -> String { layer.layout.linear(name)?.reads ?? name }

  private func linears(of block: LayerBlock) -> [String] {
    layer.layout.linears.map(\.name).filter { self.block(of: $0) == block }
  }
}
