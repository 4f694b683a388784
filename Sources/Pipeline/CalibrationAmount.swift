internal import Calibration
internal import Models
internal import Quantization

/// Whether there is enough calibration text for what is to be learned from it.
struct CalibrationAmount {
  /// Tokens that statistics are taken from; those that folds are judged on are apart.
  let tokens: Int
  /// Linears that see all of them: an expert sees what is routed to it, and says so itself.
  let linears: [LinearPlan]

  /// Tokens a channel with which its products with the others are more than chance.
  private static let tokensPerChannel = 2
  /// Tokens a channel of a group with which clipping is more than chance.
  private static let tokensPerGroupChannel = 8

  init(_ texts: CalibrationTexts, _ plan: QuantizationPlan, _ model: LanguageModel) {
    tokens = texts.search.reduce(0) { $0 + $1.count }
    linears = plan.linears.filter { model.linear(named: $0.name)?.expert == nil }
  }

  init(tokens: Int, linears: [LinearPlan]) {
    self.tokens = tokens
    self.linears = linears
  }

  /// One sentence for each thing that there is too little text for.
  var remarks: [String] {
    var remarks: [String] = []
    let searched = linears.filter { $0.scheme != nil && $0.method != .roundToNearest }
    let width = searched.filter(\.method.feedsBack).map(\.inFeatures).max() ?? 0
    if tokens < Self.tokensPerChannel * width {
      remarks.append(
        "\(tokens) tokens of calibration text are few for rounding with feedback over \(width) input channels, which "
          + "takes \(Self.tokensPerChannel * width): give more text, --samples or --seqlen, or --method awq")
    }
    let group = searched.compactMap(Self.clippedGroup).max() ?? 0
    if tokens < Self.tokensPerGroupChannel * group {
      remarks.append(
        "\(tokens) tokens of calibration text are few for clipping groups of \(group), which takes "
          + "\(Self.tokensPerGroupChannel * group): give more text, --samples or --seqlen, or --method rtn")
    }
    return remarks
  }

  /// Columns of a group that is clipped by how its channels go together; wider ones are clipped by variances.
  private static func clippedGroup(_ linear: LinearPlan) -> Int? {
    guard let weights = linear.scheme?.weights, case .int(let bits) = weights.format, bits < 8 else { return nil }
    let grid = ScaleGrid(weights.granularity, outFeatures: linear.outFeatures, inFeatures: linear.inFeatures)
    return grid.columnsPerScale <= InputStatistics.widestBlock ? grid.columnsPerScale : nil
  }
}
