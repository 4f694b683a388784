public import Checkpoints
public import Models
internal import Quantization
internal import Tensors

/// Everything that is decided before the first weight is read: what becomes of each tensor, and what it takes.
public struct QuantizationPlan: Sendable {
  /// What becomes of one tensor or linear of the source.
  public enum Step: Sendable {
    /// Written as it is; folding may have changed norms, biases and kept weights.
    case keep(String)
    /// A linear is quantized; the name is the module's.
    case quantize(LinearPlan)
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
  public let quantization: CompressedTensorsConfiguration

  /// Decides for a whole model.
  public init(_ model: LanguageModel, recipe: Recipe) throws {
    guard model.quantization == nil else {
      throw PipelineError.input(
        "\(model.checkpoint.name) is quantized already; quantize its original in full precision instead")
    }
    linears = try recipe.linearPlans(for: model)
    let plans = Dictionary(uniqueKeysWithValues: linears.map { ($0.name, $0) })
    guard linears.contains(where: { $0.scheme != nil }) else {
      throw PipelineError.usage("the recipe quantizes no linear of this model")
    }
    var taken: Set<String> = []
    func steps(_ modules: [String]) -> [Step] {
      modules.flatMap { module -> [Step] in
        var result: [Step] = []
        let weight = module + ".weight"
        if let plan = plans[module], plan.scheme != nil {
          result.append(.quantize(plan))
          taken.insert(weight)
        } else if model.checkpoint.weights.info(weight) != nil {
          result.append(.keep(weight))
          taken.insert(weight)
        }
        let bias = module + ".bias"
        if model.checkpoint.weights.info(bias) != nil {
          result.append(.keep(bias))
          taken.insert(bias)
        }
        return result
      }
    }
    var units = [Unit(title: "embedding", layer: nil, steps: steps(["model.embed_tokens"]))]
    for layer in 0..<model.configuration.layerCount {
      let prefix = model.layerPrefix(layer)
      let modules =
        ["input_layernorm"] + DecoderLayer.linearNames.prefix(4) + ["post_attention_layernorm"]
        + DecoderLayer.linearNames.dropFirst(4)
      units.append(Unit(title: "layer \(layer)", layer: layer, steps: steps(modules.map { prefix + $0 })))
    }
    var dropped: [(String, String)] = []
    var last = steps(["model.norm"])
    if model.configuration.tiesEmbeddings {
      if model.checkpoint.weights.info("lm_head.weight") != nil {
        try Self.requireTied(model)
        dropped.append(("lm_head.weight", "it is model.embed_tokens.weight over again"))
        taken.insert("lm_head.weight")
      }
    } else {
      last += steps(["lm_head"])
    }
    // Tensors that this program does not know are carried over: nothing is lost in silence.
    last += model.checkpoint.weights.tensors.map(\.name).filter { !taken.contains($0) }.map { .keep($0) }
    units.append(Unit(title: "final norm and head", layer: nil, steps: last))
    self.units = units
    self.dropped = dropped
    tensors = try Self.outputs(units, model)
    quantization = Self.configuration(linears)
  }

  /// A stored head beside `tie_word_embeddings` must be the embedding: runtimes read the one or the other.
  private static func requireTied(_ model: LanguageModel) throws {
    let (head, embedding) = (try model.tensor("lm_head.weight"), try model.tensor("model.embed_tokens.weight"))
    let isSame =
      head.dtype == embedding.dtype && head.shape == embedding.shape
      && head.withBytes { one in embedding.withBytes { other in one.elementsEqual(other) } }
    guard isSame else {
      throw PipelineError.input(
        "\(model.checkpoint.name): tie_word_embeddings is true, but lm_head.weight differs from "
          + "model.embed_tokens.weight; set it to false if the head is meant, or remove lm_head.weight")
    }
  }

