public import Checkpoints
public import Models
internal import StrictJSON
internal import Tensors

/// A model whose weights get another spelling: nothing is calibrated or rounded anew.
///
///     let conversion = try Conversion(try ModelInputs.openModel("model-awq"), to: .compressedTensors)
///     let summary = try conversion.write(to: "model-ct/")
///
/// One linear is in memory at a time; experts that are one tensor in full precision are one in memory too.
public struct Conversion: Sendable {
  /// The source.
  public let model: LanguageModel
  /// What its weights become.
  public let target: ConversionTarget
  /// What becomes of each tensor.
  public let plan: QuantizationPlan
  /// What a person should know before it is written: what is decoded and why, what is not the same bit for bit.
  public let remarks: [String]

  /// Decides what becomes of each tensor; nothing is written yet.
  public init(_ model: LanguageModel, to target: ConversionTarget) throws {
    self.model = model
    self.target = target
    do {
      if target == .compressedTensors, model.quantization == nil {
        throw PipelineError.input(
          "\(model.checkpoint.name) is in full precision, and a conversion quantizes nothing; "
            + "quantize it with `quantize MODEL -o OUT`")
      }
      plan = try QuantizationPlan(model, convertingTo: target)
      if target == .compressedTensors, plan.quantization["config_groups"]?.objectValue?.members.isEmpty ?? true {
        let reason = plan.decodedRemarks.first.map { ": \($0)" } ?? ""
        throw PipelineError.input(
          "\(model.checkpoint.name) holds no codes that compressed-tensors can spell\(reason); convert it to bf16")
      }
      var remarks = plan.decodedRemarks + (try plan.recodedRemarks(model))
      remarks += plan.dropped.map { "\($0.name) is not written: \($0.reason)" }
      remarks += model.quantization?.warnings ?? []
      if case .folder(let folder) = model.checkpoint.format { remarks += folder.weights.warnings }
      self.remarks = remarks
    } catch { throw PipelineError.wrapping(error) }
  }

  /// Linears whose codes stay, and linears that were stored quantized and are decoded.
  public var counts: (recoded: Int, decoded: Int) {
    var counts = (recoded: 0, decoded: 0)
    for step in plan.units.flatMap(\.steps) {
      switch step {
      case .recode: counts.recoded += 1
      case .expand: counts.decoded += 1
      case .stack(_, let experts): counts.decoded += experts.count
      case .keep, .quantize, .cacheScales: break
      }
    }
    return counts
  }

  /// Writes the model; what is there under the name stays until all is written.
  ///
  /// - Parameter path: `NAME.tar.zst` for an artifact, or `NAME/` for a folder, which must not be there, or be empty.
  public func write(to path: String, progress: ProgressHandler = { _ in }) throws -> ArtifactSummary {
    do {
      let choiceFile = plan.activationChoiceFile(model, isCalibrated: false)
      let output = ArtifactPlan(members: try members(), tensors: plan.tensors, lateMember: choiceFile)
      let identity = "convert " + target.rawValue
      if path.hasSuffix("/") {
        let writer = try FolderWriter(path: String(path.dropLast()), plan: output, fingerprint: identity)
        return try write(to: writer, progress)
      }
      return try write(to: try ArtifactWriter(path: path, plan: output, fingerprint: identity), progress)
    } catch PipelineError.interrupted {
      throw PipelineError.interrupted("stopped while converting; what was written is removed")
    } catch { throw PipelineError.wrapping(error) }
  }

  private func write<Writer: CheckpointWriter & ~Copyable>(
    to writer: consuming Writer, _ progress: ProgressHandler
  ) throws -> ArtifactSummary {
    do {
      let pass = LayerPass(converting: model, plan: plan)
      for (index, unit) in plan.units.enumerated() {
        progress(ProgressEvent("convert", done: index, of: plan.units.count, unit.title))
        _ = try pass.run(unit) { name, tensor in try writer.write(tensor, named: name) }
      }
    } catch {
      try writer.discard()
      throw error
    }
    let choiceFile = plan.activationChoiceFile(model, isCalibrated: false)
    return try writer.finish(
      late: choiceFile.map { plan.activationChoice(model, []).bytes(count: $0.byteCount) } ?? [])
  }

  private func members() throws -> [ArtifactPlan.Member] {
    var members = try model.checkpoint.members(
      quantization: target.elementType == nil ? plan.quantization : nil, elementType: target.elementType)
    // The recipe of an artifact is still how its weights came to be.
    if let recipe = try model.checkpoint.file("recipe.yaml") {
      members.append(.init(name: "recipe.yaml", bytes: recipe))
    }
    return members
  }
}

extension QuantizationPlan {
  /// Linears that the source holds quantized and that are decoded although nobody asked for it, summed up by reason.
  var decodedRemarks: [String] {
    Self.summed(
      units.flatMap(\.steps).flatMap { step -> [LinearPlan] in
        switch step {
        case .expand(let plan): [plan]
        case .stack(_, let experts): experts
        case .keep, .quantize, .recode, .cacheScales: []
        }
      }.compactMap { plan in plan.remark.map { (plan.name, $0) } })
  }

  /// Linears whose codes stay but whose scales are spelled with another number, summed up by reason.
  func recodedRemarks(_ model: LanguageModel) throws -> [String] {
    var found: [(String, String)] = []
    for case .recode(let plan) in units.flatMap(\.steps) {
      if let remark = try RecodedLinear(plan, model).remark() { found.append((plan.name, remark)) }
    }
    return Self.summed(found)
  }

  /// One sentence a reason, with the first name and how many there are.
  private static func summed(_ remarks: [(name: String, text: String)]) -> [String] {
    var order: [String] = []
    var names: [String: [String]] = [:]
    for (name, text) in remarks {
      if names[text] == nil { order.append(text) }
      names[text, default: []].append(name)
    }
    return order.map { text in
      let all = names[text] ?? []
      return "\(all.count) linear\(all.count == 1 ? "" : "s"), \(all[0])\(all.count == 1 ? "" : " the first"): \(text)"
    }
  }
}
