internal import Models
public import Reports

/// Perplexity of text under one model.
public enum Evaluation {
  /// Measures; see ``Verification/Request`` for the parameters.
  public static func run(
    model name: String, adapter: String? = nil, texts: [String], tokens: Int, sequenceLength: Int,
    progress: ProgressHandler = { _ in }
  ) throws -> ComparisonSummary {
    do {
      let model = try ModelInputs.openModel(name, adapter: adapter)
      let inputs = try ModelInputs(model)
      let length = min(sequenceLength, tokens, model.configuration.maximumPositions)
      let windows = try TokenWindows(
        try TextSource(texts, chatTemplate: { try inputs.chatTemplate() }), tokenizer: inputs.tokenizer,
        separator: inputs.separator, begin: inputs.windowBegin,
        length: length,
        limit: max(1, tokens / length))
      return try ModelComparison(reference: model, candidate: nil, windows: windows.windows).run {
        try Interruption.check("stopped before \($2)")
        progress(ProgressEvent("evaluate", done: $0, of: $1, $2))
      }.summary
    } catch { throw PipelineError.wrapping(error) }
  }
}
