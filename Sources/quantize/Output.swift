import Foundation
import Pipeline
import Reports
import StrictJSON

/// What commands print, and the paths they write to.
enum Output {
  static func trimmed(_ path: String) -> String { path.hasSuffix("/") ? String(path.dropLast()) : path }

  /// Refuses an output that cannot be meant.
  static func check(_ path: String, force: Bool) throws {
    guard path.hasSuffix("/") || path.hasSuffix(".tar.zst") else {
      throw PipelineError.usage("-o \(path): expected NAME.tar.zst, or NAME/ for a folder")
    }
    let name = trimmed(path)
    var isFolder: ObjCBool = false
    guard !name.isEmpty, FileManager.default.fileExists(atPath: name, isDirectory: &isFolder) else {
      if name.isEmpty { throw PipelineError.usage("-o \(path): expected NAME.tar.zst, or NAME/ for a folder") }
      return
    }
    guard force else {
      throw PipelineError.usage("\(name) is there already; choose another name or pass --force")
    }
    // --force replaces what this program wrote, never a home directory or the model itself.
    guard isFolder.boolValue == path.hasSuffix("/") else {
      throw PipelineError.usage("\(name) is a \(isFolder.boolValue ? "folder" : "file"); choose another name")
    }
    guard !isFolder.boolValue || FileManager.default.fileExists(atPath: name + "/digests.json") else {
      throw PipelineError.usage(
        "\(name) is a folder that this program has not written; remove it, or choose another name")
    }
  }

  /// Refuses an output that would not fit its volume.
  static func checkSpace(for byteCount: Int, at path: String) throws {
    guard let free = SystemFacts.freeSpace(at: path), free < byteCount + (1 << 20) else { return }
    throw PipelineError.doesNotFit(
      "\(path) needs up to \(size(byteCount)), its volume has \(size(free)) free")
  }

  /// Whether an earlier run has finished this output.
  static func isFinished(_ path: String) -> Bool {
    let name = trimmed(path)
    return FileManager.default.fileExists(atPath: name) && !FileManager.default.fileExists(atPath: name + ".journal")
  }

  static func remove(_ path: String) throws {
    let path = trimmed(path)
    guard FileManager.default.fileExists(atPath: path) else { return }
    do { try FileManager.default.removeItem(atPath: path) } catch {
      throw PipelineError.input("cannot replace \(path): \(error.localizedDescription)")
    }
  }

  /// Such as `3.42 MB`.
  static func size(_ bytes: Int) -> String {
    let (value, unit): (Double, String) =
      switch bytes {
      case 1_000_000_000...: (Double(bytes) / 1e9, "GB")
      case 1_000_000...: (Double(bytes) / 1e6, "MB")
      default: (Double(bytes) / 1e3, "kB")
      }
    return number(value, value < 10 ? 2 : 1) + " " + unit
  }

  static func number(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }

  static func percent(_ share: Double, _ digits: Int = 2) -> String { number(share * 100, digits) + " %" }

  /// Prints a report's summary, and throws if a limit was not held.
  static func show(_ report: Report, json: Bool, folder: String?) throws {
    if json { print(report.json().compactText) } else { printSummary(report, folder: folder) }
    let failed = report.gate.filter { $0.verdict == .failed }
    if !failed.isEmpty {
      throw Failure.accuracy(
        "accuracy is worse than allowed: "
          + failed.map { "\($0.measure.rawValue) is \(number($0.value, 4)), the limit is \(number($0.limit, 4))" }
          .joined(separator: "; "))
    }
  }

  private static func printSummary(_ report: Report, folder: String?) {
    print(report.candidate.name)
    if let size = report.size {
      let share = Double(size.bytes) / Double(max(1, size.referenceBytes))
      var line = "  size         \(self.size(size.bytes)), \(percent(share, 1)) of \(self.size(size.referenceBytes))"
      if let bits = size.weightsBitsPerWeight { line += "; quantized linears \(number(bits, 2)) bits a weight on disk" }
      print(line)
    }
    if let accuracy = report.accuracy, let comparison = accuracy.comparison {
      print(
        "  perplexity   \(text(accuracy.referencePerplexity, 3)) → \(text(comparison.perplexity, 3)), "
          + "×\(text(comparison.perplexityRatio, 4))")
      print(
        "  KL           mean \(text(comparison.divergence.mean, 5)), 99 % \(number(comparison.divergence.p99.value, 4))"
          + ", largest \(number(comparison.divergence.max.value, 3)) nats")
      print("  top token    \(percent(comparison.top1Agreement.value, 1)) the same")
      print(
        "  measured on  \(accuracy.tokens) tokens in \(accuracy.windows) windows of \(report.text?.source ?? "text")")
    }
    if let arithmetic = report.arithmetic,
      arithmetic != Report.Arithmetic(activations: .float, keysAndValues: .float)
    {
      print("  arithmetic   \(arithmetic.sentence)")
    }
    let kept = report.folds.count { $0.kept }
    if !report.folds.isEmpty { print("  folds        \(kept) of \(report.folds.count) kept") }
    for check in report.gate {
      print(
        "  limit        \(check.measure.rawValue) \(number(check.value, 5)), allowed \(number(check.limit, 5)): \(check.verdict.rawValue)"
      )
    }
    for warning in report.warnings { print("  note         \(warning)") }
    if let folder { print("  report       \(folder)/report.html") }
  }

  private static func text(_ estimate: Estimate, _ digits: Int) -> String {
    guard let low = estimate.low, let high = estimate.high else { return number(estimate.value, digits) }
    return "\(number(estimate.value, digits)) (\(number(low, digits))–\(number(high, digits)))"
  }
}
