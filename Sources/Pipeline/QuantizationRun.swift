internal import Calibration
internal import Checkpoints
internal import Foundation
internal import Kernels
public import Models
internal import Reports
internal import StrictJSON
internal import Tensors

/// One run of `quantize`: plan, one pass over the layers, artifact.
///
///     let run = try QuantizationRun(.init(model: "path/to/model", output: "model.tar.zst"))
///     let outcome = try run.execute()
public struct QuantizationRun: Sendable {
  /// What a person asked for.
  public struct Request: Sendable {
    /// A folder, a safetensors file, or `org/name` in the Hugging Face cache.
    public var model: String
    /// `NAME.tar.zst`, or a folder, written with a slash at its end.
    public var output: String
    /// What to do.
    public var recipe: Recipe
    /// The folder of an adapter that is merged into the model before anything else.
    public var adapter: String?
    /// Whether to continue what an interrupted run has left; if that is nothing, the run begins.
    public var resumes = false
    /// Bytes the run may need at most.
    public var maximumMemory: Int?

    /// A request with the default recipe unless another is given.
    public init(model: String, output: String, recipe: Recipe = Recipe()) {
      self.model = model
      self.output = output
      self.recipe = recipe
    }
  }

  /// The request.
  public private(set) var request: Request
  /// The source.
  public let model: LanguageModel
  /// What will be done; of entropy-coded linears, how finely is decided once they are measured.
  public private(set) var plan: QuantizationPlan
  /// Bytes of memory expected at the highest.
  public var expectedMemory: Int { memory.peak }
  /// How the run keeps to the memory it was given.
  public private(set) var memory: MemoryPlan
  private let windows: TokenWindows?
  var texts: CalibrationTexts?
  var calibration: Report.Calibration?
  /// The adapter's name and digest; `null` without one.
  let adapter: JSONValue

  /// Opens the model and decides everything; nothing is written yet.
  public init(_ request: Request) throws {
    self.request = request
    model = try ModelInputs.openModel(request.model, adapter: request.adapter)
    adapter = try model.checkpoint.adapter?.identity() ?? .null
    let recipe = request.recipe
    plan = try QuantizationPlan(model, recipe: recipe)
    if recipe.needsCalibration {
      let inputs = try ModelInputs(model)
      let text = try TextSource(recipe.calibration, chatTemplate: { try inputs.chatTemplate() })
      let length = min(recipe.sequenceLength, model.configuration.maximumPositions)
      let windows = try TokenWindows(
        text, tokenizer: inputs.tokenizer, separator: inputs.separator, begin: inputs.windowBegin,
        length: length, limit: recipe.samples ?? SampleConvergence.limit)
      self.windows = windows
      let texts = Self.texts(windows, model)
      self.texts = texts
      calibration = Report.Calibration(
        source: text.name, tokens: windows.tokenCount, samples: windows.windows.count, digest: text.digest)
      memory = Self.memory(texts, windows, model, plan, request)
    } else {
      windows = nil
      texts = nil
      calibration = nil
      memory = MemoryPlan(model, plan, recipe: recipe, tokens: 0, window: 0, limit: request.maximumMemory)
    }
    try checkFit()
  }

  private static func texts(_ windows: TokenWindows, _ model: LanguageModel) -> CalibrationTexts {
    // Experts that see too little get half as many samples again, where the text has more.
    let reserve = model.configuration.hasExperts ? windows.others(limit: max(1, windows.windows.count / 2)) : []
    return CalibrationTexts(windows, reserve: reserve)
  }

  private static func memory(
    _ texts: CalibrationTexts, _ windows: TokenWindows, _ model: LanguageModel, _ plan: QuantizationPlan,
    _ request: Request
  ) -> MemoryPlan {
    MemoryPlan(
      model, plan, recipe: request.recipe, tokens: texts.tokenCount, window: windows.length,
      limit: request.maximumMemory)
  }

