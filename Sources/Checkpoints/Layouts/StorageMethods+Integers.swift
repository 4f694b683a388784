internal import Quantization
internal import StrictJSON

/// `awq`: AutoAWQ, version GEMM.
struct AutoAWQMethod: StorageMethod {
  private let rule: StorageRule
  private let kept: Set<String>

  init(_ declaration: QuantizationDeclaration) throws(CheckpointError) {
    let version = try declaration.text("version", "checkpoint_format", "format")?.lowercased() ?? "gemm"
    guard version == "gemm" else {
      throw declaration.refusal(
        "version \"\(version)\" of AWQ is not read, \"gemm\" is; save the model again with version gemm")
    }
    let bits = try declaration.integer("bits", "w_bit") ?? 4
    guard bits == 4 else { throw declaration.refusal("AWQ of \(bits) bits is not read, 4 bits are") }
    let hasZeros = try declaration.flag("zero_point") ?? true
    let granularity = try declaration.granularity("group_size", "q_group_size")
    kept = Set(try declaration.names("modules_to_not_convert"))
    rule = StorageRule(
      scheme: QuantizationScheme(
        WeightQuantization(.int(bits: 4), granularity, isSymmetric: !hasZeros), .none), layout: .autoAWQ)
  }

  func rule(of module: String, _ tensors: LinearTensors) -> StorageRule? { names(kept, module) ? nil : rule }
}

/// `gptq`: both versions of the format, any order of columns, rules for single modules.
struct GPTQMethod: StorageMethod {
  private let rule: StorageRule
  private let bias: Int
  /// In file order, `nil` for modules that are kept.
  private let dynamic: [(pattern: Regex<AnyRegexOutput>, rule: StorageRule?)]

  init(_ declaration: QuantizationDeclaration) throws(CheckpointError) {
    let format = try declaration.text("checkpoint_format", "format") ?? "gptq"
    let isMarlin = try declaration.flag("is_marlin_format") ?? false
    guard format == "gptq" || format == "gptq_v2", !isMarlin else {
      throw declaration.refusal(
        "checkpoint_format \"\(format == "gptq" ? "marlin" : format)\" is not read, \"gptq\" and \"gptq_v2\" are; "
          + "save the model again in one of them")
    }
    for key in ["rotation", "adapter"] {
      if let value = declaration.value(key) {
        throw declaration.refusal("\(key) \(value.compactText) is not read; it changes what the weights mean")
      }
    }
    if let type = try declaration.text("pack_dtype"), type != "int32" {
      throw declaration.refusal("pack_dtype \"\(type)\" is not read, \"int32\" is")
    }
    bias = format == "gptq" ? 1 : 0
    rule = try Self.rule(declaration, declaration.json, bias: bias)
    var dynamic: [(pattern: Regex<AnyRegexOutput>, rule: StorageRule?)] = []
    for member in declaration.value("dynamic")?.objectValue?.members ?? [] {
      let isKept = member.name.hasPrefix("-:")
      let text = isKept || member.name.hasPrefix("+:") ? String(member.name.dropFirst(2)) : member.name
      guard let pattern = try? Regex(text) else {
        throw declaration.refusal("dynamic: \"\(text)\" is not a regular expression")
      }
      var merged = declaration.json
      for override in member.value.objectValue?.members ?? [] { merged[override.name] = override.value }
      dynamic.append((pattern, isKept ? nil : try Self.rule(declaration, merged, bias: bias)))
    }
    self.dynamic = dynamic
  }

  private static func rule(
    _ declaration: QuantizationDeclaration, _ json: JSONObject, bias: Int
  ) throws(CheckpointError) -> StorageRule {
    let keys = declaration.with(json)
    guard let bits = try keys.integer("bits") else { throw keys.refusal("bits is missing") }
    guard [2, 3, 4, 8].contains(bits) else {
      throw keys.refusal("GPTQ of \(bits) bits is not read; 2, 3, 4 and 8 bits are")
    }
    let weights = WeightQuantization(
      .int(bits: bits), try keys.granularity("group_size"), isSymmetric: try keys.flag("sym") ?? false)
    return StorageRule(
      scheme: QuantizationScheme(weights, .none),
      layout: .gptq(bias: bias, isOrdered: try keys.flag("desc_act") ?? false))
  }

  func rule(of module: String, _ tensors: LinearTensors) -> StorageRule? {
    for (pattern, rule) in dynamic where module.prefixMatch(of: pattern) != nil { return rule }
    return rule
  }
}

/// `mxfp4`: the stacked experts of gpt-oss.
struct StackedExpertsMethod: StorageMethod {
  private let kept: [[Substring]]

  init(_ declaration: QuantizationDeclaration) throws(CheckpointError) {
    kept = try declaration.names("modules_to_not_convert").map { $0.split(separator: ".") }
  }

  func rule(of module: String, _ tensors: LinearTensors) -> StorageRule? {
    guard tensors.info("_blocks") != nil || tensors.info("_scales") != nil else { return nil }
    let parts = module.split(separator: ".")
    // A star stands for one part of a name.
    let isKept = kept.contains { list in
      list.count <= parts.count && zip(list, parts).allSatisfy { $0 == "*" || $0 == $1 }
    }
    return isKept
      ? nil : StorageRule(scheme: .mxfp4A16, layout: .expert(0))
  }
}
