internal import Checkpoints
internal import Models
public import Tokenizers

extension ModelInputs {
  /// The model's own chat template: `chat_template.jinja`, else that of `tokenizer_config.json`.
  ///
  /// Texts rendered with it hold the model's special tokens: encode them with
  /// `encode(_:addingSpecialTokens: false)`, which finds those, and add no begin token where they have one.
  public func chatTemplate() throws -> ChatTemplate {
    let checkpoint = model.checkpoint
    do {
      let configuration = checkpoint.name + "/tokenizer_config.json"
      let options = try checkpoint.file("tokenizer_config.json").map { bytes in
        try TokenizerOptions(json: bytes, file: configuration)
      }
      let file = try checkpoint.file("chat_template.jinja").map { String(decoding: $0, as: UTF8.self) }
      guard let template = file ?? options?.chatTemplate else {
        throw PipelineError.input(
          "\(checkpoint.name) has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json); "
            + "give texts that are already rendered, as lines with \"text\" in a .jsonl file or as plain text")
      }
      return try ChatTemplate(
        recognizing: template, bos: options?.bosToken, eos: options?.eosToken,
        file: file == nil ? configuration : checkpoint.name + "/chat_template.jinja")
    } catch { throw PipelineError.wrapping(error) }
  }
}
