public import Kernels
public import Quantization
internal import StrictJSON
public import Tensors

/// How a checkpoint stores its quantized linears, whatever the layout.
///
/// Which linears those are, the tensors decide: one with a full-precision `weight` and no scales is in full precision
/// whatever the configuration says, and one with codes or scales that the configuration keeps in full precision is
/// refused.
public struct StoredQuantization: Sendable {
  /// Such as `compressed-tensors`, `fp8`, `awq`, `gptq`, `mxfp4`, `modelopt`, or `quantize-ec`, our own.
  public let method: String
  /// Whether linears are multiplied with as they are stored: what we write, and what runtimes read; others are decoded.
  public var isMultipliedAsStored: Bool {
    method == "compressed-tensors" || method == EntropyCodedConfiguration.method
  }
  /// What is declared but not carried out, or odd but harmless, a sentence each.
  public let warnings: [String]
  /// The type a full-precision copy of a weight would have: what the configuration says, else BF16.
  public let storedType: DType
  /// How keys and values are kept, where that is declared and carried out.
  public let cache: CacheQuantization?
  /// Whose inputs are worth rounding to int8; `nil` where nobody has measured it.
  public private(set) var activationChoice: ActivationChoice?
  /// ``ActivationChoice/floats``, for looking up.
  private var floatInputs: Set<String> = []
  /// By linear; stacks of experts under the stack's name.
  private let rules: [String: StorageRule]

  /// Reads how a checkpoint stores its quantized linears.
  ///
  /// `nil` where `config.json`, and `quantize_config.json`, `quant_config.json` and `hf_quant_config.json` beside it,
  /// have no quantization. Methods, versions and settings that are not read are refused by name, and so are modules
  /// whose tensors contradict the configuration; of tensors only names, types and shapes are looked at.
  public static func of(_ checkpoint: Checkpoint) throws(CheckpointError) -> StoredQuantization? {
    guard let declaration = try QuantizationDeclaration(of: checkpoint) else { return nil }
    var result = try StoredQuantization(declaration, configuration: checkpoint.configuration, checkpoint.weights)
    let found = try ActivationChoice.of(checkpoint) { [result] in result.scheme(of: $0) != nil }
    result.activationChoice = found
    result.floatInputs = Set(found?.floats ?? [])
    return result
  }

  init(
    _ declaration: QuantizationDeclaration, configuration: JSONObject, _ source: any WeightSource
  ) throws(CheckpointError) {
    method = declaration.method
    storedType = Self.storedType(configuration)
    let storage = try Self.storage(declaration)
    var rules: [String: StorageRule] = [:]
    for (module, evidence) in Self.quantizedModules(of: source, hasStacks: method == "mxfp4") {
      let tensors = LinearTensors(linear: module, source: source, file: declaration.place)
      guard let rule = try storage.rule(of: module, tensors) else {
        throw tensors.refusal(
          String(evidence.dropFirst(module.utf8.count)),
          "is a quantized linear's, but the configuration does not quantize this module")
      }
      rules[module] = rule
    }
    self.rules = rules
    var warnings: [String] = []
    if rules.isEmpty {
      warnings.append("\(declaration.place) declares \"\(method)\", but no tensor is stored so")
    }
    cache = CacheQuantization(declaration)
    for key in ["kv_cache_scheme", "kv_cache_quant_algo"] where cache == nil {
      if let value = declaration.value(key) {
        warnings.append(
          "\(declaration.place): \(key) \(value.compactText) is not carried out; keys and values stay floats")
      }
    }
    self.warnings = warnings
  }

  // MARK: Questions

  /// The scheme of a linear as reports show it; `nil` where it is in full precision.
  ///
  /// - Parameter linear: the module's name; `….experts.3.gate_up_proj` also where a stack of experts is one tensor.
  public func scheme(of linear: String) -> QuantizationScheme? { place(of: linear)?.rule.scheme }

  /// Whether rounding a linear's input to int8 was measured to cost too much.
  public func keepsInputFloat(_ linear: String) -> Bool { floatInputs.contains(linear) }

  /// The tensors that hold the linear's weight (not its additive bias) or scale its input, those that are there.
  ///
  /// Of a linear in full precision that is its `weight`. Experts of one stack share their tensors.
  public func storedTensors(of linear: String, in source: any WeightSource) -> [TensorInfo] {
    guard let (name, rule) = place(of: linear) else { return [source.info(linear + ".weight")].compactMap { $0 } }
    return (rule.layout.parts + StoredLayout.activationParts).compactMap { source.info(name + $0) }
  }

  /// Opens one linear; shapes and types are checked, and scales, zero points and orders of columns are read and checked;
  /// codes are read later.
  ///
  /// - Parameters:
  ///   - linear: a linear that ``scheme(of:)`` has a scheme for.
  ///   - outFeatures: what the model's configuration says; the tensors must agree.
  ///   - file: for messages.
  public func weight(
    of linear: String, outFeatures: Int, inFeatures: Int, from source: any WeightSource, file: String
  ) throws(CheckpointError) -> StoredWeight {
    guard let (name, rule) = place(of: linear) else {
      throw .malformed(
        file: file, offset: nil, tensor: linear + ".weight", problem: "is in full precision, not quantized")
    }
    let tensors = LinearTensors(linear: name, source: source, file: file)
    let stored = try tensors.open(
      rule.layout, rule.scheme.weights, outFeatures: outFeatures, inFeatures: inFeatures)
    return StoredWeight(stored, storedType: storedType, codesName: name + rule.layout.codesPart, file: file)
  }

  /// One linear in the kernels' layout, packed as it is read; `nil` where columns are out of order.
  ///
  /// What ``weight(of:outFeatures:inFeatures:from:file:)`` and ``StoredWeight/packed`` refuse is refused here too.
  public func packed(
    _ linear: String, outFeatures: Int, inFeatures: Int, from source: any WeightSource, file: String
  ) throws(CheckpointError) -> PackedMatrix? {
    guard let (name, rule) = place(of: linear) else { return nil }
    let tensors = LinearTensors(linear: name, source: source, file: file, streamsCodes: true)
    let stored = try tensors.open(
      rule.layout, rule.scheme.weights, outFeatures: outFeatures, inFeatures: inFeatures)
    if case .streamed = stored.source { return try stored.packed() }
    let weight = StoredWeight(stored, storedType: storedType, codesName: name + rule.layout.codesPart, file: file)
    return try weight.packed?()
  }

  /// The tensors' own name and their rule.
  func place(of linear: String) -> (name: String, rule: StorageRule)? {
    if let rule = rules[linear] { return (linear, rule) }
    // experts.3.gate_up_proj is part 3 of experts.gate_up_proj.
    var parts = linear.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count >= 3, let index = Int(parts[parts.count - 2]), index >= 0 else { return nil }
    parts.remove(at: parts.count - 2)
    let stack = parts.joined(separator: ".")
    guard let rule = rules[stack], case .expert = rule.layout else { return nil }
    return (stack, StorageRule(scheme: rule.scheme, layout: .expert(index)))
  }
}
