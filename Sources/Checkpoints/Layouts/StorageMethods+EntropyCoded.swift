internal import Quantization
internal import StrictJSON
internal import Tensors

/// `quantize-ec`: entropy-coded linears, and beside them what compressed-tensors describes.
struct EntropyCodedMethod: StorageMethod {
  private let kept: CompressedTensorsTargets
  private let others: CompressedTensorsMethod?

  init(_ declaration: QuantizationDeclaration) throws(CheckpointError) {
    let known: Set = ["quant_method", "version", "ignore", "kv_cache_scheme", "compressed_tensors"]
    if let odd = declaration.json.members.first(where: { !known.contains($0.name) && !$0.value.isNull }) {
      throw declaration.refusal("\(odd.name) is not known; it may change what the weights mean")
    }
    guard let version = try declaration.integer("version") else { throw declaration.refusal("version is missing") }
    guard version == EntropyCodedConfiguration.version else {
      throw declaration.refusal(
        "version \(version) is not read, \(EntropyCodedConfiguration.version) is; use a newer quantize")
    }
    let ignore = try declaration.names("ignore")
    for pattern in ignore where pattern.hasPrefix("re:") {
      guard (try? Regex(String(pattern.dropFirst(3)))) != nil else {
        throw declaration.refusal("the pattern \"\(pattern)\" is not a regular expression")
      }
    }
    kept = CompressedTensorsTargets(CompressedTensorsConfiguration(groups: [], ignore: ignore))
    guard let nested = declaration.value("compressed_tensors") else {
      others = nil
      return
    }
    guard let json = nested.objectValue else {
      throw declaration.refusal("compressed_tensors is \(nested.typeName), expected an object")
    }
    others = try CompressedTensorsMethod(declaration.with(json))
  }

  func rule(of module: String, _ tensors: LinearTensors) throws(CheckpointError) -> StorageRule? {
    if kept.ignores(module) { return nil }
    guard EntropyCodedLayout.parts.contains(where: { tensors.info($0) != nil }) else {
      return others?.rule(of: module, tensors)
    }
    guard let codes = tensors.info(EntropyCodedLayout.codesPart) else {
      throw .missingTensor(module + EntropyCodedLayout.codesPart, file: tensors.file)
    }
    switch codes.dtype {
    case .int8: return StorageRule(scheme: .entropyCoded(bits: 8), layout: .entropyCoded)
    case .uint8: return StorageRule(scheme: .entropyCoded(bits: 4), layout: .entropyCoded)
    default: throw tensors.refusal(EntropyCodedLayout.codesPart, "expected I8 or U8, found \(codes.dtype.rawValue)")
    }
  }
}
