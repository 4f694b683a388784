import Checkpoints
import Pipeline
import Reports

extension Run {
  /// Most times that an artifact is made to meet a budget.
  private static let tries = 6

  /// Makes the artifact; one that is larger than `--target-size` is made again with fewer bits.
  func made(
    _ run: QuantizationRun, _ progress: Progress
  ) throws -> (outcome: QuantizationRun.Outcome, run: QuantizationRun) {
    var run = run
    var outcome = try run.execute(progress: progress.show)
    guard case .bytes(let target)? = run.request.recipe.rate else { return (outcome, run) }
    var aim = target
    for _ in 1..<Self.tries where outcome.summary.byteCount > target {
      // A little more than the excess, which does not shrink in proportion.
      aim -= (outcome.summary.byteCount - target) * 5 / 4 + 1
      progress.note("\(outcome.summary.byteCount) bytes are more than the target of \(target); aiming at \(aim)")
      try Output.remove(output)
      run = run.with(rate: .bytes(aim), after: outcome)
      outcome = try run.execute(progress: progress.show)
    }
    guard outcome.summary.byteCount <= target else {
      throw PipelineError.doesNotFit(
        "\(Output.trimmed(output)) has \(outcome.summary.byteCount) bytes after \(Self.tries) tries, the target is \(target)"
      )
    }
    return (outcome, run)
  }

  /// Makes and verifies the artifact; with an accuracy budget, again until its measured divergence is just below the
  /// limit: the smallest file that holds it.
  func report(of run: QuantizationRun, _ request: Verification.Request, _ progress: Progress) throws -> Report {
    var (run, outcome) = (run, try made(run, progress).outcome)
    var report = try verified(request, progress)
    guard case .divergence(let limit)? = run.request.recipe.rate else {
      report.add(outcome, of: run)
      return report
    }
    var aim = limit
    for attempt in 1..<Self.tries {
      guard let measured = report.accuracy?.comparison?.divergence.mean.value, measured > 0 else { break }
      guard measured > limit || measured < 0.85 * limit else { break }
      // What the prediction misses is much the same at the next rate; where it is not, more and more is left unspent.
      aim *= (1 - 0.04 * Double(attempt)) * limit / measured
      progress.note("KL \(measured) for a limit of \(limit); coding again for an expected \(aim)")
      try Output.remove(output)
      run = run.with(rate: .divergence(aim), after: outcome)
      outcome = try run.execute(progress: progress.show)
      report = try verified(request, progress)
    }
    report.add(outcome, of: run)
    return report
  }

  private func verified(_ request: Verification.Request, _ progress: Progress) throws -> Report {
    do { return try Verification.run(request, progress: progress.show) } catch PipelineError.interrupted(let what) {
      throw PipelineError.interrupted(
        "\(what); \(request.candidate) is complete, compare it with `quantize verify \(model) \(request.candidate)`")
    }
  }
}
