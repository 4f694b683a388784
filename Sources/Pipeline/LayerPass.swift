internal import Calibration
internal import Checkpoints
internal import Kernels
internal import Models
internal import Quantization
internal import Reports
internal import Tensors

/// The one pass over a model: hidden states move up layer by layer, and each unit is quantized as they pass.
struct LayerPass {
  private let model: LanguageModel
  private let tables: [RotaryTable]
  private let states: CalibrationStates?
  private let quota: Int
  private let types: ElementTypes

  /// A pass without texts, which only spells tensors anew.
  init(converting model: LanguageModel, plan: QuantizationPlan) {
    self.model = model
    tables = []
    states = nil
    quota = 0
    types = plan.types
  }

  init(
    model: LanguageModel, plan: QuantizationPlan, texts: CalibrationTexts?, memory: MemoryPlan, spillFolder: String,
    quota: Int, surveys: Bool = false
  ) throws {
    self.model = model
    self.quota = quota
    types = plan.types
    guard let texts else {
      states = nil
      tables = []
      return
    }
    tables = model.rotaryTables(positions: texts.longest)
    let embedding = try model.embedding()
    let folder = memory.spills ? spillFolder : nil
    func embedded(_ windows: [[Int]], rows: Int) throws -> HiddenStates {
      let chunks = Sequences.chunks(windows, rows: rows)
      let hidden = try HiddenStates(
        chunks: chunks.map { Sequences(lengths: $0.map(\.count)) }, columns: model.configuration.hiddenSize,
        spillFolder: folder)
      for (index, chunk) in chunks.enumerated() { try hidden.write(try embedding(chunk.flatMap(\.self)), to: index) }
      return hidden
    }
    let judged = texts.judged(tokens: memory.heldOutTokens)
    self.states = try CalibrationStates(
      search: try embedded(texts.search, rows: memory.chunkRows), heldOut: try embedded(judged, rows: Int.max),
      reserve: texts.reserve.isEmpty ? nil : try embedded(texts.reserve, rows: memory.chunkRows),
      passesErrorsOn: !surveys && Self.passesErrorsOn(plan, model.configuration))
    model.discardPages()
  }

  /// Whether a second stream of hidden states pays, where errors are fed back at all: it runs every expert once more,
  /// which hundreds of them are too many for.
  static func passesErrorsOn(_ plan: QuantizationPlan, _ configuration: ModelConfiguration) -> Bool {
    let feedsBack = plan.linears.contains { $0.scheme != nil && $0.method.feedsBack }
    return feedsBack
      && configuration.layers.allSatisfy { layer in
        if case .mixture(let mixture) = layer.feedForward { mixture.count <= 32 } else { true }
      }
  }

  /// Moves the hidden states through a unit that is written already.
  func skip(_ unit: QuantizationPlan.Unit) throws {
    guard states != nil, let index = unit.layer else { return }
    try session(layer: index, unit).skip()
    leaveLayer()
  }

  /// Quantizes a unit and writes its tensors, in the plan's order.
  func run(
    _ unit: QuantizationPlan.Unit, progress: (_ step: Int) -> Void = { _ in },
    write: (String, Tensor) throws -> Void
  ) throws -> UnitOutcome {
    var outcome = UnitOutcome(unit: unit.title, layer: unit.layer)
    let session = try unit.layer.map { try self.session(layer: $0, unit) }
    let prefix = unit.layer.map(model.layerPrefix) ?? ""
    for (index, step) in unit.steps.enumerated() {
      progress(index)
      try Interruption.check("stopped in \(unit.title); continue with --resume")
      switch step {
      case .keep(let name):
        let tensor = try kept(name, prefix: prefix, session, &outcome)
        try write(name, tensor)
      case .expand(let plan):
        let weight = try session?.weight(String(plan.name.dropFirst(prefix.count)))
        let rows = try weight?.scaled ?? model.linear(plan.name).rows
        let type = try types.all ?? model.storedType(ofLinear: plan.name)
        let name = plan.name + ".weight"
        try write(
          name,
          try ElementTypes.rounded(
            rows.matrix().values, [rows.outFeatures, rows.inFeatures], as: type, name, of: model))
      case .stack(let name, let experts): try write(name, try stacked(experts, name))
      case .recode(let plan):
        for (name, tensor) in try RecodedLinear(plan, model).tensors() { try write(name, tensor) }
      case .quantize(let plan): try quantize(plan, session, prefix: prefix, write)
      case .cacheScales(let attention, let format): try writeCacheScales(attention, format, session, unit, write)
      }
      model.discardPages()
    }
    if let session {
      try session.finish()
      outcome.folds = session.folds
      outcome.experts = session.expertUse
      outcome.halfDifference = session.halfDifference
      outcome.activations = unit.steps.compactMap { step in
        guard case .quantize(let plan) = step,
          let choice = session.activationChoice(String(plan.name.dropFirst(prefix.count)))
        else { return nil }
        return .init(linear: plan.name, error: choice.error, isInt8: choice.isInt8)
      }
      try requireFinite(unit)
    }
    leaveLayer()
    return outcome
  }

