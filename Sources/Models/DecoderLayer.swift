public import Kernels
internal import Quantization
public import Tensors

/// One decoder layer: its configuration and its weights by their names within the layer.
///
/// Experts are not held: they are loaded when tokens come to them, and forgotten.
public struct DecoderLayer: Sendable {
  /// What the layer computes.
  public let configuration: LayerConfiguration
  /// What its tensors are.
  public let layout: LayerLayout
  /// The norms.
  public var norms: [String: Norm]
  /// Tensors that are no module's: sinks, corrections of the routing.
  public var vectors: [String: [Float]]
  /// Changes what a linear gives, by its name within the layer: how much a model minds an error is measured so.
  public var disturbance: (@Sendable (String, Matrix) -> Matrix)?
  /// What products of floats may do to weights and activations: nothing, unless somebody asks.
  public var precision = ProductPrecision.float32
  /// What is done to keys and values as they enter the cache.
  var cacheRounding: (keys: ActivationRounding, values: ActivationRounding)?
  /// Sees the keys and values of grouped attention before they are rounded.
  public var cacheMaxima: CacheMaxima?
  private var linears: [String: Linear]
  private let load: @Sendable (LayerLayout.Linear) throws(ModelError) -> Linear

  init(
    configuration: LayerConfiguration, layout: LayerLayout, norms: [String: Norm], vectors: [String: [Float]],
    linears: [String: Linear], load: @escaping @Sendable (LayerLayout.Linear) throws(ModelError) -> Linear
  ) {
    self.configuration = configuration
    self.layout = layout
    self.norms = norms
    self.vectors = vectors
    self.linears = linears
    self.load = load
  }

  /// A linear by its name within the layer; those of experts are read now unless they were put in place.
  public func linear(_ name: String) throws(ModelError) -> Linear {
    var result: Linear
    if let held = linears[name] {
      result = held
    } else {
      guard let linear = layout.linear(name) else { preconditionFailure("a layer has no linear \(name)") }
      result = try load(linear)
    }
    // Near ties between experts are to fall as they do elsewhere.
    if precision != .float32, layout.linear(name)?.isRouter != true { result.precision = precision }
    return result
  }

  /// Puts a linear in place of the checkpoint's.
  public mutating func replace(_ name: String, by linear: Linear) { linears[name] = linear }

  /// The same layer for someone who looks at inputs only, up to those of some linears: these and further ones give zeros.
  public func without(_ names: [String]) -> DecoderLayer {
    var result = self
    for name in names {
      guard let linear = layout.linear(name) else { preconditionFailure("a layer has no linear \(name)") }
      result.linears[name] = Linear(
        name: name, weight: .absent(outFeatures: linear.outFeatures, inFeatures: linear.inFeatures))
    }
    return result
  }

  /// Holds all linears, experts too, in a form that is fast to multiply with: for generation.
  public mutating func makeResident() throws(ModelError) {
    for linear in layout.linears { linears[linear.name] = try self.linear(linear.name).resident() }
  }

  /// Whether a row's result of every linear is the same in every bit whatever the number of rows.
  var hasIndependentRows: Bool { layout.linears.allSatisfy { linears[$0.name]?.hasIndependentRows ?? false } }

  func norm(_ name: String) -> Norm {
    guard let norm = norms[name] else { preconditionFailure("a layer has no norm \(name)") }
    return norm
  }

  /// Applies a linear and shows it to the tap.
  func apply(_ name: String, _ x: Matrix, _ tap: Tap?) throws(ModelError) -> Matrix {
    try apply([name], x, tap)[0]
  }

  /// Applies linears that read the same and shows them to the tap one after another.
  func apply(_ names: [String], _ x: Matrix, _ tap: Tap?) throws(ModelError) -> [Matrix] {
    var linears: [Linear] = []
    for name in names { linears.append(try linear(name)) }
    var outputs = Linear.apply(linears, to: x)
    for (index, name) in names.enumerated() {
      if let disturbance { outputs[index] = disturbance(name, outputs[index]) }
      tap?(name, x, outputs[index])
    }
    return outputs
  }
}

/// Sees every linear of a layer at work: its name within the layer, its input and its output.
///
/// Linears that read the same activation are shown the same input one after another.
public typealias Tap = (_ linear: String, _ input: Matrix, _ output: Matrix) -> Void

// MARK: Forward

