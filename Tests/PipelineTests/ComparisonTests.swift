import Foundation
import Models
import Pipeline
import Reports
import StrictJSON
import TestSupport
import Testing

@Suite struct ComparisonTests {
  /// The golden numbers are float64 over float32 logits; ours score the same logits, summed by other kernels.
  private static let goldenTolerance = 1e-4

  /// A model, and one near it: numbers that do not move when a quantizer changes.
  static func write(to folder: TestFolder) throws {
    var tiny = TinyModel()
    tiny.seed = 11
    tiny.tiesEmbeddings = false
    try tiny.write(to: folder("reference"))
    tiny.noise = 0.004
    try tiny.write(to: folder("candidate"))
  }

  static var windows: [[Int]] {
    var generator = SeededGenerator(seed: 5)
    return [40, 64, 17, 2, 51].map { count in (0..<count).map { _ in Int.random(in: 0..<257, using: &generator) } }
  }

  /// `QUANTIZE_RECORD=DIR swift test --filter ComparisonTests` writes what `Vectors/make_comparison.py` reads.
  @Test(.enabled(if: ProcessInfo.processInfo.environment["QUANTIZE_RECORD"] != nil, "records golden files on request"))
  func `the models of the golden file are written`() throws {
    let target = try #require(ProcessInfo.processInfo.environment["QUANTIZE_RECORD"])
    let folder = try TestFolder()
    try Self.write(to: folder)
    for name in ["reference", "candidate"] {
      try FileManager.default.copyItem(atPath: folder(name), toPath: target + "/" + name)
    }
    let windows = JSONValue.array(Self.windows.map { .array($0.map { .integer($0) }) })
    try Data(windows.compactText.utf8).write(to: URL(filePath: target + "/windows.json"))
  }

  @Test func `the comparison agrees with an independent program`() throws {
    let folder = try TestFolder()
    try Self.write(to: folder)
    let golden = try JSONValue(
      parsing: try Data(contentsOf: Bundle.module.bundleURL.appending(path: "Vectors/comparison.json")))
    func expected(_ name: String) throws -> Double { try #require(golden[name]?.doubleValue) }
    let windows = try #require(golden["windows"]?.arrayValue).map { ($0.arrayValue ?? []).compactMap(\.intValue) }
    #expect(windows == Self.windows)
    let result = try ModelComparison(
      reference: try ModelInputs.openModel(folder("reference")),
      candidate: try ModelInputs.openModel(folder("candidate")), windows: windows
    ).run { _, _, _ in }
    let found = try #require(result.summary.comparison)
    #expect(result.summary.tokens == golden["tokens"]?.intValue && result.summary.windows == 5)
    for (name, value) in [
      ("kl.mean", found.divergence.mean.value), ("kl.median", found.divergence.median.value),
      ("kl.p99", found.divergence.p99.value), ("kl.max", found.divergence.max.value),
      ("perplexity.reference", result.summary.referencePerplexity.value),
      ("perplexity.candidate", found.perplexity.value), ("perplexity.ratio", found.perplexityRatio.value),
      ("top1Agreement", found.top1Agreement.value),
    ] {
      let wanted = try expected(name)
      #expect(abs(value / wanted - 1) < Self.goldenTolerance, "\(name): \(value), expected \(wanted)")
    }
    #expect(found.divergence.mean.low ?? 0 < found.divergence.mean.value)
    #expect(found.divergence.mean.high ?? 0 > found.divergence.mean.value)
  }

  @Test func `a model differs in nothing from itself`() throws {
    let bench = try Workbench()
    let model = try ModelInputs.openModel(bench.model)
    let result = try ModelComparison(reference: model, candidate: model, windows: [[1, 2, 3], [4, 5, 6, 7]]).run {
      _, _, _ in
    }
    let found = try #require(result.summary.comparison)
    #expect(found.divergence.max.value == 0 && found.perplexityRatio.value == 1 && found.top1Agreement.value == 1)
    #expect(result.layers.count == 14)
    #expect(result.layers.allSatisfy { $0.sqnr == 200 && abs(($0.cosine ?? 0) - 1) < 1e-9 && $0.scheme == "BF16" })
  }

  @Test func `windows that go through a layer together do not change the result`() throws {
    let bench = try Workbench()
    let model = try ModelInputs.openModel(bench.model)
    let windows = (0..<30).map { index in (0..<100).map { ($0 * (index + 3)) % 257 } }
    func perplexity(_ windows: [[Int]]) throws -> Double {
      try ModelComparison(reference: model, candidate: nil, windows: windows).run { _, _, _ in }.summary
        .referencePerplexity.value
    }
    let logs = try windows.map { log(try perplexity([$0])) }
    // 3,000 rows are more than one chunk; kernels sum float32 in another order for another number of rows.
    #expect(abs(log(try perplexity(windows)) - logs.reduce(0, +) / 30) < 1e-5)
  }

  @Test func `models of different vocabularies and texts without a prediction are refused`() throws {
    var other = TinyModel()
    other.vocabularySize = 288
    let (one, two) = (try Workbench(), try Workbench(other))
    let models = (try ModelInputs.openModel(one.model), try ModelInputs.openModel(two.model))
    #expect(throws: ComparisonError.differentVocabularies(reference: 272, candidate: 288)) {
      _ = try ModelComparison(reference: models.0, candidate: models.1, windows: [[1, 2]])
    }
    #expect(throws: ComparisonError.nothingToScore) {
      _ = try ModelComparison(reference: models.0, candidate: nil, windows: [[1], []]).run { _, _, _ in }
    }
  }

  @Test func `the gate keeps its limits apart and a report says which was not held`() throws {
    let bench = try Workbench()
    try bench.quantize(bench.recipe())
    var request = Verification.Request(reference: bench.model, candidate: bench.folder("out.tar.zst"))
    request.texts = [bench.folder("text.txt")]
    request.tokens = 128
    request.sequenceLength = 64
    request.gate = Gate(maxKL: 0, maxPerplexityIncrease: 10, minTop1: 0)
    let report = try Verification.run(request)
    #expect(report.gate.map(\.verdict) == [.failed, .passed, .passed])
    #expect(report.text?.windowLength == 64 && report.text?.tokens == 128)
    try ReportFolder.write(report, to: bench.folder("report"))
    #expect(try bench.folder.names(in: "report") == ["junit.xml", "report.html", "report.json", "report.md"])
    let json = try bench.folder.json("report/report.json")
    #expect(json["gate"]?.arrayValue?.first?["verdict"] == "failed")
  }
}