  /// Keeps nothing of a layer that the next one would not take again.
  private func leaveLayer() {
    model.discardPages()
    FreeMemory.giveBack()
  }

  private func quantizer(layer index: Int, _ unit: QuantizationPlan.Unit) throws -> LayerQuantizer {
    var layer = try model.layer(index)
    layer.cacheMaxima = CacheMaxima()
    let prefix = model.layerPrefix(index)
    var schemes: [String: QuantizationScheme] = [:]
    var methods: [String: Method] = [:]
    var codings: [String: EntropyCoding] = [:]
    // Codes that stay as the source has them cannot take channel factors, nor can kept experts that share a tensor.
    var pinned = Set(layer.layout.linears.filter { $0.stack != nil }.map(\.name))
    for step in unit.steps {
      switch step {
      case .quantize(let plan):
        let local = String(plan.name.dropFirst(prefix.count))
        schemes[local] = plan.scheme
        methods[local] = plan.method
        codings[local] = plan.coding
        pinned.remove(local)
      case .recode(let plan): pinned.insert(String(plan.name.dropFirst(prefix.count)))
      case .keep, .expand, .stack, .cacheScales: break
      }
    }
    let storedType = try model.scaleBaseType(ofLinear: prefix + layer.layout.linears[0].name)
    let storesMaxima = unit.steps.contains { if case .cacheScales = $0 { true } else { false } }
    let quantizer = LayerQuantizer(
      layer: layer, schemes: schemes, methods: methods, storedType: storedType, codings: codings, pinned: pinned,
      observesExactly: storesMaxima)
    return quantizer
  }

  /// The curves of a layer's entropy-coded linears, by full name; the hidden states move behind it.
  func survey(layer index: Int, _ unit: QuantizationPlan.Unit) throws -> [String: RateCurve] {
    guard let states else { return [:] }
    let survey = LayerSurvey(try quantizer(layer: index, unit), states: states, tables: tables)
    let prefix = model.layerPrefix(index)
    defer { leaveLayer() }
    return Dictionary(uniqueKeysWithValues: try survey.run().map { (prefix + $0.key, $0.value) })
  }

  private func session(layer index: Int, _ unit: QuantizationPlan.Unit) throws -> LayerSession {
    LayerSession(try quantizer(layer: index, unit), states: states, tables: tables, quota: quota)
  }

  private func quantize(
    _ plan: LinearPlan, _ session: LayerSession?, prefix: String, _ write: (String, Tensor) throws -> Void
  ) throws {
    guard let scheme = plan.scheme else { return }
    let local = String(plan.name.dropFirst(prefix.count))
    if scheme.isEntropyCoded { return try code(plan, session, local, write) }
    let scaleType = try QuantizationPlan.storedScaleType(plan, model)
    let tensor: QuantizedTensor
    if let session {
      var weight = try session.weight(local)
      if scheme.weights.scales == .float8 { weight.scaling.sharedMaximum = try sharedMaximum(plan, local, session) }
      tensor = weight.quantized()
    } else {
      let rows = try model.linear(plan.name).rows
      tensor = RoundToNearest.quantized(rows, as: scheme.weights, scaleType: scaleType)
    }
    guard tensor.scales.allSatisfy({ $0.isFinite }) else {
      throw PipelineError.input(
        "\(model.checkpoint.name): the weights of \(plan.name) hold NaN or infinity; the checkpoint is damaged")
    }
    let asBytes = scheme.multipliesIntegers
    for (name, tensor) in CompressedTensorsLayout.encode(tensor, linear: plan.name, asBytes: asBytes) {
      try write(name, tensor)
    }
    if case .staticPerTensor = scheme.activations {
      let maximum = session?.inputMaximum(local) ?? 0
      let scale = maximum > 0 ? maximum / 448 : 1
      try write(plan.name + ".input_scale", Tensor([1], floats: [scale], as: scaleType))
    }
    if scheme.activations == QuantizationScheme.nvfp4.activations {
      // A divisor, as that of the weights.
      let maximum = session?.inputMaximum(local) ?? 0
      let divisor = maximum > 0 ? Float8E4M3.largest * Float4E2M1.largest / maximum : 1
      try write(plan.name + ".input_global_scale", Tensor([1], floats: [divisor]))
    }
  }

  /// The largest weight of all linears that read the same input: runtimes fuse them, and one divisor of scales serves all.
  private func sharedMaximum(_ plan: LinearPlan, _ local: String, _ session: LayerSession) throws -> Float? {
    guard let (layer, _) = model.names.place(plan.name), layer < model.layouts.count,
      let own = model.layouts[layer].linear(local)
    else { return nil }
    return try model.layouts[layer].linears
      .filter { $0.reads == own.reads && $0.expert == own.expert && !$0.isRouter }
      .map { FloatScales.largestMagnitude(of: try session.weight($0.name).scaled) }.max()
  }