extension DecoderLayer {
  /// Moves hidden states through the layer: `[rows, hiddenSize]` of each chunk.
  ///
  /// - Parameters:
  ///   - tables: the model's rotary tables, long enough for every text.
  ///   - caches: keys and values of earlier tokens, one cache a text of the one chunk, which continues those texts.
  public func callAsFunction(
    _ hidden: HiddenStates, tables: [RotaryTable], caches: [KeyValueCache]? = nil, tap: Tap? = nil
  ) throws(ModelError) {
    for block in configuration.blocks { try advance(hidden, through: block, tables: tables, caches: caches, tap: tap) }
  }

  /// Moves hidden states through one block: adds what the block gives.
  public func advance(
    _ hidden: HiddenStates, through block: LayerBlock, tables: [RotaryTable], caches: [KeyValueCache]? = nil,
    tap: Tap? = nil
  ) throws(ModelError) {
    if block == .feedForward, case .mixture(let mixture) = configuration.feedForward {
      return try advance(hidden, through: mixture, tap: tap)
    }
    for (chunk, sequences) in hidden.chunks.enumerated() {
      var states = try hidden.read(chunk)
      states += try delta(block, of: states, sequences: sequences, tables: tables, caches: caches, tap: tap)
      try hidden.write(states, to: chunk)
    }
  }

  /// What a block adds to the residual stream, for one chunk of it.
  public func delta(
    _ block: LayerBlock, of hidden: Matrix, sequences: Sequences, tables: [RotaryTable], caches: [KeyValueCache]? = nil,
    tap: Tap? = nil
  ) throws(ModelError) -> Matrix {
    var result: Matrix
    switch block {
    case .attention:
      let x = input(of: block, hidden)
      result = try attended(x, sequences: sequences, tables: tables, caches: caches, tap: tap)
      if let name = configuration.norms.attentionOutput { result = norm(name)(result) }
    case .feedForward:
      result = try fed(input(of: block, hidden), tap: tap)
      if let name = configuration.norms.feedForwardOutput { result = norm(name)(result) }
    case .parallel:
      let x = input(of: block, hidden)
      result = try attended(x, sequences: sequences, tables: tables, caches: caches, tap: tap)
      result += try fed(x, tap: tap)
    }
    if configuration.residualMultiplier != 1 { result.scale(by: configuration.residualMultiplier) }
    return result
  }

  /// What the first linears of a block read, for one chunk of hidden states.
  public func input(of block: LayerBlock, _ hidden: Matrix) -> Matrix {
    let norms = configuration.norms
    return input(hidden, block == .feedForward ? norms.feedForwardInput : norms.attentionInput)
  }

  /// What a block reads: hidden states through a norm, if there is one.
  func input(_ hidden: Matrix, _ name: String?) -> Matrix { name.map { norm($0)(hidden) } ?? hidden }

  private func attended(
    _ x: Matrix, sequences: Sequences, tables: [RotaryTable], caches: [KeyValueCache]?, tap: Tap?
  ) throws(ModelError) -> Matrix {
    switch configuration.attention {
    case .grouped(let attention):
      try attend(attention, x, sequences: sequences, tables: tables, caches: caches, tap: tap)
    case .latent(let attention):
      try attend(attention, x, sequences: sequences, tables: tables, caches: caches, tap: tap)
    }
  }

  private func fed(_ x: Matrix, tap: Tap?) throws(ModelError) -> Matrix {
    switch configuration.feedForward {
    case .dense(let feedForward): return try feed(feedForward, x, tap: tap)
    case .mixture(let mixture):
      let states = HiddenStates(x, Sequences(lengths: [x.rows]))
      return try mix(mixture, states, tap: tap) { (rows: Matrix) in rows }.read(0)
    }
  }

  /// A gated feed-forward on normalised rows.
  func feed(_ f: DenseFeedForward, _ x: Matrix, tap: Tap?) throws(ModelError) -> Matrix {
    let inner: Matrix
    if f.isFused {
      let both = try apply(f.prefix + "gate_up_proj", x, tap)
      inner = both.columns(0..<f.width).gated(with: both.columns(f.width..<2 * f.width), by: f.gate)
    } else {
      let branches = try apply([f.prefix + "gate_proj", f.prefix + "up_proj"], x, tap)
      inner = branches[0].gated(with: branches[1], by: f.gate)
    }
    return try apply(f.prefix + "down_proj", inner, tap)
  }
}
