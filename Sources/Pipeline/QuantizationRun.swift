internal import Calibration
public import Checkpoints
internal import Foundation
internal import Kernels
public import Models
public import Reports
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

  /// What a run produced.
  public struct Outcome: Sendable {
    /// The artifact's size and digest.
    public let summary: ArtifactSummary
    /// What became of each fold.
    public let folds: [Report.Fold]
    /// Tokens that came to experts, if the model has some and was calibrated.
    public let experts: Report.Experts?
    /// What became of every tensor of the source.
    public let ledger: Report.Ledger
    /// What it was calibrated with.
    public let calibration: Report.Calibration?
    /// SHA-256 of the source's content.
    public let sourceDigest: String
    /// Time by stage.
    public let stages: [Report.Stage]
    /// What a person should know.
    public let warnings: [String]
    /// The recipe as the artifact holds it: with the number of samples that was found.
    let recipe: JSONValue
    /// How many samples it was calibrated with, where that was to be found.
    let convergence: SampleConvergence?
    /// What was measured of entropy-coded linears before they were coded.
    let survey: EntropySurvey?
    /// Expected bits a weight, where fewer would hold the limit of the divergence, but no fewer are spent.
    public let fewestBits: Double?
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
  private var texts: CalibrationTexts?
  private var calibration: Report.Calibration?
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
  private var convergence: SampleConvergence?
  /// What an earlier run measured of entropy-coded linears.
  private var survey: EntropySurvey?
  /// What is aimed at in place of the recipe's rate.
  private var aim: Rate?
  private var fewestBits: Double?
  /// What entropy-coded linears are coded for; `nil` where there are none.
  private var rate: Rate? { request.recipe.usesEntropyCoding ? aim ?? request.recipe.rate ?? Recipe.usualRate : nil }

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
  private mutating func settleSamples(progress: ProgressHandler) throws -> Bool {
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
  private mutating func settleRates(progress: ProgressHandler) throws {
    guard let texts, let rate else { return }
    let survey =
      try survey
      ?? EntropySurvey(model, plan, texts: texts, memory: memory, spillFolder: spillFolder, progress: progress)
    self.survey = survey
    let settlement = try survey.settlement(for: rate, isAsked: aim == nil, plan, members: sideFiles())
    fewestBits = settlement.fewestBits
    plan = try QuantizationPlan(model, plan, codings: settlement.codings)
  }

  /// Does the work.
  public func execute(progress: ProgressHandler = { _ in }) throws -> Outcome {
    do {
      var clock = StageClock()
      var settled = self
      if try settled.settleSamples(progress: progress) { clock.finish("choose the number of samples") }
      guard request.recipe.usesEntropyCoding else { return try settled.execute(&clock, progress: progress) }
      try settled.settleRates(progress: progress)
      clock.finish("measure rates and sensitivities")
      return try settled.execute(&clock, progress: progress)
    } catch { throw PipelineError.wrapping(error) }
  }

  private func execute(_ clock: inout StageClock, progress: ProgressHandler) throws -> Outcome {
    do {
      progress(ProgressEvent("digest", done: 0, of: 1, "reading \(model.checkpoint.name)"))
      // Damage is found now, while the bytes come by, not after hours, when the last layer is reached.
      let source = SourceDigest(model.checkpoint) { [model] name, tensor in
        try LayerPass.requireFinite(tensor, name, of: model)
        try Interruption.check("stopped while reading \(model.checkpoint.name); continue with --resume")
      }
      defer { source.cancel() }
      // Calibration reads layers in no order of tensors, and what an earlier run left must be this run's.
      let identity = texts != nil || request.resumes ? fingerprint(try source.value()) : nil
      if identity != nil { clock.finish("read and digest") }
      let members = try sideFiles()
      let output = ArtifactPlan(members: members, tensors: plan.tensors, lateMember: choiceFile)
      let isFolder = request.output.hasSuffix("/")
      let path = isFolder ? String(request.output.dropLast()) : request.output
      // A run that was stopped before it wrote anything left nothing to continue: it begins.
      if let identity, request.resumes, Self.hasJournal(path), !Self.isLaterTry(path, than: identity) {
        if isFolder {
          let writer = try FolderWriter.resume(path: path, plan: output, fingerprint: identity)
          return try write(to: writer, isIdentified: true, source, clock: &clock, progress: progress)
        }
        let writer = try ArtifactWriter.resume(path: path, plan: output, fingerprint: identity)
        return try write(to: writer, isIdentified: true, source, clock: &clock, progress: progress)
      }
      if isFolder {
        let writer = try FolderWriter(path: path, plan: output)
        return try write(to: writer, isIdentified: false, source, clock: &clock, progress: progress)
      }
      let writer = try ArtifactWriter(path: path, plan: output)
      return try write(to: writer, isIdentified: false, source, clock: &clock, progress: progress)
    } catch { throw PipelineError.wrapping(error) }
  }

  private static func hasJournal(_ path: String) -> Bool {
    let attributes = try? FileManager.default.attributesOfItem(atPath: path + ".journal")
    return (attributes?[.size] as? NSNumber)?.intValue ?? 0 > 0
  }

  /// Whether what was left is another try of this run at its rate: the search begins again, and comes there again.
  private static func isLaterTry(_ path: String, than identity: String) -> Bool {
    guard let data = FileManager.default.contents(atPath: path + ".journal"),
      let line = data.split(separator: UInt8(ascii: "\n"), maxSplits: 1).first,
      let fingerprint = (try? JSONValue(parsing: line))?["fingerprint"]?.stringValue
    else { return false }
    return fingerprint.hasPrefix(identity + aimMark)
  }

  private static let aimMark = " aiming at "

  /// Everything that decides the bytes: the same fingerprint, the same artifact.
  private func fingerprint(_ digest: String) -> String {
    let value: JSONValue = [
      "version": .string(SystemFacts.version), "source": .string(digest), "recipe": request.recipe.json,
      // An adapter of linears that are stored quantized changes no tensor of the source.
      "adapter": adapter,
      "calibration": .string(calibration?.digest ?? "none"),
      "arithmetic": .string(
        "\(InstructionSet.current.rawValue) \(MatrixProduct.blasCore) \(memory.chunkRows) \(memory.heldOutTokens)"),
    ]
    return value.compactText + (aim.map { Self.aimMark + "\($0)" } ?? "")
  }

  private func sideFiles() throws -> [ArtifactPlan.Member] {
    try model.checkpoint.members(quantization: plan.quantization)
      + [ArtifactPlan.Member(name: "recipe.yaml", bytes: Array(recipeText.utf8))]
  }

  /// The recipe, and the adapter that was merged before it.
  var recordedRecipe: JSONValue {
    guard !adapter.isNull, var object = request.recipe.json.objectValue else { return request.recipe.json }
    object["adapter"] = adapter
    return .object(object)
  }

  /// The recipe as it is stored; JSON is YAML.
  private var recipeText: String {
    var object: JSONObject = ["quantize_version": .string(SystemFacts.version)]
    for member in recordedRecipe.objectValue?.members ?? [] { object[member.name] = member.value }
    if let calibration {
      object["calibration_digest"] = .string(calibration.digest)
      object["calibration_tokens"] = .integer(calibration.tokens)
    }
    return JSONValue.object(object).prettyText
  }

  private func write<Writer: CheckpointWriter & ~Copyable>(
    to writer: consuming Writer, isIdentified: Bool, _ source: SourceDigest, clock: inout StageClock,
    progress: ProgressHandler
  ) throws -> Outcome {
    var isIdentified = isIdentified
    let outcomes: [UnitOutcome]
    do {
      outcomes = try writeUnits(to: &writer, &isIdentified, source, progress: progress)
      if !isIdentified { try writer.identify(fingerprint: fingerprint(try source.value())) }
      isIdentified = true
    } catch {
      // Nothing could continue it.
      if isIdentified { throw error }
      try writer.discard()
      throw error
    }
    clock.finish("quantize and write")
    let choice = plan.activationChoice(model, outcomes)
    let summary = try writer.finish(late: choiceFile.map { choice.bytes(count: $0.byteCount) } ?? [])
    clock.finish("finish the file")
    var calibration = calibration
    calibration?.int8Activations = Self.int8Activations(outcomes)
    return Outcome(
      summary: summary, folds: outcomes.flatMap(\.reportedFolds), experts: experts(outcomes),
      ledger: try plan.ledger(model, folded: Set(outcomes.flatMap(\.folded))), calibration: calibration,
      sourceDigest: try source.value(), stages: clock.stages,
      warnings: remarks + fewestBitsRemark + Self.unsettled(outcomes), recipe: recordedRecipe, convergence: convergence,
      survey: survey, fewestBits: fewestBits)
  }

  private var choiceFile: ArtifactPlan.LateMember? {
    plan.activationChoiceFile(model, isCalibrated: texts != nil)
  }

  /// Makes and writes all units of the plan that are not written yet.
  ///
  /// - Parameter isIdentified: whether the writer knows whose run it is: from when the digest is known.
  private func writeUnits<Writer: CheckpointWriter & ~Copyable>(
    to writer: inout Writer, _ isIdentified: inout Bool, _ source: SourceDigest, progress: ProgressHandler
  ) throws -> [UnitOutcome] {
    var outcomes = writer.notes.map { UnitOutcome($0) }
    let finished = outcomes.count
    func identify(_ writer: inout Writer) throws {
      guard !isIdentified, let digest = try source.known else { return }
      try writer.identify(fingerprint: fingerprint(digest))
      isIdentified = true
    }
    try identify(&writer)
    let pass = try LayerPass(
      model: model, plan: plan, texts: texts, memory: memory, spillFolder: spillFolder,
      quota: request.recipe.expertTokens)
    for (index, unit) in plan.units.enumerated() {
      try Interruption.check("stopped before \(unit.title); continue with --resume")
      progress(
        ProgressEvent(
          "quantize", done: index, of: plan.units.count, unit.title,
          facts: ["peak_memory": .integer(SystemFacts.peakMemory)]))
      if index < finished {
        // Written by the run before; only the hidden states have to come through.
        if unit.layer.map({ $0 < lastSearchedLayer }) ?? false { try pass.skip(unit) }
        continue
      }
      if !isIdentified { try source.require(unit.sources(in: model)) }
      let outcome = try pass.run(unit) { step in
        // A layer with hundreds of experts takes long; say how far it is.
        guard unit.steps.count > 64, step % 48 == 47 else { return }
        progress(
          ProgressEvent(
            "quantize", done: index, of: plan.units.count, "\(unit.title), \(step + 1) of \(unit.steps.count)",
            facts: ["peak_memory": .integer(SystemFacts.peakMemory)]))
      } write: { name, tensor in
        try writer.write(tensor, named: name)
      }
      outcomes.append(outcome)
      try writer.checkpoint(note: outcome.json)
      try identify(&writer)
    }
    return outcomes
  }

  private var fewestBitsRemark: [String] {
    guard let fewestBits else { return [] }
    return [
      "the limit of the KL divergence would allow less than the \((fewestBits * 100).rounded() / 100) bits a weight "
        + "that linears have now, the fewest that are spent"
    ]
  }

  /// Mean relative difference of the halves of the text above which more text would change what was found.
  private static let settled = 0.3

  private static func unsettled(_ outcomes: [UnitOutcome]) -> [String] {
    let differences = outcomes.compactMap { outcome in outcome.halfDifference.map { (outcome.unit, $0) } }
    guard let (unit, difference) = differences.max(by: { $0.1 < $1.1 }), difference > settled else { return [] }
    return [
      "two halves of the calibration text differ by \(Int((100 * difference).rounded())) % in what \(unit) reads: "
        + "more text, --samples or --seqlen would generalise better"
    ]
  }

  private static func int8Activations(_ outcomes: [UnitOutcome]) -> Report.Int8Activations? {
    let inputs = outcomes.flatMap(\.activations)
    guard !inputs.isEmpty else { return nil }
    let rounded = inputs.filter(\.isInt8).map(\.error)
    func shares(_ whole: (ActivationError) -> Double) -> [Double] {
      rounded.compactMap { whole($0) > 0 ? $0.activations / whole($0) : nil }
    }
    return Report.Int8Activations(
      measured: inputs.count, int8: rounded.count, added: .init(shares(\.weights)), noise: .init(shares(\.output)))
  }

  private func experts(_ outcomes: [UnitOutcome]) -> Report.Experts? {
    let routed = (texts?.search ?? []).reduce(0) { $0 + $1.count }
    let layers = outcomes.compactMap { outcome -> Report.Experts.Layer? in
      guard let layer = outcome.layer, let use = outcome.experts,
        case .mixture(let mixture) = model.configuration.layers[layer].feedForward
      else { return nil }
      let name = model.layerPrefix(layer) + mixture.prefix.split(separator: ".").dropLast().joined(separator: ".")
      return .init(
        name: name, routedTokens: routed, tokens: use.counts, quota: request.recipe.expertTokens,
        help: use.helped.mapValues { help in
          switch help {
          case .moreSamples(let tokens): .extraSamples(tokens: tokens)
          case .layerInput: .layerStatistics
          }
        })
    }
    return layers.isEmpty ? nil : Report.Experts(layers: layers)
  }

  /// Where hidden states wait if they must: on the output's volume, which was checked for room.
  private var spillFolder: String {
    let path = request.output.hasSuffix("/") ? String(request.output.dropLast()) : request.output
    let folder = URL(filePath: path).deletingLastPathComponent().path
    return folder.isEmpty ? "." : folder
  }

  private var lastSearchedLayer: Int { texts == nil ? 0 : model.configuration.layerCount }
}

/// Measures the stages of a run.
struct StageClock {
  private var last = SystemFacts.uptime
  private(set) var stages: [Report.Stage] = []

  mutating func finish(_ name: String) {
    let now = SystemFacts.uptime
    stages.append(Report.Stage(name: name, seconds: now - last))
    last = now
  }
}