  /// Scales of a layer's keys and values: the largest that calibration has seen, values as folding leaves them.
  private func writeCacheScales(
    _ attention: String, _ format: CacheQuantization.Format, _ session: LayerSession?, _ unit: QuantizationPlan.Unit,
    _ write: (String, Tensor) throws -> Void
  ) throws {
    guard let session, let layer = unit.layer, case .grouped(let grouped) = model.configuration.layers[layer].attention
    else { preconditionFailure("scales of keys and values are planned for layers with grouped attention") }
    let weight = try session.weight(grouped.isFused ? "self_attn.qkv_proj" : "self_attn.v_proj")
    let values = session.cacheMaxima?.values ?? []
    let divisors = weight.rowDivisors?.suffix(values.count) ?? ArraySlice(repeating: 1, count: values.count)
    let names = CacheQuantization.scaleNames(attention)
    let value = zip(values, divisors).reduce(Float(0)) { max($0, abs($1.0 / $1.1)) }
    try write(names.keys, Tensor([1], floats: [format.scale(of: session.cacheMaxima?.keys ?? 0)]))
    try write(names.values, Tensor([1], floats: [format.scale(of: value)]))
  }

  /// Writes an entropy-coded linear; what no calibration reaches is rounded as if all inputs were alike.
  private func code(
    _ plan: LinearPlan, _ session: LayerSession?, _ local: String, _ write: (String, Tensor) throws -> Void
  ) throws {
    guard let coding = plan.coding, let bits = plan.scheme?.weights.format.bitWidth else { return }
    let tensor: QuantizedTensor
    if let rounded = try session?.weight(local).rounded {
      tensor = rounded
    } else {
      let factor = MomentFactor(uncorrelated: [Float](repeating: 1, count: plan.inFeatures))
      tensor = EntropyRounding.rounded(try model.linear(plan.name).rows, factor: factor, coding: coding, bits: bits)
    }
    for (name, tensor) in EntropyCodedLayout.encode(tensor, linear: plan.name, splitColumns: coding.splitColumns) {
      try write(name, tensor)
    }
  }

  /// Experts in full precision, `[experts, in, out]`: the whole tensor, but the floats of one expert at a time.
  private func stacked(_ experts: [LinearPlan], _ name: String) throws -> Tensor {
    guard let first = experts.first else { preconditionFailure("a stack of no experts") }
    let type = try types.all ?? model.storedType(ofLinear: first.name)
    let size = first.inFeatures * first.outFeatures * type.bitWidth / 8
    return try Tensor(type, [experts.count, first.inFeatures, first.outFeatures]) { bytes in
      for (index, expert) in experts.enumerated() {
        let matrix = try model.linear(expert.name).rows.matrix()
        var values = [Float](repeating: 0, count: matrix.values.count)
        for row in 0..<matrix.rows {
          for column in 0..<matrix.columns { values[column * matrix.rows + row] = matrix[row, column] }
        }
        let tensor = try ElementTypes.rounded(
          values, [matrix.columns, matrix.rows], as: type, expert.name, of: model)
        tensor.withBytes { part in
          UnsafeMutableRawBufferPointer(rebasing: bytes[index * size..<(index + 1) * size]).copyMemory(from: part)
        }
        model.discardPages()
      }
    }
  }

  /// A tensor that is not quantized, with what folding made of it.
  private func kept(
    _ name: String, prefix: String, _ session: LayerSession?, _ outcome: inout UnitOutcome
  ) throws -> Tensor {
    let tensor = try model.tensor(name)
    try Self.requireFinite(tensor, name, of: model)
    guard let session else { return try types.written(tensor, name, of: model) }
    let local = String(name.dropFirst(prefix.count))
    let module = String(local.prefix(upTo: local.lastIndex(of: ".") ?? local.endIndex))
    var changed: [Float]?
    let linear = model.linear(named: prefix + module)
    if local.hasSuffix(".bias"), linear != nil {
      changed = try session.bias(module)
    } else if local.hasSuffix(".weight"), let linear {
      let weight = try session.weight(module)
      if linear.stack == nil, weight.isFolded { changed = weight.kept().floats() }
    } else if local.hasSuffix(".weight") {
      changed = try session.norm(module)
    }
    guard let changed else { return tensor }
    outcome.folded.append(name)
    return Tensor(tensor.shape, floats: changed, as: tensor.dtype)
  }

  private func requireFinite(_ unit: QuantizationPlan.Unit) throws {
    guard let states else { return }
    for chunk in states.search.chunks.indices {
      let hidden = try states.search.read(chunk)
      guard let bad = hidden.firstNonFinite else { continue }
      throw PipelineError.input(
        "\(model.checkpoint.name): \(unit.title) gives values that are not finite "
          + "(calibration text, token \(bad / hidden.columns) of part \(chunk)); the weights are damaged")
    }
  }

  /// Refuses a tensor that holds NaN or infinity, with the first place.
  static func requireFinite(_ tensor: Tensor, _ name: String, of model: LanguageModel) throws {
    guard tensor.dtype.isFullPrecision, let index = tensor.firstNonFinite else { return }
    let place =
      tensor.shape.rank == 2 ? "row \(index / tensor.shape[1]), column \(index % tensor.shape[1])" : "element \(index)"
    throw PipelineError.input(
      "\(model.checkpoint.name): tensor \"\(name)\" holds NaN or infinity at \(place); the checkpoint is damaged")
  }
}
