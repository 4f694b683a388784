/// How an adapter's name of a module and a checkpoint's are brought together.
///
/// PEFT spells modules as transformers' classes do at run time; files of the same model may say `language_model.model.`
/// or `model.language_model.` for `model.`, leave out the outer `model.` or `transformer.`, and keep Mixtral's older
/// `block_sparse_moe`.
enum ModuleName {
  /// What PEFT puts before every name.
  static let prefix = "base_model.model."

  /// The name without the parts in which spellings of one module differ.
  static func canonical(_ name: String) -> String {
    var parts = name.split(separator: ".", omittingEmptySubsequences: false).filter { $0 != "language_model" }
    if parts.count > 1, parts[0] == "model" || parts[0] == "transformer" { parts.removeFirst() }
    return parts.map { $0 == "block_sparse_moe" ? "mlp" : $0 }.joined(separator: ".")
  }

  /// Whether a name is a suffix of whole parts, as PEFT compares names in lists.
  static func matches(_ name: String, suffix: String) -> Bool { name == suffix || name.hasSuffix("." + suffix) }

  /// A tensor's module and what follows it: `model.norm.weight` is `model.norm` and `weight`.
  static func split(_ tensor: String) -> (module: String, last: String) {
    guard let dot = tensor.lastIndex(of: ".") else { return ("", tensor) }
    return (String(tensor[..<dot]), String(tensor[tensor.index(after: dot)...]))
  }
}

/// One projection of one expert, which a checkpoint stores by itself and newer adapters treat as part of a fused tensor.
struct ExpertProjection {
  /// The module of all experts, canonical.
  let experts: String
  /// Which expert.
  let index: Int
  /// The fused tensor that it is a part of: `gate_up_proj` or `down_proj`.
  let parameter: String
  /// Which half of the fused rows: 0 gate, 1 up; `nil` for all of them.
  let half: Int?

  /// Reads a module's name such as `model.layers.0.mlp.experts.3.gate_proj`; `nil` for other modules.
  init?(_ module: String) {
    let parts = ModuleName.canonical(module).split(separator: ".")
    guard parts.count > 3, parts[parts.count - 3] == "experts", let index = Int(parts[parts.count - 2]) else {
      return nil
    }
    switch parts[parts.count - 1] {
    case "gate_proj", "w1": (parameter, half) = ("gate_up_proj", 0)
    case "up_proj", "w3": (parameter, half) = ("gate_up_proj", 1)
    case "down_proj", "w2": (parameter, half) = ("down_proj", nil)
    default: return nil
    }
    self.index = index
    experts = parts.dropLast(2).joined(separator: ".")
  }
}
