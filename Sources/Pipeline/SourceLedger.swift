internal import Checkpoints
internal import Models
internal import Quantization
internal import Reports

extension QuantizationPlan {
  /// What becomes of every tensor of the source.
  ///
  /// - Parameter folded: kept tensors whose values folding changed.
  func ledger(_ model: LanguageModel, folded: Set<String>) throws -> Report.Ledger {
    var entries: [Report.Ledger.Entry] = []
    var listed: Set<String> = []
    let reasons = Dictionary(
      linears.compactMap { plan in plan.reason.map { (model.weightTensor(ofLinear: plan.name), $0) } },
      uniquingKeysWith: { first, _ in first })
    /// A linear whose weights are several tensors, or part of one: the first names what was written.
    func linear(_ plan: LinearPlan, _ fate: Report.Ledger.Fate, _ written: [TensorInfo]) {
      for (index, info) in model.storedTensors(ofLinear: plan.name).enumerated() where listed.insert(info.name).inserted
      {
        entries.append(
          .init(
            info.name, fate, written: index == 0 ? written.map(\.name) : [],
            bytesWritten: index == 0 ? written.reduce(0) { $0 + $1.byteCount } : 0))
      }
    }
    var stacks: [String: [TensorInfo]] = [:]
    for step in units.flatMap(\.steps) {
      let written = try Self.outputs(step, model, types).map(\.0)
      switch step {
      case .keep(let name):
        let fate: Report.Ledger.Fate =
          folded.contains(name) ? .folded(reason: reasons[name]) : .copied(reason: reasons[name])
        entries.append(.init(name, fate, written: [name], bytesWritten: written.reduce(0) { $0 + $1.byteCount }))
      case .expand(let plan): linear(plan, .copied(reason: plan.reason.map { "decoded; " + $0 } ?? "decoded"), written)
      case .stack(_, let experts):
        if let plan = experts.first {
          linear(plan, .copied(reason: plan.reason.map { "decoded; " + $0 } ?? "decoded"), written)
        }
      // Made of no tensor of the source.
      case .cacheScales: break
      case .recode(let plan):
        let fate: Report.Ledger.Fate =
          plan.scheme.map { .quantized(scheme: $0.name + ", the source's codes") }
          ?? .copied(reason: plan.reason.map { "its codes kept; " + $0 })
        linear(plan, fate, written)
      case .quantize(let plan):
        guard let tensor = model.storedTensors(ofLinear: plan.name).first?.name, let scheme = plan.scheme else {
          continue
        }
        if model.linear(named: plan.name)?.stack != nil {
          stacks[tensor, default: []] += written
          if stacks[tensor]?.count ?? 0 > written.count { continue }
        }
        linear(plan, .quantized(scheme: scheme.name), written)
      }
    }
    // Experts of one tensor were written one by one.
    entries = entries.map { entry in
      guard let written = stacks[entry.name] else { return entry }
      return .init(
        entry.name, entry.fate, written: written.map(\.name), bytesWritten: written.reduce(0) { $0 + $1.byteCount })
    }
    for (name, reason) in dropped { entries.append(.init(name, .dropped(reason: reason))) }
    return try Report.Ledger(
      source: model.checkpoint.weights.tensors.map { ($0.name, $0.byteCount) }, entries: entries)
  }
}
