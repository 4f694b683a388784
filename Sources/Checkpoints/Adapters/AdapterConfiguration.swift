/// What `adapter_config.json` says that matters for merging; see `formats/adapter.md`.
struct AdapterConfiguration: Sendable {
  /// Which modules a key names.
  enum Modules: Sendable, Equatable {
    /// Names; a module is meant if its name is one, or ends with a dot and one.
    case names([String])
    /// A regular expression for the whole name.
    case expression(String)
    /// Every linear.
    case allLinear
  }

  /// Which biases were trained.
  enum Bias: String, Sendable, CaseIterable {
    case none, all
    case adapted = "lora_only"
  }

  /// A value for modules whose name a regular expression matches.
  struct Override<Value: Sendable>: Sendable {
    let pattern: String
    let value: Value
  }

  /// Rows of an embedding that were trained.
  struct TrainableTokens: Sendable {
    /// The embedding, as in lists of names; `nil` for the input embedding.
    let module: String?
    let tokens: [Int]
  }

  /// The file, for messages.
  let file: String
  /// Columns of B unless overridden.
  var rank = 8
  /// The numerator of the scale unless overridden.
  var alpha = 8.0
  var rankOverrides: [Override<Int>] = []
  var alphaOverrides: [Override<Double>] = []
  /// Whether the scale is α/√r in place of α/r (rank-stabilized LoRA, arXiv:2312.03732).
  var isRankStabilized = false
  /// Whether rows are brought to trained lengths (DoRA, arXiv:2402.09353).
  var hasMagnitudes = false
  /// Modules with B·A; `nil` if only parameters have one.
  var targets: Modules?
  /// Modules without, although they are targets.
  var excluded: Modules?
  /// Modules that are in the file as a whole.
  var savedModules: [String] = []
  var bias = Bias.none
  /// Whether B has a bias.
  var hasLowRankBias = false
  /// Whether weights are stored `[inFeatures, outFeatures]`, as GPT-2's.
  var isTransposed = false
  /// Tensors that are no module's `weight` and have a B·A: fused experts.
  var targetParameters: [String] = []
  var trainableTokens: [TrainableTokens] = []
  /// Whether the head follows what is done to the embedding it is tied to.
  var keepsTie = false
  /// What is odd but harmless, a sentence each.
  var warnings: [String] = []

  /// The rank of a module, by its name in the adapter.
  func rank(of module: String) throws(CheckpointError) -> Int { try value(of: module, rankOverrides) ?? rank }

  /// What B·A is multiplied by in a module.
  func scale(of module: String) throws(CheckpointError) -> Double {
    let rank = Double(try rank(of: module))
    return (try value(of: module, alphaOverrides) ?? alpha) / (isRankStabilized ? rank.squareRoot() : rank)
  }

  /// Whether the configuration says that a module has a B·A.
  func isTarget(_ module: String) throws(CheckpointError) -> Bool {
    guard let targets else { return targetParameters.isEmpty }
    guard try matches(module, targets) else { return false }
    guard let excluded else { return true }
    return try !matches(module, excluded)
  }

  /// The parameters of a module that have a B·A of their own, by their last part, in the order of their names.
  func parameters(of module: String) -> [String] {
    let found = targetParameters.compactMap { target in
      let (path, last) = ModuleName.split(target)
      return ModuleName.matches(module, suffix: path.isEmpty ? "experts" : path) ? last : nil
    }
    return Set(found).sorted()
  }

  /// Whether a tensor's module, or one that it lies in, is kept as a whole.
  func isSaved(_ module: String) -> Bool { savedModules.contains { Self.lies(module, in: $0) } }

  /// Whether a module is one of a name, or lies in one.
  static func lies(_ module: String, in name: String) -> Bool { ("." + module + ".").contains("." + name + ".") }

  private func matches(_ module: String, _ modules: Modules) throws(CheckpointError) -> Bool {
    switch modules {
    case .names(let names): names.contains { ModuleName.matches(module, suffix: $0) }
    case .expression(let pattern): try Self.matches(module, pattern, file: file)
    case .allLinear: true
    }
  }

  /// The first override, in the file's order, whose pattern matches the name or a suffix of whole parts.
  private func value<Value>(of module: String, _ overrides: [Override<Value>]) throws(CheckpointError) -> Value? {
    for override in overrides where try Self.matches(module, #"(.*\.)?("# + override.pattern + ")", file: file) {
      return override.value
    }
    return nil
  }

  /// Whether a regular expression matches all of a name.
  static func matches(_ name: String, _ pattern: String, file: String) throws(CheckpointError) -> Bool {
    do { return try Regex(pattern).wholeMatch(in: name) != nil } catch {
      throw .malformed(
        file: file, offset: nil, tensor: nil, problem: "the pattern \"\(pattern)\" is not a regular expression")
    }
  }
}
