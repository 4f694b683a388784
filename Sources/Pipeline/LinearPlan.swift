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
  /// Something a person should know of this linear.
  public let remark: String?
}

extension Recipe {
  /// Decides for every linear of a model, the head and the embedding.
  ///
  /// A pattern that matches nothing is an error that names near misses: nothing is more expensive than a rule that was
  /// silently ignored.
  public func linearPlans(for model: LanguageModel) throws -> [LinearPlan] {
    let c = model.configuration
    var linears: [(name: String, rows: Int, columns: Int, isOptional: Bool)] = []
    linears.append(("model.embed_tokens", c.vocabularySize, c.hiddenSize, true))
    for name in model.linearNames {
      let (rows, columns) = model.shape(ofLinear: model.localName(name))
      linears.append((name, rows, columns, false))
    }
    if !c.tiesEmbeddings { linears.append(("lm_head", c.vocabularySize, c.hiddenSize, true)) }
    let names = linears.map(\.name)
    // A tied head has no weights of its own, and everyone ignores it by habit.
    let patterns = try ignore.map { try Pattern($0, among: names + ["lm_head"], option: "--ignore") }
    let wanted = try include.map { try Pattern($0, among: names, option: "--include") }
    let rules = try rules.map { rule in
      let known = rule.scheme == nil ? names + ["lm_head"] : names
      return (rule, try rule.targets.map { try Pattern($0, among: known, option: "a rule's target") })
    }
    return linears.map { linear in
      var scheme: QuantizationScheme? = linear.isOptional && !wanted.contains { $0.matches(linear.name) } ? nil : scheme
      var method = method
      for (rule, targets) in rules where targets.contains(where: { $0.matches(linear.name) }) {
        scheme = rule.scheme
        method = rule.method ?? method
      }
      if patterns.contains(where: { $0.matches(linear.name) }) { scheme = nil }
      let fitted = scheme?.fitted(to: linear.columns)
      var remark: String?
      if let scheme, let fitted, fitted != scheme {
        remark =
          "\(linear.columns) columns are not a multiple of the group size; \(fitted.weights.granularity.phrase) instead"
      }
      // The two ends of the model feed nothing that scales could be folded into.
      return LinearPlan(
        name: linear.name, outFeatures: linear.rows, inFeatures: linear.columns, scheme: fitted,
        method: linear.isOptional ? .roundToNearest : method, remark: remark)
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
    guard case .perGroup(let size) = weights.granularity, inFeatures % size != 0 else { return self }
    var half = size / 2
    while half >= 32 {
      if inFeatures % half == 0 { return withGroupSize(half) }
      half /= 2
    }
    let divisor = stride(from: min(size, inFeatures), through: 16, by: -1).first { inFeatures % $0 == 0 }
    return withGroupSize(divisor == inFeatures ? nil : divisor)
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
    }
  }
}
