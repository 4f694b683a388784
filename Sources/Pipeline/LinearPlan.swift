public import Calibration
public import Models
public import Quantization

/// What happens to one linear.
public struct LinearPlan: Sendable {
  /// The module's name.
  public let name: String
  /// Extents of the weight.
  public let outFeatures, inFeatures: Int
  /// How it is stored; `nil` keeps it.
  public let scheme: QuantizationScheme?
  /// How it is prepared.
  public let method: Method
  /// How finely it is coded, if by entropy and once that is decided.
  public var coding: EntropyCoding?
  /// Something a person should know of this linear.
  public let remark: String?
  /// Why it is kept, if it is.
  public let reason: String?
}

extension LinearPlan {
  /// Every linear of a model, to be kept.
  static func untouched(_ model: LanguageModel) -> [LinearPlan] {
    Recipe.candidates(model).map { linear in
      LinearPlan(
        name: linear.name, outFeatures: linear.rows, inFeatures: linear.columns, scheme: nil, method: .roundToNearest,
        remark: nil, reason: nil)
    }
  }

  /// The same with something a person should know.
  func with(remark: String) -> LinearPlan {
    LinearPlan(
      name: name, outFeatures: outFeatures, inFeatures: inFeatures, scheme: scheme, method: method, coding: coding,
      remark: remark, reason: reason)
  }

  /// The same, coded so.
  func coded(_ scheme: QuantizationScheme, _ coding: EntropyCoding) -> LinearPlan {
    LinearPlan(
      name: name, outFeatures: outFeatures, inFeatures: inFeatures, scheme: scheme, method: method, coding: coding,
      remark: remark, reason: reason)
  }
}

extension Recipe {
  /// A linear that a recipe decides about.
  fileprivate struct Candidate {
    let name: String
    let rows: Int
    let columns: Int
    /// Why it is kept unless a recipe includes it; `nil` for the linears of the decoder layers.
    var kept: String?
    var isRouter = false
  }

  /// Decides for every linear of a model: those of its layers, of layers behind the last one, the head and the embedding.
  ///
  /// A pattern that matches nothing is an error that names near misses: nothing is more expensive than a rule that was
  /// silently ignored.
  public func linearPlans(for model: LanguageModel) throws -> [LinearPlan] {
    let candidates = Self.candidates(model)
    let names = candidates.filter { !$0.isRouter }.map(\.name)
    // A tied head has no weights of its own, and everyone ignores it by habit.
    let ignorable = candidates.map(\.name) + ["lm_head"]
    let patterns = try ignore.map { try Pattern($0, among: ignorable, option: "--ignore") }
    let wanted = try include.map { try Pattern($0, among: names, option: "--include") }
    let rules = try rules.map { rule in
      let known = rule.scheme == nil ? ignorable : names
      return (rule, try rule.targets.map { try Pattern($0, among: known, option: "a rule's target") })
    }
    let plans = candidates.map { linear in
      var (scheme, method, reason): (QuantizationScheme?, Method, String?) = (self.scheme, self.method, nil)
      if linear.isRouter { (scheme, reason) = (nil, "routers stay in full precision") }
      // The entropy-coded profile is for the smallest file: both ends are a large part of it.
      let isEnd = linear.name == model.names.embedding || linear.name == model.names.head
      if let kept = linear.kept, !wanted.contains(where: { $0.matches(linear.name) }),
        !(isEnd && self.scheme.isEntropyCoded)
      {
        (scheme, reason) = (nil, kept)
      }
      for (rule, targets) in rules where targets.contains(where: { $0.matches(linear.name) }) && !linear.isRouter {
        scheme = rule.scheme
        method = rule.method ?? method
        reason = scheme == nil ? "a rule of the recipe keeps it" : nil
      }
      if patterns.contains(where: { $0.matches(linear.name) }) { (scheme, reason) = (nil, "the recipe ignores it") }
      if let wanted = scheme, let problem = wanted.problem(columns: linear.columns) {
        (scheme, reason) = (nil, problem)
      }
      let fitted = scheme?.fitted(to: linear.columns)
      var remark: String?
      if let scheme, let fitted, fitted != scheme {
        remark =
          "\(linear.columns) columns are not a multiple of the group size; \(fitted.weights.granularity.phrase) instead"
      }
      if fitted?.isEntropyCoded ?? false { method = .gptq }
      // What is not run feeds nothing that scales could be folded into.
      return LinearPlan(
        name: linear.name, outFeatures: linear.rows, inFeatures: linear.columns, scheme: fitted,
        method: linear.kept == nil ? method : .roundToNearest, remark: remark, reason: reason)
    }
    try Self.refuseHalfStacks(plans, model)
    return plans
  }

