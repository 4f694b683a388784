internal import Calibration
internal import Checkpoints
internal import Kernels
internal import Models
internal import Quantization

/// How a run keeps to the memory it was given: rows that move together, and where hidden states wait.
public struct MemoryPlan: Sendable, Equatable {
  /// Rows of hidden states that pass a layer together.
  public var chunkRows = Sequences.chunkRows
  /// Tokens on which folds are judged.
  public var heldOutTokens = 2048
  /// Whether hidden states wait in a file.
  public var spills = false
  /// Bytes expected at the highest, mapped pages that are in use included.
  public var peak = 0

  /// Bytes above which hidden states wait in a file although nobody asked for it: the system keeps as much of the file
  /// in memory as it has to spare.
  private static let spillsAbove = 4 << 30

  /// The roomiest plan that fits a limit, or the smallest there is.
  ///
  /// - Parameters:
  ///   - limit: bytes the process may have in memory; `nil` for no limit.
  ///   - tokens: of all calibration texts, those for starved experts included.
  init(_ model: LanguageModel, _ plan: QuantizationPlan, recipe: Recipe, tokens: Int, window: Int, limit: Int?) {
    let estimate = MemoryEstimate(model, plan, calibrates: recipe.needsCalibration, tokens: tokens, window: window)
    guard let limit else {
      peak = estimate.peak(self)
      guard peak > Self.spillsAbove else { return }
      spills = true
      peak = estimate.peak(self)
      return
    }
    for rows in [2048, 1024, 512, 256] {
      for spills in [false, true] {
        chunkRows = rows
        heldOutTokens = rows
        self.spills = spills
        peak = estimate.peak(self)
        if peak <= limit { return }
      }
    }
  }
}

/// Bytes that the parts of the work take.
private struct MemoryEstimate {
  let calibrates: Bool
  let hidden: Int
  let widest: Int
  let tokens: Int
  let window: Int
  let heads: Int
  let largestLinear: Int
  let groupsOfBlock: Int
  let feedback: FeedbackMemory
  let statistics: Int
  let largestTensor: Int
  let largestLayer: Int

  init(_ model: LanguageModel, _ plan: QuantizationPlan, calibrates: Bool, tokens: Int, window: Int) {
    self.calibrates = calibrates
    self.tokens = tokens
    self.window = window
    let c = model.configuration
    hidden = c.hiddenSize
    widest = c.widestActivation
    heads =
      c.layers.map { layer in
        switch layer.attention {
        case .grouped(let a): a.heads
        case .latent(let a): a.heads
        }
      }.max() ?? 1
    let written = plan.linears.filter { $0.scheme != nil }
    largestLinear = written.map { $0.outFeatures * $0.inFeatures }.max() ?? 0
    // Clips of every linear of a block are held until it is written; experts are written one by one.
    var blocks: [Int: Int] = [:]
    var gram = 0
    for linear in written {
      guard let (layer, _) = model.names.place(linear.name) else { continue }
      let isExpert = model.linear(named: linear.name)?.expert != nil
      guard let weights = linear.scheme?.weights, case .int = weights.format else { continue }
      let grid = ScaleGrid(weights.granularity, outFeatures: linear.outFeatures, inFeatures: linear.inFeatures)
      if !isExpert { blocks[layer, default: 0] += grid.count }
      gram = max(gram, linear.inFeatures * min(512, grid.columnsPerScale) * 4 + linear.inFeatures * 24)
    }
    groupsOfBlock = blocks.values.max() ?? 0
    feedback = FeedbackMemory(model, plan)
    // The inputs of attention, its parts, the feed-forward's inner one, and one expert's two.
    statistics = gram * 6
    largestTensor = model.checkpoint.weights.tensors.map(\.byteCount).max() ?? 0
    // The linears of a layer stay mapped while hidden states pass; experts are given back one by one.
    var layers: [Int: Int] = [:]
    for linear in plan.linears where model.linear(named: linear.name)?.expert == nil {
      guard let (layer, _) = model.names.place(linear.name) else { continue }
      layers[layer, default: 0] += model.storedTensors(ofLinear: linear.name).reduce(0) { $0 + $1.byteCount }
    }
    largestLayer = layers.values.max() ?? 0
  }

  func peak(_ plan: MemoryPlan) -> Int {
    let base = 96 << 20
    // Codes, a byte each, the words they are packed into, and what waits to be compressed.
    let writing = largestLinear * 2 + (64 << 20)
    // The digest and the copy of a kept tensor pass all of its mapped pages; without calibration both go on at once, and
    // frames wait for the disk.
    guard calibrates else { return base + max(writing, largestTensor) + largestTensor + (64 << 20) }
    let rows = max(plan.chunkRows, window)
    // What a chunk becomes where products are of BF16.
    let packed = rows * widest * MatrixProduct.packedBytes
    // A chunk and its norm, what attention or the feed-forward makes of it, and the sums of experts.
    let activations = (rows * (4 * hidden + 2 * widest) + heads * 128 * window) * 4 + packed
    // Where errors are passed on, what the judged texts were is not kept while others pass.
    let judged = feedback.passesErrorsOn ? 0 : plan.heldOutTokens * (4 * hidden + 2 * widest) * 4
    // A block is compared with what it was; with a second stream, that is a third copy.
    let states = plan.spills ? 0 : tokens * hidden * 4 * (feedback.passesErrorsOn ? 3 : 2)
    let clips = groupsOfBlock * 4 * 4
    let work =
      max(writing, activations + judged + largestLayer) + clips + statistics
      + feedback.peak(tokens: tokens, spills: plan.spills)
    return base + states + max(work, largestTensor)
  }
}