  private func checkFit() throws {
    if case .bytes? = request.recipe.rate, request.output.hasSuffix("/") {
      throw PipelineError.usage(
        "a target size is of the compressed file, and \(request.output) is a folder of files that are not compressed; "
          + "name the output NAME.tar.zst")
    }
    func megabytes(_ bytes: Int) -> String { "\((bytes + 999_999) / 1_000_000) MB" }
    if let limit = request.maximumMemory, expectedMemory > limit {
      throw PipelineError.doesNotFit(
        "this run needs about \(megabytes(expectedMemory)) of memory, --max-memory allows \(megabytes(limit)); "
          + "fewer or shorter samples (--samples, --seqlen) need less")
    }
    // The file before compression is the upper bound, whatever compression will gain.
    if let free = SystemFacts.freeSpace(at: request.output), free < plan.byteCount + (1 << 20) {
      throw PipelineError.doesNotFit(
        "\(request.output) needs up to \(megabytes(plan.byteCount)), its volume has \(megabytes(free)) free")
    }
  }

  /// What a person should know before the run.
  public var remarks: [String] {
    var remarks = plan.linears.compactMap { linear in linear.remark.map { (linear, $0) } }.reduce(into: [String: Int]())
    {
      $0[$1.1, default: 0] += 1
    }.map { "\($0.value) linears: \($0.key)" }.sorted()
    if case .folder(let folder) = model.checkpoint.format { remarks += folder.weights.warnings }
    remarks += model.checkpoint.adapterWarnings
    remarks += plan.decodedRemarks
    remarks += plan.dropped.map { "\($0.name) is not written: \($0.reason)" }
    if let texts { remarks += CalibrationAmount(texts, plan, model).remarks }
    return remarks
  }

  /// How much text the run is calibrated with, in words; `nil` if it needs none.
  public var calibrationAmount: String? {
    guard let windows else { return nil }
    let amount = "\(windows.windows.count) samples of \(windows.length) tokens"
    return request.recipe.samples == nil && SampleConvergence.numbers(model, plan, windows).count > 1
      ? "at most \(amount), chosen by convergence" : amount
  }

  /// What the artifact is expected to take; a target that leaves nothing for codes is refused.
  public func expectedSize() throws -> ExpectedSize {
    try plan.expectedSize(at: rate, members: sideFiles(), isCompressed: !request.output.hasSuffix("/"))
  }

  /// How many samples there are to be, where an earlier try of the run has found it.
  var convergence: SampleConvergence?
  /// What an earlier run measured of entropy-coded linears.
  var survey: EntropySurvey?
  /// What is aimed at in place of the recipe's rate.
  var aim: Rate?
  var fewestBits: Double?
  /// What entropy-coded linears are coded for; `nil` where there are none.
  var rate: Rate? { request.recipe.usesEntropyCoding ? aim ?? request.recipe.rate ?? Recipe.usualRate : nil }

  /// Another try at the same recipe, which misses its rate by less when it aims beside it; what the last one has
  /// measured is not measured again.
  public func aiming(at rate: Rate, after outcome: Outcome) -> QuantizationRun {
    var result = self
    result.aim = rate
    result.convergence = outcome.convergence
    result.survey = outcome.survey
    return result
  }

  /// Decides how many samples there are, where the recipe does not say: from here on all is as if it did.
  ///
  /// - Returns: whether there was anything to decide.
  mutating func settleSamples(progress: ProgressHandler) throws -> Bool {
    guard let windows, request.recipe.samples == nil else { return false }
    let found = try convergence ?? SampleConvergence.find(model, plan, windows, memory: memory, progress: progress)
    convergence = found
    request.recipe.samples = found.samples
    let chosen = windows.limited(to: found.samples)
    let texts = Self.texts(chosen, model)
    self.texts = texts
    calibration?.tokens = chosen.tokenCount
    calibration?.samples = chosen.windows.count
    calibration?.convergence = found.measured
    memory = Self.memory(texts, chosen, model, plan, request)
    return true
  }

  /// Decides how finely entropy-coded linears are coded.
  mutating func settleRates(progress: ProgressHandler) throws {
    guard let texts, let rate else { return }
    let survey =
      try survey
      ?? EntropySurvey(model, plan, texts: texts, memory: memory, spillFolder: spillFolder, progress: progress)
    self.survey = survey
    let settlement = try survey.settlement(for: rate, isAsked: aim == nil, plan, members: sideFiles())
    fewestBits = settlement.fewestBits
    plan = try QuantizationPlan(model, plan, codings: settlement.codings)
  }
}
