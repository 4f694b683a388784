import ArgumentParser
import Pipeline
import Reports
import StrictJSON

/// `quantize verify REF CAND`.
struct Verify: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Compare any two models on text: an accuracy-diff report with limits.",
    discussion: """
      Runs both models layer by layer in bounded memory; whole logits are never held. Reports KL divergence, \
      perplexity and its ratio, agreement of the likeliest token, and the output error of every linear, with 95 % bounds \
      by bootstrap over windows. Exit 4 if a limit is not held, 7 if the artifact is damaged.
      """)

  @Argument(help: "The model to judge by, in full precision or quantized.")
  var reference: String

  @Argument(help: "The model to be judged: a folder or an artifact.")
  var candidate: String

  @Option(
    help: ArgumentHelp("A LoRA adapter of PEFT, merged into REFERENCE as it is read.", valueName: "dir"))
  var adapter: String?

  @OptionGroup(title: "Text") var textOptions: TextOptions
  @OptionGroup(title: "Text") var arithmeticOptions: GenerationArithmeticOptions
  @OptionGroup(title: "Limits") var gateOptions: GateOptions

  @Option(help: ArgumentHelp("Folder to write report.json, .md, .html and junit.xml to.", valueName: "dir"))
  var report: String?

  @Option(help: ArgumentHelp("Seed of the bootstrap.", valueName: "n"))
  var seed: UInt64 = 0

  @OptionGroup(title: "General") var work: WorkOptions

  func validate() throws { try arithmeticOptions.check(against: textOptions) }

  func run() throws {
    work.apply()
    var request = Verification.Request(reference: reference, candidate: candidate)
    textOptions.apply(to: &request)
    request.roundsAsGeneration = arithmeticOptions.int8Activations
    request.adapter = adapter
    request.gate = try gateOptions.gate()
    request.seed = seed
    let progress = work.progress()
    let found = try Verification.run(request, progress: progress.show)
    progress.finish()
    if let report { try ReportFolder.write(found, to: report) }
    try Output.show(found, json: work.json, folder: report)
  }
}

/// `quantize evaluate MODEL`.
struct Evaluate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Perplexity of text under one model.",
    discussion: """
      Windows do not overlap and every token but a window's first is scored. Perplexities compare only for the same \
      tokenizer, text and window.
      """)

  @Argument(help: ModelHelp.any)
  var model: String

  @OptionGroup var adapterOptions: AdapterOptions
  @OptionGroup(title: "Text") var textOptions: TextOptions
  @OptionGroup(title: "Text") var arithmeticOptions: GenerationArithmeticOptions
  @OptionGroup(title: "General") var work: WorkOptions

  func validate() throws { try arithmeticOptions.check(against: textOptions) }

  func run() throws {
    work.apply()
    let progress = work.progress()
    let (result, arithmetic) = try Evaluation.run(
      model: model, adapter: adapterOptions.adapter,
      texts: textOptions.text.isEmpty ? ["builtin-heldout"] : textOptions.text,
      tokens: textOptions.tokens, sequenceLength: textOptions.window,
      roundsActivations: !textOptions.floatActivations, roundsAsGeneration: arithmeticOptions.int8Activations,
      progress: progress.show)
    progress.finish()
    let perplexity = result.referencePerplexity
    if work.json {
      print(
        JSONValue.object([
          "perplexity": [
            "value": .real(perplexity.value), "low": perplexity.low.map { .real($0) } ?? .null,
            "high": perplexity.high.map { .real($0) } ?? .null,
          ],
          "tokens": .integer(result.tokens), "windows": .integer(result.windows),
          "arithmetic": [
            "activations": .string(arithmetic.activations.rawValue),
            "keysAndValues": .string(arithmetic.keysAndValues.rawValue),
          ],
        ]).compactText)
    } else {
      var line = "perplexity \(Output.number(perplexity.value, 4))"
      if let low = perplexity.low, let high = perplexity.high {
        line += " (\(Output.number(low, 4))–\(Output.number(high, 4)))"
      }
      print(line + " on \(result.tokens) tokens in \(result.windows) windows")
      if arithmetic != Report.Arithmetic(activations: .float, keysAndValues: .float) { print(arithmetic.sentence) }
    }
  }
}
