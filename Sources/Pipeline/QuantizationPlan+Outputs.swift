internal import Checkpoints
internal import Models
internal import Quantization
internal import StrictJSON
internal import Tensors

extension QuantizationPlan {
  /// The tensors that a step writes.
  static func outputs(
    _ step: Step, _ model: LanguageModel, _ types: ElementTypes
  ) throws -> [(TensorInfo, Compression)] {
    switch step {
    case .keep(let name):
      guard let info = model.checkpoint.weights.info(name) else {
        throw PipelineError.checkpoint(.missingTensor(name, file: model.checkpoint.name))
      }
      let type = types.type(of: name, stored: info.dtype)
      return planned([TensorInfo(name: name, dtype: type, shape: info.shape)])
    case .expand(let plan):
      let type = try types.all ?? model.storedType(ofLinear: plan.name)
      return planned([
        TensorInfo(name: plan.name + ".weight", dtype: type, shape: [plan.outFeatures, plan.inFeatures])
      ])
    case .stack(let name, let experts):
      guard let first = experts.first else { return [] }
      let type = try types.all ?? model.storedType(ofLinear: first.name)
      return planned([
        TensorInfo(name: name, dtype: type, shape: [experts.count, first.inFeatures, first.outFeatures])
      ])
    case .recode(let plan): return planned(RecodedLinear(plan, model).infos)
    case .cacheScales(let attention, _):
      let names = CacheQuantization.scaleNames(attention)
      return planned([names.keys, names.values].map { TensorInfo(name: $0, dtype: .float32, shape: [1]) })
    case .quantize(let plan):
      guard let scheme = plan.scheme else { return [] }
      if scheme.isEntropyCoded {
        return EntropyCodedLayout.plan(
          linear: plan.name, bits: scheme.weights.format.bitWidth, outFeatures: plan.outFeatures,
          inFeatures: plan.inFeatures, splitColumns: plan.coding?.splitColumns ?? 0
        ).map { ($0.info, $0.compression) }
      }
      let scaleType = try storedScaleType(plan, model)
      var result = CompressedTensorsLayout.plan(
        linear: plan.name, scheme.weights, outFeatures: plan.outFeatures, inFeatures: plan.inFeatures,
        scaleType: scaleType, asBytes: scheme.multipliesIntegers)
      if case .staticPerTensor = scheme.activations {
        result.append(TensorInfo(name: plan.name + ".input_scale", dtype: scaleType, shape: [1]))
      }
      if scheme.activations == QuantizationScheme.nvfp4.activations {
        result.append(TensorInfo(name: plan.name + ".input_global_scale", dtype: .float32, shape: [1]))
      }
      return planned(result)
    }
  }

  private static func planned(_ infos: [TensorInfo]) -> [(TensorInfo, Compression)] {
    infos.map { info in (info, info.dtype.isFullPrecision ? .floats : .codes) }
  }

  /// The element type of a linear's scales: that of its weights; halves cannot hold the small scales of float8.
  static func storedScaleType(_ plan: LinearPlan, _ model: LanguageModel) throws -> DType {
    let dtype = try model.scaleBaseType(ofLinear: plan.name)
    return dtype == .float16 && plan.scheme?.weights.format == .float8E4M3 ? .float32 : dtype
  }

  static func outputs(
    _ units: [Unit], _ model: LanguageModel, _ types: ElementTypes
  ) throws -> [ArtifactPlan.PlannedTensor] {
    try units.flatMap { unit in
      let written = try unit.steps.flatMap { try outputs($0, model, types) }
      return written.enumerated().map { index, output in
        ArtifactPlan.PlannedTensor(output.0, compression: output.1, endsGroup: index == written.count - 1)
      }
    }
  }

  /// `quantization_config`: one scheme is said the short way, as runtimes know it; several are spelled out.
  static func configuration(
    _ units: [Unit], _ model: LanguageModel, cache: CacheQuantization?
  ) -> JSONValue {
    var coded: [String] = []
    var groups: [(scheme: QuantizationScheme, names: [String])] = []
    var kept: [String] = []
    func add(_ name: String, _ scheme: QuantizationScheme) {
      if let index = groups.firstIndex(where: { $0.scheme == scheme }) {
        groups[index].names.append(name)
      } else {
        groups.append((scheme, [name]))
      }
    }
    for step in units.flatMap(\.steps) {
      switch step {
      case .quantize(let plan):
        guard let scheme = plan.scheme else { break }
        if scheme.isEntropyCoded { coded.append(plan.name) } else { add(plan.name, scheme) }
      case .recode(let plan): add(plan.name, RecodedLinear(plan, model).scheme)
      case .expand(let plan): kept.append(plan.name)
      case .stack, .cacheScales: break
      case .keep(let name):
        // Anything with a weight matrix may be a linear to a runtime, those of a vision tower too.
        if name.hasSuffix(".weight"), name != model.names.embedding + ".weight",
          model.checkpoint.weights.info(name)?.shape.rank == 2
        {
          kept.append(String(name.dropLast(".weight".count)))
        }
      }
    }
    if model.configuration.tiesEmbeddings { kept.append(model.names.head) }
    let all = kept + coded + groups.flatMap(\.names)
    let onlyLinears = groups.count == 1 && coded.isEmpty && !groups[0].names.contains(model.names.embedding)
    let ignore = ModuleNames.compact(kept, among: all)
    let others = CompressedTensorsConfiguration(
      groups: groups.map {
        .init(scheme: $0.scheme, targets: onlyLinears ? ["Linear"] : ModuleNames.compact($0.names, among: all))
      }, ignore: coded.isEmpty ? ignore : ignore + ModuleNames.compact(coded, among: all),
      cache: coded.isEmpty ? cache : nil)
    guard !coded.isEmpty else { return others.json() }
    return EntropyCodedConfiguration(ignore: ignore, others: groups.isEmpty ? nil : others, cache: cache).json()
  }
}

/// Lists of module names, written short.
enum ModuleNames {
  /// Names as they are if they are few; else an expression for those that differ in numbers alone, where it takes in no
  /// other name.
  static func compact(_ names: [String], among all: [String]) -> [String] {
    guard names.count > 32 else { return names }
    let chosen = Set(names)
    var patterns: [String: (inside: Int, outside: Int)] = [:]
    for name in all {
      let pattern = expression(name)
      if chosen.contains(name) {
        patterns[pattern, default: (0, 0)].inside += 1
      } else {
        patterns[pattern, default: (0, 0)].outside += 1
      }
    }
    var result: [String] = []
    var written: Set<String> = []
    for name in names {
      let pattern = expression(name)
      let counts = patterns[pattern] ?? (1, 0)
      if counts.outside > 0 || counts.inside == 1 {
        result.append(name)
      } else if written.insert(pattern).inserted {
        result.append("re:" + pattern)
      }
    }
    return result
  }

  /// A regular expression for a name whose numbers may be others.
  static func expression(_ name: String) -> String {
    name.split(separator: ".", omittingEmptySubsequences: false)
      .map { $0.allSatisfy(\.isNumber) && !$0.isEmpty ? "\\d+" : String($0) }.joined(separator: "\\.") + "$"
  }
}
