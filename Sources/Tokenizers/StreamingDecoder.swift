/// Turns tokens into text while a model writes them.
///
/// Nothing is given out that a later token could change: the bytes of an unfinished character wait for the rest, and
/// a leading space that the tokenizer adds is taken away once, at the start. All answers together, with that of
/// ``finish()``, are what ``Tokenizer/decode(_:skippingSpecialTokens:)`` gives, except that an invalid run of byte
/// tokens is repaired only from its last whole character on.
public struct StreamingDecoder: Sendable {
  private let tokenizer: Tokenizer
  private let skipsSpecialTokens: Bool
  private var run: DecoderRun

  init(_ tokenizer: Tokenizer, skippingSpecialTokens: Bool) {
    self.tokenizer = tokenizer
    skipsSpecialTokens = skippingSpecialTokens
    run = DecoderRun(tokenizer.decoder, isEager: true)
  }

  /// The text that a further token completes, which may be empty; unknown ids are passed over.
  public mutating func append(_ id: Int) -> String {
    guard let token = tokenizer.scalars(of: id, skippingSpecialTokens: skipsSpecialTokens) else { return "" }
    return String(scalars: run.push(token))
  }

  /// What was still held back; the decoder is then ready for another text.
  public mutating func finish() -> String {
    let rest = run.finish()
    run = DecoderRun(tokenizer.decoder, isEager: true)
    return String(scalars: rest)
  }
}
