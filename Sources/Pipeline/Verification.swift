internal import Checkpoints
internal import Foundation
internal import Kernels
public import Models
internal import Quantization
public import Reports
internal import StrictJSON
internal import Tensors

/// Compares two models on held-out text and writes down what it found.
public struct Verification: Sendable {
  /// What a person asked for.
  public struct Request: Sendable {
    /// The model in full precision: a folder, a file, an artifact, or a name in the cache.
    public var reference: String
    /// The model to be judged.
    public var candidate: String
    /// The folder of an adapter that is merged into the reference.
    public var adapter: String?
    /// Names or files of texts; see ``TextSource``.
    public var texts = ["builtin-heldout"]
    /// The most tokens of text.
    public var tokens = 16_384
    /// Tokens of a window; the model's positions bound it.
    public var sequenceLength = 512
    /// Limits.
    public var gate = Gate()
    /// Seed of the bootstrap.
    public var seed: UInt64 = 0
    /// Whether the candidate's activations are rounded as a runtime of its scheme does.
    public var roundsActivations = true
    /// Whether the candidate's activations are rounded as ``TextGeneration`` does by itself; then not as the scheme says.
    public var roundsAsGeneration = false

    /// A comparison of two models.
    public init(reference: String, candidate: String) {
      self.reference = reference
      self.candidate = candidate
    }
  }

  /// Finds out now what would otherwise end the comparison after the work: texts or a tokenizer that cannot be read.
  public static func checkInputs(_ request: Request, reference: LanguageModel) throws {
    do { _ = try windows(request, reference, reference) } catch { throw PipelineError.wrapping(error) }
  }

  /// Runs both models and measures; every byte of an artifact is checked first.
  public static func run(_ request: Request, progress: ProgressHandler = { _ in }) throws -> Report {
    do {
      var clock = StageClock()
      let reference = try ModelInputs.openModel(request.reference, adapter: request.adapter)
      var candidate = try ModelInputs.openModel(request.candidate)
      candidate.rounding = RuntimeRounding(
        activations: request.roundsActivations && !request.roundsAsGeneration, cache: true,
        products: request.roundsAsGeneration ? .chosen : .float)
      if request.roundsAsGeneration { try candidate.requireIntegerProducts() }
      var report = Report(
        version: SystemFacts.version, seed: request.seed,
        reference: .init(
          name: try reference.reportName(), digest: try reference.checkpoint.contentDigest(),
          scheme: reference.quantizedSchemeName),
        candidate: .init(name: candidate.checkpoint.name, digest: "", format: "folder"),
        machine: SystemFacts.machine)
      switch candidate.checkpoint.format {
      case .artifact(let artifact):
        try artifact.check { done, total in
          progress(ProgressEvent("check", done: done, of: total, "reading every byte of the artifact"))
        }
        report.integrity = .intact(parts: artifact.members.count + artifact.tensors.count)
        report.candidate.digest = try artifact.fileSHA256()
        report.candidate.format = "artifact"
      case .folder:
        report.candidate.digest = try candidate.checkpoint.contentDigest()
      }
      clock.finish("check")
      let (windows, text) = try windows(request, reference, candidate)
      report.text = text
      let comparison = try ModelComparison(
        reference: reference, candidate: candidate, windows: windows, seed: request.seed)
      let result = try comparison.run { done, total, what in
        try Interruption.check("stopped before \(what)")
        progress(ProgressEvent("verify", done: done, of: total, what))
      }
      clock.finish("compare")
      report.accuracy = result.summary
      report.layers = result.layers
      if let measured = result.summary.comparison { report.gate = request.gate.checks(of: measured) }
      report.size = try size(of: candidate, reference)
      report.arithmetic = candidate.arithmetic
      if report.arithmetic?.activations == .float, candidate.quantizesActivations {
        report.warnings.append(
          "activations were float in both models; a runtime that rounds them, as this scheme says, loses a little more")
      }
      report.warnings += reference.checkpoint.adapterWarnings
      report.recipe = try recipe(of: candidate)
      report.time = clock.stages
      report.peakMemory = SystemFacts.peakMemory
      return report
    } catch { throw PipelineError.wrapping(error) }
  }

