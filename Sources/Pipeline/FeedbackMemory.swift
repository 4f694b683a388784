internal import Calibration
internal import Kernels
internal import Models
internal import Quantization

/// Bytes that rounding with feedback takes beyond what every calibration takes.
struct FeedbackMemory {
  /// Second moments of a layer's inputs and their factors at once, and codes for two combinations of folds: where errors
  /// are not passed on, and where entropy-coded rates are surveyed.
  private var wholeLayer = 0
  /// The same of the widest stage alone, with what is missing from its outputs and the weights that make it good, and
  /// the codes of a layer: where errors are passed on.
  private var stages = 0
  /// Channels of the widest input.
  private var widest = 0

  /// Whether errors are passed on, so that states of the quantized layers move up as well.
  let passesErrorsOn: Bool
  private let surveys: Bool

  init(_ model: LanguageModel, _ plan: QuantizationPlan) {
    passesErrorsOn = LayerPass.passesErrorsOn(plan, model.configuration)
    surveys = plan.linears.contains { $0.coding != nil }
    var codes: [Int: Int] = [:]
    var moments: [Int: [String: Int]] = [:]
    var (widestMoments, widestStage) = (0, 0)
    for linear in plan.linears where linear.scheme != nil && linear.method.feedsBack {
      guard let (layer, _) = model.names.place(linear.name), let local = model.linear(named: linear.name) else {
        continue
      }
      let square = linear.inFeatures * linear.inFeatures * MemoryLayout<Float>.size
      let weights = linear.outFeatures * linear.inFeatures
      widest = max(widest, linear.inFeatures)
      widestMoments = max(widestMoments, square)
      // Moments, the best factor, what is missing, another factor that is tried or the target, and the two first rounded.
      let floats = weights * MemoryLayout<Float>.size
      let rounded = MatrixProduct.packedBytes > 0 ? square : 0
      widestStage = max(widestStage, 2 * square + min(square, floats) + max(square, floats) + rounded)
      guard local.expert == nil else { continue }
      moments[layer, default: [:]][local.reads] = square
      codes[layer, default: 0] += weights
    }
    let mostCodes = codes.values.max() ?? 0
    wholeLayer = (moments.values.map { $0.values.reduce(0, +) }.max() ?? 0) * 2 + 3 * widestMoments + 2 * mostCodes
    stages = widestStage + mostCodes
  }

  /// Bytes at the highest.
  ///
  /// - Parameters:
  ///   - tokens: of the texts for searching.
  ///   - spills: whether states wait in a file.
  func peak(tokens: Int, spills: Bool) -> Int {
    let tiles = Parallel.threads * widest * FeedbackRounding.bytesPerChannel
    guard passesErrorsOn else { return wholeLayer + tiles }
    // The inputs of a block's last linear are kept.
    let kept = spills ? 0 : tokens * widest * MemoryLayout<Float>.size
    return max(stages + kept, surveys ? wholeLayer : 0) + tiles
  }
}
