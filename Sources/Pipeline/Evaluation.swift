internal import Kernels
internal import Models
public import Reports

/// Perplexity of text under one model.
public enum Evaluation {
  /// Measures, and says what was rounded besides the weights; see ``Verification/Request`` for the parameters.
  public static func run(
    model name: String, adapter: String? = nil, texts: [String], tokens: Int, sequenceLength: Int,
    roundsActivations: Bool = true, roundsAsGeneration: Bool = false,
    progress: ProgressHandler = { _ in }
  ) throws -> (summary: ComparisonSummary, arithmetic: Report.Arithmetic) {
    do {
      var model = try ModelInputs.openModel(name, adapter: adapter)
      model.rounding = RuntimeRounding(
        activations: roundsActivations && !roundsAsGeneration, cache: true,
        products: roundsAsGeneration ? .chosen : .float)
      if roundsAsGeneration { try model.requireIntegerProducts() }
      let inputs = try ModelInputs(model)
      let length = min(sequenceLength, tokens, model.configuration.maximumPositions)
      let windows = try TokenWindows(
        try TextSource(texts, chatTemplate: { try inputs.chatTemplate() }), tokenizer: inputs.tokenizer,
        separator: inputs.separator, begin: inputs.windowBegin,
        length: length,
        limit: max(1, tokens / length))
      let summary = try ModelComparison(reference: model, candidate: nil, windows: windows.windows).run {
        try Interruption.check("stopped before \($2)")
        progress(ProgressEvent("evaluate", done: $0, of: $1, $2))
      }.summary
      return (summary, model.arithmetic)
    } catch { throw PipelineError.wrapping(error) }
  }
}