  private static func windows(
    _ request: Request, _ reference: LanguageModel, _ candidate: LanguageModel
  ) throws -> (windows: [[Int]], text: Report.Text) {
    let inputs = try ModelInputs(reference)
    let text = try TextSource(request.texts, chatTemplate: { try inputs.chatTemplate() })
    let positions = min(reference.configuration.maximumPositions, candidate.configuration.maximumPositions)
    let length = min(request.sequenceLength, request.tokens, positions)
    let windows = try TokenWindows(
      text, tokenizer: inputs.tokenizer, separator: inputs.separator, begin: inputs.windowBegin, length: length,
      limit: max(1, request.tokens / length))
    return (
      windows.windows,
      .init(source: text.name, tokens: windows.tokenCount, windowLength: length, digest: text.digest)
    )
  }

  private static func recipe(of candidate: LanguageModel) throws -> JSONValue {
    guard let bytes = try candidate.checkpoint.file("recipe.yaml") else { return .null }
    return (try? JSONValue(parsing: bytes)) ?? .string(String(decoding: bytes, as: UTF8.self))
  }

  /// Bytes on disk of the candidate, over the weights of the reference.
  private static func size(of candidate: LanguageModel, _ reference: LanguageModel) throws -> Report.Size {
    let weights = reference.checkpoint.weights.tensors.reduce(0) { $0 + ($1.shape.elementCount ?? 0) }
    let referenceBytes = reference.checkpoint.weights.tensors.reduce(0) { $0 + $1.byteCount }
    var bytes = candidate.checkpoint.weights.tensors.reduce(0) { $0 + $1.byteCount }
    var linearBytes = 0
    var linearWeights = 0
    for name in candidate.linearNames where candidate.quantization?.scheme(of: name) != nil {
      let (rows, columns) = candidate.shape(ofLinear: name)
      linearWeights += rows * columns
      for info in candidate.storedTensors(ofLinear: name) {
        if case .artifact(let artifact) = candidate.checkpoint.format {
          linearBytes += try artifact.compressedByteCount(of: info.name)
        } else {
          linearBytes += info.byteCount
        }
      }
    }
    if case .artifact(let artifact) = candidate.checkpoint.format {
      let attributes = try FileManager.default.attributesOfItem(atPath: artifact.path)
      bytes = (attributes[.size] as? NSNumber)?.intValue ?? bytes
    }
    return Report.Size(
      bytes: bytes, bitsPerWeight: Double(bytes * 8) / Double(max(1, weights)),
      weightsBitsPerWeight: linearWeights > 0 ? Double(linearBytes * 8) / Double(linearWeights) : nil,
      referenceBytes: referenceBytes)
  }
}

extension LanguageModel {
  /// The scheme of the first linear that is stored quantized.
  var quantizedSchemeName: String? {
    quantization.flatMap { stored in linearNames.lazy.compactMap { stored.scheme(of: $0)?.name }.first }
  }

  /// What is rounded besides the weights.
  var arithmetic: Report.Arithmetic {
    Report.Arithmetic(
      activations: rounding.products != .float && hasIntegerProducts
        ? .int8 : quantizesActivations && rounding.activations ? .rounded : .float,
      keysAndValues: keepsRoundedCache && rounding.cache ? .rounded : .float,
      floatLinears: rounding.products == .chosen ? quantization?.activationChoice?.floats.count : nil)
  }

  /// Whether keys and values are kept in few bits.
  var keepsRoundedCache: Bool {
    quantization?.cache != nil
      && configuration.layers.contains { if case .grouped = $0.attention { true } else { false } }
  }

  /// Whether a runtime would quantize activations too.
  var quantizesActivations: Bool {
    guard let quantization else { return false }
    return linearNames.contains { quantization.scheme(of: $0).map { $0.activations != .none } ?? false }
  }
}

/// Where a report is written.
public enum ReportFolder {
  /// Writes `report.json`, `report.md`, `report.html` and `junit.xml` into a folder, made if it is not there.
  public static func write(_ report: Report, to path: String) throws {
    let folder = URL(filePath: path)
    do {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      for (name, text) in [
        ("report.json", report.json().prettyText), ("report.md", report.markdown()),
        ("report.html", report.html()), ("junit.xml", report.junit()),
      ] {
        try Data(text.utf8).write(to: folder.appending(path: name), options: .atomic)
      }
    } catch {
      let sentence = "cannot write the report to \(path): \(error.localizedDescription)"
      let isFull = (error as? CocoaError)?.code == .fileWriteOutOfSpace
      throw isFull ? PipelineError.doesNotFit(sentence) : PipelineError.input(sentence)
    }
  }

  /// The folder beside an artifact: `NAME.report`.
  public static func beside(_ output: String) -> String {
    let trimmed = output.hasSuffix("/") ? String(output.dropLast()) : output
    return (trimmed.hasSuffix(".tar.zst") ? String(trimmed.dropLast(8)) : trimmed) + ".report"
  }
}