  /// The tensors that a step writes.
  static func outputs(_ step: Step, _ model: LanguageModel) throws -> [(TensorInfo, Compression)] {
    switch step {
    case .keep(let name):
      guard let info = model.checkpoint.weights.info(name) else {
        throw PipelineError.checkpoint(.missingTensor(name, file: model.checkpoint.name))
      }
      return [(info, .floats)]
    case .quantize(let plan):
      guard let scheme = plan.scheme else { return [] }
      let scaleType = try storedScaleType(plan, model)
      var result = CompressedTensorsLayout.plan(
        linear: plan.name, scheme.weights, outFeatures: plan.outFeatures, inFeatures: plan.inFeatures,
        scaleType: scaleType
      ).map { info in (info, info.dtype.isFullPrecision ? Compression.floats : .codes) }
      if case .staticPerTensor = scheme.activations {
        result.append((TensorInfo(name: plan.name + ".input_scale", dtype: scaleType, shape: [1]), .floats))
      }
      return result
    }
  }

  /// The element type of a linear's scales: that of its weights; halves cannot hold the small scales of float8.
  static func storedScaleType(_ plan: LinearPlan, _ model: LanguageModel) throws -> DType {
    guard let dtype = model.checkpoint.weights.info(plan.name + ".weight")?.dtype else {
      throw PipelineError.checkpoint(.missingTensor(plan.name + ".weight", file: model.checkpoint.name))
    }
    return dtype == .float16 && plan.scheme?.weights.format == .float8E4M3 ? .float32 : dtype
  }

  private static func outputs(_ units: [Unit], _ model: LanguageModel) throws -> [ArtifactPlan.PlannedTensor] {
    try units.flatMap { unit in
      let written = try unit.steps.flatMap { try outputs($0, model) }
      return written.enumerated().map { index, output in
        ArtifactPlan.PlannedTensor(output.0, compression: output.1, endsGroup: index == written.count - 1)
      }
    }
  }

  private static func configuration(_ linears: [LinearPlan]) -> CompressedTensorsConfiguration {
    var groups: [(scheme: QuantizationScheme, names: [String])] = []
    for linear in linears {
      guard let scheme = linear.scheme else { continue }
      if let index = groups.firstIndex(where: { $0.scheme == scheme }) {
        groups[index].names.append(linear.name)
      } else {
        groups.append((scheme, [linear.name]))
      }
    }
    var kept = linears.filter { $0.scheme == nil && $0.name != "model.embed_tokens" }.map(\.name)
    if !linears.contains(where: { $0.name == "lm_head" }) { kept.append("lm_head") }
    // One scheme is said the short way, as runtimes know it; several are spelled out.
    let onlyLinears = groups.count == 1 && !groups[0].names.contains("model.embed_tokens")
    return CompressedTensorsConfiguration(
      groups: groups.map { .init(scheme: $0.scheme, targets: onlyLinears ? ["Linear"] : $0.names) }, ignore: kept)
  }

  /// Bytes of all tensors to be written, before compression.
  public var byteCount: Int { tensors.reduce(0) { $0 + $1.info.byteCount } }

  /// Bytes that the work needs at its highest, beside the mapped files: one layer as floats with its candidates, its
  /// statistics, and the hidden states of all calibration tokens.
  public func peakMemory(_ model: LanguageModel, recipe: Recipe, calibrationTokens: Int) -> Int {
    let layer = linears.filter { $0.name.hasPrefix(model.layerPrefix(0)) }
    let weights = layer.reduce(0) { $0 + $1.outFeatures * $1.inFeatures }
    let largest = linears.filter { $0.scheme != nil }.map { $0.outFeatures * $0.inFeatures }.max() ?? 0
    let base = 64 << 20
    guard recipe.needsCalibration else { return base + largest * 10 }
    let widest = max(model.configuration.intermediateSize, model.configuration.hiddenSize)
    let activations = min(calibrationTokens, 2048) * widest * 4 * 4
    let hidden = calibrationTokens * model.configuration.hiddenSize * 4
    return base + weights * 4 * 4 + activations + hidden
  }
}
