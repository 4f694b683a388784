internal import Checkpoints
internal import Foundation
internal import Models
internal import Reports
internal import StrictJSON
internal import Tensors

/// The work itself: one pass over the units, into a new artifact or one that an earlier run has begun.
extension QuantizationRun {
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

  /// Where hidden states wait if they must: on the output's volume, which was checked for room.
  var spillFolder: String {
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
