internal import Tensors

/// The modules of a base model, found by an adapter's name for them.
struct BaseModules: Sendable {
  /// One module: its name and what it holds.
  struct Module: Sendable {
    let name: String
    /// Its tensors by the last part of their names.
    var tensors: [String: TensorInfo] = [:]

    func has(_ last: String) -> Bool { tensors[last] != nil }

    /// Whether its weights are stored as other than one plain tensor: codes, or floats of eight bits with scales.
    var isQuantized: Bool {
      if let weight = tensors["weight"] { return !weight.dtype.isFullPrecision }
      return ["weight_packed", "weight_codes", "qweight", "weight_blocks", "blocks"].contains(where: has)
    }
  }

  private let modules: [String: [Module]]

  init(_ base: any WeightSource) {
    var found: [String: Module] = [:]
    for info in base.tensors {
      let (module, last) = ModuleName.split(info.name)
      found[module, default: Module(name: module)].tensors[last] = info
    }
    modules = Dictionary(grouping: found.values.sorted { $0.name < $1.name }) { ModuleName.canonical($0.name) }
  }

  /// The module that an adapter means: of exactly this name, or the only one whose name means the same.
  func find(_ name: String) -> Module? {
    let candidates = modules[ModuleName.canonical(name)] ?? []
    return candidates.first { $0.name == name } ?? (candidates.count == 1 ? candidates[0] : nil)
  }

  /// The experts' projections that a checkpoint stores one by one.
  func projections(of experts: String) -> [Module] {
    let prefix = ModuleName.canonical(experts) + "."
    return modules.filter { $0.key.hasPrefix(prefix) }.values.joined().sorted { $0.name < $1.name }
  }

  /// All names.
  var names: [String] { modules.values.joined().map(\.name).sorted() }

  /// The output head.
  var head: Module? { find("lm_head") }

  /// The input embedding.
  var embedding: Module? { ["embed_tokens", "wte", "word_embeddings"].compactMap(find).first }
}
