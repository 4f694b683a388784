/// The targets and ignored names of a configuration, its expressions compiled once: for asking about many modules.
struct CompressedTensorsTargets {
  private enum Pattern {
    case name(String)
    case expression(Regex<AnyRegexOutput>)
    /// A class of modules; only linears are known.
    case linears
    case other

    init(_ target: String) {
      if target.hasPrefix("re:") {
        // Configurations that are read were checked; one made in code may hold anything.
        self = (try? Regex(String(target.dropFirst(3)))).map { .expression($0) } ?? .other
      } else {
        self = target == "Linear" ? .linears : .name(target)
      }
    }

    /// How specific a match is, the lowest most; `nil` for none.
    func rank(_ module: String) -> Int? {
      switch self {
      case .name(let name): name == module ? 0 : nil
      case .expression(let expression): module.prefixMatch(of: expression) != nil ? 1 : nil
      case .linears: module != "model.embed_tokens" ? 2 : nil
      case .other: nil
      }
    }
  }

  private let ignored: [Pattern]
  private let targets: [(pattern: Pattern, target: String, group: CompressedTensorsConfiguration.Group)]

  init(_ configuration: CompressedTensorsConfiguration) {
    ignored = configuration.ignore.map { Pattern($0) }
    targets = configuration.groups.flatMap { group in group.targets.map { (Pattern($0), $0, group) } }
  }

  /// Whether a module is kept in full precision whatever the targets say.
  func ignores(_ module: String) -> Bool { ignored.contains { $0.rank(module) != nil } }

  /// The group of a module, or `nil` if it is in full precision.
  func group(of module: String) -> CompressedTensorsConfiguration.Group? {
    if ignores(module) { return nil }
    var best: (rank: Int, target: String, group: CompressedTensorsConfiguration.Group)?
    for (pattern, target, group) in targets {
      guard let rank = pattern.rank(module) else { continue }
      if let best, (best.rank, best.target) < (rank, target) { continue }
      best = (rank, target, group)
    }
    return best?.group
  }
}
