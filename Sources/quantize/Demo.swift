import ArgumentParser
import Calibration
import Foundation
import Models
import Pipeline
import Quantization
import Reports

/// `quantize demo`: the main job on the embedded model.
struct Demo: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "The main job on the embedded model, report included.",
    discussion: """
      Quantizes the pocket model (3.7 million parameters, trained for this project) to 4-bit integers by \
      three methods, to entropy-coded integers of 4 and 3 bits, and to float8; verifies each on stories it was not calibrated with; and lets the 4-bit artifact tell \
      one. Writes into a folder, demo/ unless told otherwise.
      """)

  @Option(name: .shortAndLong, help: ArgumentHelp("The folder to write to.", valueName: "dir"))
  var output = "demo"

  @Option(help: ArgumentHelp("Another model folder for the same comparison.", valueName: "model"))
  var model: String?

  @OptionGroup(title: "General") var work: WorkOptions

  /// What is tried: a title, a scheme, a method.
  private static let trials: [(String, Recipe)] = [
    ("W4A16_ASYM g128 awq+gptq", recipe(.w4a16Asymmetric, .awqGPTQ)),
    ("W4A16_ASYM g128 awq", recipe(.w4a16Asymmetric, .awq)),
    ("W4A16_ASYM g128 rtn", recipe(.w4a16Asymmetric, .roundToNearest)),
    ("EC 4 bits", recipe(.entropyCoded(bits: 8), .awqGPTQ)),
    ("EC 3 bits", recipe(.entropyCoded(bits: 8), .awqGPTQ, rate: .bits(3))),
    ("FP8_DYNAMIC gptq", recipe(.fp8Dynamic, .gptq)),
  ]

  func run() throws {
    work.apply()
    let model = model ?? DemoModel.path
    do { try FileManager.default.createDirectory(atPath: output, withIntermediateDirectories: true) } catch {
      throw PipelineError.input("cannot make \(output): \(error.localizedDescription)")
    }
    let progress = work.progress()
    var rows: [(String, Report)] = []
    for (title, recipe) in Self.trials {
      let name = title.lowercased().replacingOccurrences(of: " ", with: "-")
      let path = "\(output)/\(name).tar.zst"
      try Output.remove(path)
      let run = try QuantizationRun(.init(model: model, output: path, recipe: recipe))
      let outcome = try run.execute(progress: progress.show)
      var verification = Verification.Request(reference: model, candidate: path)
      verification.texts = ["stories-heldout"]
      verification.sequenceLength = 256
      // All there is: the bounds of the smallest differences need it.
      verification.tokens = .max
      var report = try Verification.run(verification, progress: progress.show)
      report.add(outcome)
      try ReportFolder.write(report, to: ReportFolder.beside(path))
      rows.append((title, report))
    }
    progress.finish()
    show(rows)
    try tell("\(output)/w4a16_asym-g128-awq+gptq.tar.zst")
  }

  private func show(_ rows: [(String, Report)]) {
    func pad(_ text: String, _ width: Int) -> String { text.padding(toLength: width, withPad: " ", startingAt: 0) }
    print(
      pad("", 27) + pad("size", 10) + pad("perplexity", 12) + pad("increase (95 %)", 24) + pad("mean KL (95 %)", 26)
        + "same top token")
    for (title, report) in rows {
      guard let accuracy = report.accuracy, let comparison = accuracy.comparison else { continue }
      let ratio = comparison.perplexityRatio
      let kl = comparison.divergence.mean
      print(
        pad(title, 27) + pad(Output.size(report.size?.bytes ?? 0), 10)
          + pad(Output.number(comparison.perplexity.value, 3), 12)
          + pad(
            "\(Output.percent(ratio.value - 1)) (\(Output.number((ratio.low ?? 1) * 100 - 100, 2))…\(Output.number((ratio.high ?? 1) * 100 - 100, 2)))",
            24)
          + pad(
            "\(Output.number(kl.value, 5)) (\(Output.number(kl.low ?? 0, 5))…\(Output.number(kl.high ?? 0, 5)))", 26)
          + Output.percent(comparison.top1Agreement.value, 1))
    }
    if let report = rows.first?.1, let accuracy = report.accuracy {
      print(
        "full precision             \(Output.size(report.size?.referenceBytes ?? 0))   \(Output.number(accuracy.referencePerplexity.value, 3))"
          + "  on \(accuracy.tokens) tokens of held-out stories")
    }
    print("reports: \(output)/*.report/report.html")
  }

  /// Shows that the artifact runs.
  private func tell(_ path: String) throws {
    print("\nThe 4-bit artifact tells a story:\n")
    var text = "Once upon a time"
    _ = try TextGeneration.run(
      model: path, prompt: text, maximumTokens: 120, sampling: Sampling(temperature: 0.7, topP: 0.9, seed: 7)
    ) { text += $0 }
    print(text)
  }

  private static func recipe(_ scheme: QuantizationScheme, _ method: Method, rate: Rate? = nil) -> Recipe {
    Recipe(
      scheme: scheme, method: method, rate: rate, calibration: ["stories"], samples: 128, sequenceLength: 256)
  }
}
