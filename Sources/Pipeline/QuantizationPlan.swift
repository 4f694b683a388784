public import Checkpoints
public import Models
internal import Quantization
public import StrictJSON
internal import Tensors

/// Everything that is decided before the first weight is read: what becomes of each tensor, and what it takes.
public struct QuantizationPlan: Sendable {
  /// What becomes of one tensor or linear of the source.
  public enum Step: Sendable {
    /// Written as it is; folding may have changed norms, biases and kept weights.
    case keep(String)
    /// A linear is quantized; the name is the module's.
    case quantize(LinearPlan)
    /// A linear that the source holds quantized keeps its codes, spelled as ours.
    case recode(LinearPlan)
    /// A linear that the source holds quantized is written in full precision.
    case expand(LinearPlan)
    /// Experts that the source holds quantized in one stack become one tensor `[experts, in, out]` in full precision.
    case stack(String, [LinearPlan])
    /// The scales of a layer's keys and values are written; the name is the attention's.
    case cacheScales(String, CacheQuantization.Format)
  }

  /// Steps that are written together: the embedding, one decoder layer, or the rest.
  ///
  /// A run can stop between units.
  public struct Unit: Sendable {
    /// Such as `layer 3`.
    public let title: String
    /// The decoder layer, if it is one.
    public let layer: Int?
    /// What is written, in order.
    public let steps: [Step]
  }

  /// What happens to every linear, the head and the embedding.
  public let linears: [LinearPlan]
  /// The units, in the order they are written.
  public let units: [Unit]
  /// Tensors of the source that are not written, each with the reason.
  public let dropped: [(name: String, reason: String)]
  /// The tensors to be written, in order.
  public let tensors: [ArtifactPlan.PlannedTensor]
  /// `quantization_config` of the result.
  public let quantization: JSONValue
  /// The types of tensors in full precision.
  let types: ElementTypes
  /// Whose scales of keys and values are written; `nil` for none.
  private let kvCache: CacheQuantization.Format?

  /// Decides for a whole model.
  public init(_ model: LanguageModel, recipe: Recipe) throws {
    let linears = try recipe.linearPlans(for: model)
    guard linears.contains(where: { $0.scheme != nil }) else {
      throw PipelineError.usage("the recipe quantizes no linear of this model")
    }
    if recipe.kvCache != nil {
      guard model.configuration.layers.allSatisfy({ if case .grouped = $0.attention { true } else { false } }) else {
        throw PipelineError.usage(
          "--kv-cache: \(model.checkpoint.name) keeps latent vectors in place of keys and values (MLA), for which "
            + "runtimes read no scales; leave the option out")
      }
    }
    try self.init(model, linears, target: nil, kvCache: recipe.kvCache)
  }

  /// The same with entropy-coded linears coded as measurements say.
  init(_ model: LanguageModel, _ plan: QuantizationPlan, codings: [String: (QuantizationScheme, EntropyCoding)]) throws
  {
    let linears = plan.linears.map { linear in codings[linear.name].map { linear.coded($0.0, $0.1) } ?? linear }
    try self.init(model, linears, target: nil, kvCache: plan.kvCache)
  }

  /// Decides for a model whose weights get another spelling: nothing is quantized.
  public init(_ model: LanguageModel, convertingTo target: ConversionTarget) throws {
    try self.init(model, LinearPlan.untouched(model), target: target)
  }

