internal import Quantization
internal import StrictJSON
internal import Tensors

/// `fp8` (DeepSeek, Qwen, …) and `fbgemm_fp8`.
struct Float8Method: StorageMethod {
  private let block: Granularity?
  private let isStatic: Bool
  private let isRowwise: Bool
  /// Those of blocks.
  private let scales: ScaleFormat
  private let kept: Set<String>

  init(_ declaration: QuantizationDeclaration) throws(CheckpointError) {
    isRowwise = declaration.method == "fbgemm_fp8"
    if let format = try declaration.text("fmt"), format != "e4m3" {
      throw declaration.refusal("fmt \"\(format)\" is not read, \"e4m3\" is")
    }
    if let format = try declaration.text("scale_fmt"), format != "ue8m0", format != "float" {
      throw declaration.refusal("scale_fmt \"\(format)\" is not read, \"ue8m0\" is")
    }
    scales = try declaration.text("scale_fmt") == "ue8m0" ? .powerOfTwo : .real
    let scheme = try declaration.text("activation_scheme") ?? "dynamic"
    guard scheme == "dynamic" || scheme == "static" else {
      throw declaration.refusal("activation_scheme \"\(scheme)\" is not known, \"dynamic\" and \"static\" are")
    }
    isStatic = scheme == "static"
    if let value = declaration.value("weight_block_size") {
      let sides = value.arrayValue?.compactMap(\.intValue) ?? []
      guard sides.count == 2, sides.allSatisfy({ $0 > 0 }) else {
        throw declaration.refusal("weight_block_size is \(value.compactText), expected two numbers")
      }
      block = .perBlock(rows: sides[0], columns: sides[1])
    } else {
      block = nil
    }
    kept = Set(try declaration.names("modules_to_not_convert") + declaration.names("ignored_layers"))
  }

  func rule(of module: String, _ tensors: LinearTensors) -> StorageRule? {
    if names(kept, module) { return nil }
    let scale = tensors.info(".weight_scale_inv") != nil || tensors.info(".weight_scale") == nil && block != nil
    let part = scale ? ".weight_scale_inv" : ".weight_scale"
    let granularity: Granularity
    let activations: ActivationQuantization
    if let block {
      granularity = block
      guard case .perBlock(_, let columns) = block else { return nil }
      activations = isStatic ? .staticPerTensor(.float8E4M3) : .dynamicPerGroup(.float8E4M3, size: columns)
    } else {
      // Without blocks, the shape says whether a scale is a row's or the matrix's.
      let count = tensors.info(part)?.shape.elementCount ?? 1
      granularity = isRowwise || count > 1 ? .perChannel : .perTensor
      activations = isStatic ? .staticPerTensor(.float8E4M3) : .dynamicPerToken(.float8E4M3)
    }
    return StorageRule(
      scheme: QuantizationScheme(
        WeightQuantization(.float8E4M3, granularity, scales: block == nil ? .real : scales), activations),
      layout: .float8(scale: part))
  }
}

/// `modelopt`: NVIDIA Model Optimizer's float4 and float8.
struct ModelOptMethod: StorageMethod {
  private let declaration: QuantizationDeclaration
  private let algorithm: String
  /// The algorithm of single modules.
  private let layers: [String: String]
  private let kept: Set<String>
  /// What modules outside the list are stored as, where another method declares them.
  private let others: Float8Method?

  init(_ declaration: QuantizationDeclaration) throws(CheckpointError) {
    self.declaration = declaration
    guard let algorithm = try declaration.text("quant_algo")?.uppercased() else {
      throw declaration.refusal("quant_algo is missing")
    }
    self.algorithm = algorithm
    var layers: [String: String] = [:]
    for member in declaration.value("quantized_layers")?.objectValue?.members ?? [] {
      guard let name = member.value["quant_algo"]?.stringValue?.uppercased() else {
        throw declaration.refusal("quantized_layers: \(member.name) has no quant_algo")
      }
      layers[member.name] = name
    }
    self.layers = layers
    let isMixed = algorithm == "MIXED_PRECISION"
    if isMixed, layers.isEmpty { throw declaration.refusal("quant_algo MIXED_PRECISION without quantized_layers") }
    others = declaration.method == "fp8" ? try Float8Method(declaration) : nil
    for name in isMixed ? Array(Set(layers.values)).sorted() : [algorithm] {
      guard Self.algorithms.contains(name) else {
        throw declaration.refusal(
          "quant_algo \(name) is not read; \(Self.algorithms.joined(separator: ", ")) and lists of these are")
      }
    }
    if let size = try declaration.integer("group_size"), size != 16, algorithm.contains("NVFP4") {
      throw declaration.refusal("group_size \(size) is not read for NVFP4, 16 is")
    }
    kept = Set(try declaration.names("exclude_modules") + declaration.names("ignore"))
  }

  private static let algorithms = ["FP8", "FP8_PER_CHANNEL_PER_TOKEN", "FP8_PB_WO", "MXFP8", "NVFP4", "W4A16_NVFP4"]

  func rule(of module: String, _ tensors: LinearTensors) throws(CheckpointError) -> StorageRule? {
    if tensors.info(".pre_quant_scale") != nil {
      throw tensors.refusal(".pre_quant_scale", "scales the linear's input (AWQ of ModelOpt), which is not read")
    }
    if algorithm == "MIXED_PRECISION" {
      guard let name = listed(module) else { return others?.rule(of: module, tensors) }
      return Self.rule(name)
    }
    return names(kept, module) ? nil : Self.rule(algorithm)
  }

  /// The algorithm that the list gives to a module or to one that it lies in.
  private func listed(_ module: String) -> String? {
    var rest = module[...]
    while true {
      if let name = layers[String(rest)] { return name }
      guard let dot = rest.lastIndex(of: ".") else { return nil }
      rest = rest[..<dot]
    }
  }

  private static func rule(_ algorithm: String) -> StorageRule {
    func float8(_ granularity: Granularity, _ activations: ActivationQuantization) -> StorageRule {
      StorageRule(
        scheme: QuantizationScheme(WeightQuantization(.float8E4M3, granularity), activations),
        layout: .float8(scale: ".weight_scale"))
    }
    switch algorithm {
    case "FP8": return float8(.perTensor, .staticPerTensor(.float8E4M3))
    case "FP8_PER_CHANNEL_PER_TOKEN": return float8(.perChannel, .dynamicPerToken(.float8E4M3))
    case "FP8_PB_WO": return float8(.perBlock(rows: 128, columns: 128), .none)
    case "MXFP8":
      return StorageRule(
        scheme: .mxfp8, layout: .microscaledFloat8)
    default:
      return StorageRule(
        scheme: algorithm == "NVFP4" ? .nvfp4 : .nvfp4A16,
        layout: .float4(codes: ".weight", whole: .factor(".weight_scale_2")))
    }
  }
}