  fileprivate static func candidates(_ model: LanguageModel) -> [Candidate] {
    let c = model.configuration
    let end = "both ends of the model are kept unless they are included"
    var result = [
      Candidate(name: model.names.embedding, rows: c.vocabularySize, columns: c.hiddenSize, kept: end)
    ]
    for layer in 0..<c.layerCount + c.predictionLayers {
      let layout = model.layouts[min(layer, c.layerCount - 1)]
      for linear in layout.linears {
        var candidate = Candidate(
          name: model.layerPrefix(layer) + linear.name, rows: linear.outFeatures, columns: linear.inFeatures,
          isRouter: linear.isRouter)
        if layer >= c.layerCount {
          // A layer that predicts further tokens may be announced and not be there.
          guard !model.storedTensors(ofLinear: candidate.name).isEmpty else { continue }
          candidate.kept = "layers that predict further tokens are kept unless they are included"
        }
        result.append(candidate)
      }
    }
    if !c.tiesEmbeddings {
      result.append(Candidate(name: model.names.head, rows: c.vocabularySize, columns: c.hiddenSize, kept: end))
    }
    return result
  }

  /// Experts that share a tensor are quantized all or not at all.
  private static func refuseHalfStacks(_ plans: [LinearPlan], _ model: LanguageModel) throws {
    var kept: [String: Bool] = [:]
    for plan in plans where model.linear(named: plan.name)?.stack != nil {
      let tensor = model.weightTensor(ofLinear: plan.name)
      let isKept = plan.scheme == nil
      guard kept[tensor] ?? isKept == isKept else {
        throw PipelineError.usage(
          "\(plan.name): the experts of \(tensor) share one tensor and are quantized all or not at all")
      }
      kept[tensor] = isKept
    }
  }
}

/// A name, or `re:` and a regular expression that must match the whole name.
struct Pattern {
  private let text: String
  private let expression: Regex<AnyRegexOutput>?

  init(_ text: String, among names: [String], option: String) throws {
    self.text = text
    if text.hasPrefix("re:") {
      do { expression = try Regex(String(text.dropFirst(3))) } catch {
        throw PipelineError.usage("\(option) \"\(text)\" is not a regular expression")
      }
    } else {
      expression = nil
    }
    guard !names.contains(where: matches) else { return }
    if text == "lm_head" {
      throw PipelineError.usage(
        "\(option) \"lm_head\": the head is tied to model.embed_tokens; name that, and the head follows")
    }
    let near = names.sorted { (Self.distance(text, $0), $0) < (Self.distance(text, $1), $1) }.prefix(3)
    throw PipelineError.usage(
      "\(option) \"\(text)\" matches no linear of this model; the nearest are \(near.joined(separator: ", "))")
  }

  func matches(_ name: String) -> Bool {
    guard let expression else { return name == text }
    return name.wholeMatch(of: expression) != nil
  }

  /// Edits between two names, letters inserted before either being free: a short name is near a path that ends in it.
  static func distance(_ short: String, _ long: String) -> Int {
    let (a, b) = (Array(short.utf8), Array(long.utf8))
    var row = [Int](repeating: 0, count: b.count + 1)
    for i in a.indices {
      var diagonal = row[0]
      row[0] = i + 1
      for j in b.indices {
        let above = row[j + 1]
        row[j + 1] = min(row[j] + 1, above + 1, diagonal + (a[i] == b[j] ? 0 : 1))
        diagonal = above
      }
    }
    return row.min() ?? a.count
  }
}

extension QuantizationScheme {
  /// The same scheme with a group size that divides a width.
  ///
  /// Halves of the size down to 32 are preferred, since runtimes load them; then the largest divisor of at least 16;
  /// then the whole row.
  public func fitted(to inFeatures: Int) -> QuantizationScheme {
    guard hasGroups, case .perGroup(let size) = weights.granularity, inFeatures % size != 0 else { return self }
    var half = size / 2
    while half >= 32 {
      if inFeatures % half == 0 { return withGroupSize(half) }
      half /= 2
    }
    let divisor = stride(from: min(size, inFeatures), through: 16, by: -1).first { inFeatures % $0 == 0 }
    return withGroupSize(divisor == inFeatures ? nil : divisor)
  }
}

extension QuantizationScheme {
  /// Why a linear of a width stays in full precision: some formats have groups of one size alone.
  func problem(columns: Int) -> String? {
    guard case .perGroup(let size) = weights.granularity, !hasGroups, columns % size != 0 else { return nil }
    return "\(columns) columns are no whole number of \(name)'s groups of \(size)"
  }
}

extension Granularity {
  /// The granularity in words.
  public var phrase: String {
    switch self {
    case .perTensor: "one scale a matrix"
    case .perChannel: "one scale a row"
    case .perGroup(let size): "groups of \(size)"
    case .perBlock(let rows, let columns): "blocks of \(rows) × \(columns)"
    case .perRowAndColumn: "a gain a row and a gain a column"
    }
  }
}