  /// - Parameter target: what a conversion makes; `nil` for a run that quantizes.
  private init(
    _ model: LanguageModel, _ linears: [LinearPlan], target: ConversionTarget?, kvCache: CacheQuantization.Format? = nil
  ) throws {
    self.linears = linears
    self.kvCache = kvCache
    types = ElementTypes(target?.elementType, of: model)
    var builder = try PlanBuilder(model, linears, target)
    let names = model.names
    builder.unit("embedding") { $0.module(names.embedding) }
    for layer in 0..<model.configuration.layerCount {
      builder.unit("layer \(layer)", layer: layer) { builder in
        for module in model.layouts[layer].modules { builder.module(module, model.layerPrefix(layer)) }
        if let kvCache { builder.cacheScales(model.layerPrefix(layer) + "self_attn", kvCache) }
      }
    }
    for layer in model.configuration.layerCount..<model.configuration.layerCount + model.configuration.predictionLayers
    {
      builder.unit("prediction layer \(layer)") { builder in
        builder.modules(below: model.layerPrefix(layer))
      }
    }
    var dropped: [(String, String)] = []
    if model.configuration.tiesEmbeddings, model.checkpoint.weights.info(names.head + ".weight") != nil {
      try Self.requireTied(model)
      dropped.append((names.head + ".weight", "it is \(names.embedding).weight over again"))
      builder.taken.insert(names.head + ".weight")
    }
    if kvCache != nil {
      for layer in 0..<model.configuration.layerCount {
        let scales = CacheQuantization.scaleNames(model.layerPrefix(layer) + "self_attn")
        for name in [scales.keys, scales.values] where model.checkpoint.weights.info(name) != nil {
          dropped.append((name, "scales of keys and values are calibrated anew"))
        }
      }
    }
    builder.unit("final norm and head") { builder in
      builder.module(names.norm)
      if !model.configuration.tiesEmbeddings { builder.module(names.head) }
      // Tensors that this program does not know are carried over: nothing is lost in silence.
      builder.rest()
    }
    units = builder.units.filter { !$0.steps.isEmpty }
    self.dropped = dropped
    try builder.requireKnown()
    tensors = try Self.outputs(units, model, types)
    // A conversion moves nothing, so that scales of the source stay right.
    let cache = target == nil ? kvCache.map { CacheQuantization($0) } : model.quantization?.cache
    quantization = Self.configuration(units, model, cache: target?.elementType == nil ? cache : nil)
  }

  /// A stored head beside `tie_word_embeddings` must be the embedding: runtimes read the one or the other.
  private static func requireTied(_ model: LanguageModel) throws {
    let names = model.names
    let (head, embedding) = (try model.tensor(names.head + ".weight"), try model.tensor(names.embedding + ".weight"))
    let isSame =
      head.dtype == embedding.dtype && head.shape == embedding.shape
      && head.withBytes { one in embedding.withBytes { other in one.elementsEqual(other) } }
    guard isSame else {
      throw PipelineError.input(
        "\(model.checkpoint.name): tie_word_embeddings is true, but \(names.head).weight differs from "
          + "\(names.embedding).weight; set it to false if the head is meant, or remove \(names.head).weight")
    }
  }

  /// Bytes of all tensors to be written, before compression.
  public var byteCount: Int { tensors.reduce(0) { $0 + $1.info.byteCount } }
}

/// Collects units; every tensor of the source is taken once.
private struct PlanBuilder {
  let model: LanguageModel
  let plans: [String: LinearPlan]
  /// Linears that the source holds quantized and that are decoded, with the reason where nobody asked for it.
  private var decoded: [String: LinearPlan] = [:]
  private let isConversion: Bool
  var units: [QuantizationPlan.Unit] = []
  var taken: Set<String> = []
  private var steps: [QuantizationPlan.Step] = []

  init(_ model: LanguageModel, _ linears: [LinearPlan], _ target: ConversionTarget?) throws {
    self.model = model
    isConversion = target != nil
    plans = Dictionary(uniqueKeysWithValues: linears.map { ($0.name, $0) })
    for plan in linears {
      guard let stored = model.quantization?.scheme(of: plan.name) else { continue }
      // What is asked for anew is quantized, whatever the source has.
      guard plan.scheme.map({ stored.weights.serves(as: $0.weights) }) ?? true else { continue }
      if target?.elementType != nil {
        decoded[plan.name] = plan
      } else if let problem = try RecodedLinear(plan, model).problem() {
        decoded[plan.name] = plan.with(remark: "decoded: " + problem)
      }
    }
  }

