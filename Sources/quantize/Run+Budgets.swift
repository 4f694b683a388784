import Checkpoints
import Foundation
import Pipeline
import Reports

extension Run {
  /// Most times that an artifact is made to meet a budget.
  private static let tries = 6

  /// Makes the artifact; one that is larger than `--target-size` is made again with fewer bits, and none is left that is.
  func made(_ run: QuantizationRun, _ progress: Progress) throws -> QuantizationRun.Outcome {
    var outcome = try run.execute(progress: progress.show)
    guard case .bytes(let target)? = run.request.recipe.rate else { return outcome }
    var (aim, smallest, last) = (target, outcome.summary.byteCount, "")
    // As coarse as anything is coded, another aim changes nothing.
    for _ in 1..<Self.tries where outcome.summary.byteCount > target && outcome.summary.sha256 != last {
      // A little more than the excess, which does not shrink in proportion.
      aim -= (outcome.summary.byteCount - target) * 5 / 4 + 1
      progress.note("\(outcome.summary.byteCount) bytes are more than the target of \(target); aiming at \(aim)")
      last = outcome.summary.sha256
      try Output.remove(output)
      outcome = try run.aiming(at: .bytes(aim), after: outcome).execute(progress: progress.show)
      smallest = min(smallest, outcome.summary.byteCount)
    }
    guard outcome.summary.byteCount <= target else {
      try Output.remove(output)
      // Another aim has other steps, and its bytes differ a little.
      let enough = smallest + smallest / 200
      throw PipelineError.doesNotFit(
        "\(Output.trimmed(output)) is not written: the smallest that was made of it has \(smallest) bytes, the target "
          + "is \(target); give --target-size \(enough) or more")
    }
    return outcome
  }

  /// Makes and verifies the artifact; with an accuracy budget, again until its measured divergence is just below the
  /// limit: the smallest file that holds it.
  func report(of run: QuantizationRun, _ request: Verification.Request, _ progress: Progress) throws -> Report {
    var outcome = try made(run, progress)
    guard case .divergence(let limit)? = run.request.recipe.rate else {
      var report = try verified(request, progress)
      report.add(outcome)
      return report
    }
    var report = try verified(request, progress, limit: limit)
    func tryAgain(_ aim: Double) throws {
      try Output.remove(output)
      outcome = try run.aiming(at: .divergence(aim), after: outcome).execute(progress: progress.show)
      report = try verified(request, progress, limit: limit)
    }
    var search = DivergenceSearch(limit: limit)
    var aim = limit
    var held: (aim: Double, bytes: Int)?
    for _ in 1..<Self.tries {
      guard let measured = report.accuracy?.comparison?.divergence.mean.value, measured > 0 else { break }
      if measured <= limit {
        if outcome.summary.byteCount < held?.bytes ?? .max { held = (aim, outcome.summary.byteCount) }
        guard !search.isSpent(measured), outcome.fewestBits == nil else { break }
      }
      aim = search.next(after: aim, measured: measured)
      progress.note("KL \(measured) for a limit of \(limit); coding again for an expected \(aim)")
      let last = outcome.summary.sha256
      try tryAgain(aim)
      // As coarse or as fine as anything is coded: another aim changes nothing.
      if outcome.summary.sha256 == last { break }
    }
    // The last try may be worse than one before.
    if let held, outcome.summary.byteCount > held.bytes || !report.holds(limit) {
      progress.note("an earlier try was smaller and held the limit; making it again")
      try tryAgain(held.aim)
    }
    report.add(outcome)
    return report
  }

  /// - Parameter limit: of the divergence, where it is what the artifact is made for.
  private func verified(
    _ request: Verification.Request, _ progress: Progress, limit: Double? = nil
  ) throws -> Report {
    do { return try Verification.run(request, progress: progress.show) } catch PipelineError.interrupted(let what) {
      guard let limit else {
        throw PipelineError.interrupted(
          "\(what); \(request.candidate) is complete, compare it with `quantize verify \(model) \(request.candidate)`")
      }
      throw PipelineError.interrupted(
        "\(what); whether \(request.candidate) holds the limit of \(limit) is not known, and a smaller one may: compare "
          + "it with `quantize verify`, or search again with --force")
    }
  }
}

/// Looks for the expected divergence whose measured one is just below a limit.
private struct DivergenceSearch {
  private typealias Point = (aim: Double, measured: Double)
  private let limit: Double
  private var attempts = 0
  /// The coarsest that held the limit, and the finest that did not.
  private var (below, above): (Point?, Point?)

  init(limit: Double) { self.limit = limit }

  /// Whether so little is left that another try gains nothing.
  func isSpent(_ measured: Double) -> Bool { measured >= 0.85 * limit }

  mutating func next(after aim: Double, measured: Double) -> Double {
    attempts += 1
    if measured <= limit { below = (aim, measured) } else { above = (aim, measured) }
    guard let below, let above, below.aim < above.aim, below.measured < above.measured else {
      // What the prediction misses is much the same at the next rate; where it is not, more and more is left unspent.
      return aim * (1 - 0.04 * Double(attempts)) * limit / measured
    }
    // Between the two, along a straight line of logarithms.
    let share = log(0.93 * limit / below.measured) / log(above.measured / below.measured)
    return below.aim * pow(above.aim / below.aim, min(max(share, 0.1), 0.9))
  }
}

extension Report {
  /// Whether the mean divergence is at most a limit.
  fileprivate func holds(_ limit: Double) -> Bool {
    accuracy?.comparison.map { $0.divergence.mean.value <= limit } ?? false
  }
}

extension ExpectedSize {
  /// Bytes of the artifact where something is known of them.
  var byteCount: Int? {
    switch self {
    case .about(let bytes, _), .atMost(let bytes, _): bytes
    case .uncompressed, .unknown: nil
    }
  }

  var phrase: String {
    switch self {
    case .uncompressed(let bytes): "\(Output.size(bytes)) before compression"
    case .about(let bytes, let bits): "about \(Output.size(bytes)), at \(Output.number(bits, 2)) bits a weight"
    case .atMost(let bytes, let bits):
      "at most \(Output.size(bytes)), which leaves about \(Output.number(bits, 2)) bits a weight"
    case .unknown(let bytes):
      "not known before rates are measured; about \(Output.size(bytes)) if all weights took 8 bits"
    }
  }
}