  mutating func unit(_ title: String, layer: Int? = nil, _ fill: (inout PlanBuilder) -> Void) {
    steps = []
    fill(&self)
    // A conversion runs no text through the layers.
    units.append(.init(title: title, layer: isConversion ? nil : layer, steps: steps))
  }

  /// Refuses quantized modules that are kept as they are: what they mean is said by a declaration that is replaced.
  func requireKnown() throws {
    guard let quantization = model.quantization else { return }
    for step in units.flatMap(\.steps) {
      guard case .keep(let name) = step else { continue }
      let module = name.split(separator: ".").dropLast().joined(separator: ".")
      guard plans[module] == nil, !name.hasSuffix(".bias"), quantization.scheme(of: module) != nil else { continue }
      throw PipelineError.input(
        "\(model.checkpoint.name): \(name) is stored quantized, but \(module) is no linear of the language model, and "
          + "what becomes of it cannot be said; give the model in full precision")
    }
  }

  private mutating func keep(_ tensor: String) {
    if model.checkpoint.weights.info(tensor) != nil, taken.insert(tensor).inserted { steps.append(.keep(tensor)) }
  }

  mutating func module(_ module: LayerLayout.Module, _ prefix: String) {
    switch module {
    case .norm(let name, _): keep(prefix + name + ".weight")
    case .vector(let name, _): keep(prefix + name)
    case .linear(let linear):
      self.module(prefix + linear.name)
      if case .row(let tensor, _) = linear.bias { keep(prefix + tensor) }
    }
  }

  mutating func module(_ name: String) {
    let stored = model.quantization?.scheme(of: name)
    if let plan = plans[name], let scheme = plan.scheme,
      decoded[name] != nil || !(stored?.weights.serves(as: scheme.weights) ?? false)
    {
      steps.append(.quantize(plan))
      for info in model.storedTensors(ofLinear: name) { taken.insert(info.name) }
    } else if let plan = plans[name], stored != nil {
      // Codes that our layout can spell stay as they are, also where they are what was asked for: nothing is gained by
      // rounding twice, and decoding them to BF16 would lose a little and cost much.
      if let plan = decoded[name] { decode(plan) } else { steps.append(.recode(plan)) }
      for info in model.storedTensors(ofLinear: name) { taken.insert(info.name) }
    } else {
      keep(model.weightTensor(ofLinear: name))
    }
    keep(name + ".bias")
  }

  /// Experts that are one tensor to the model become one again.
  private mutating func decode(_ plan: LinearPlan) {
    guard model.linear(named: plan.name)?.stack != nil, let (layer, _) = model.names.place(plan.name) else {
      steps.append(.expand(plan))
      return
    }
    let tensor = model.weightTensor(ofLinear: plan.name)
    guard taken.insert(tensor).inserted else { return }
    let prefix = model.layerPrefix(layer)
    let experts = model.layouts[min(layer, model.layouts.count - 1)].linears.filter { linear in
      linear.stack.map { prefix + $0.tensor == tensor } ?? false
    }
    steps.append(.stack(tensor, experts.compactMap { decoded[prefix + $0.name] }))
  }

  /// All tensors under a prefix, linears by their plan.
  mutating func modules(below prefix: String) {
    for info in model.checkpoint.weights.tensors where info.name.hasPrefix(prefix) && !taken.contains(info.name) {
      let module = info.name.split(separator: ".").dropLast().joined(separator: ".")
      if plans[module] != nil { self.module(module) } else { keep(info.name) }
    }
  }

  /// Scales of keys and values take the place of those that the source has.
  mutating func cacheScales(_ attention: String, _ format: CacheQuantization.Format) {
    let names = CacheQuantization.scaleNames(attention)
    for name in [names.keys, names.values] { taken.insert(name) }
    steps.append(.cacheScales(attention, format))
  }

  mutating func rest() {
    for info in model.checkpoint.weights.tensors { keep(info.name) }
  }
}
