import StrictJSON

/// Text to token ids and back, as a `tokenizer.json` describes it.
///
/// A text goes through five stations: added tokens are found, the rest is normalized, cut into words, the model
/// encodes each word, and the post-processor puts its tokens around the whole.
public struct Tokenizer: Sendable {
  /// The tokens that are found before any splitting, in file order.
  public let addedTokens: [AddedToken]
  private let addedIndices: [Int: Int]
  private let addedIDs: [[UInt8]: Int]
  private let rawMatcher: AddedTokenMatcher
  private let normalizer: Normalizer?
  private let normalizedMatcher: AddedTokenMatcher
  /// What decoding makes of tokens that were found in normalized text.
  private let normalizedSpellings: [Int: [Unicode.Scalar]]
  private let preTokenizer: PreTokenizer?
  private let model: BytePairModel
  private let postProcessor: PostProcessor
  let decoder: TokenDecoder

  /// Reads a `tokenizer.json`.
  ///
  /// - Parameters:
  ///   - json: the file's bytes.
  ///   - file: its name, for messages.
  public init(json: some Sequence<UInt8>, file: String) throws(TokenizerError) {
    let value: JSONValue
    do { value = try JSONValue(parsing: json) } catch { throw .notJSON(file: file, error) }
    let root = try Component(value, file: file, path: "")
    if let version = try root.optionalString("version"), version != "1.0" {
      throw root.malformed("version", expected: "\"1.0\"", found: "\"\(version)\"")
    }
    guard let description = try root.child("model") else {
      throw root.malformed("model", expected: "an object", found: "nothing")
    }
    let added = try AddedToken.all(in: root)
    let model = try BytePairModel(description, added: added)
    for token in added { try token.check(against: model.vocabulary, file: file) }
    let normalizer: Normalizer? = if let child = try root.child("normalizer") { try Normalizer(child) } else { nil }
    let preTokenizer: PreTokenizer? =
      if let child = try root.child("pre_tokenizer") { try PreTokenizer(child) } else { nil }
    let ids = Set(added.map(\.id))
    let postProcessor =
      if let child = try root.child("post_processor") {
        try PostProcessor(child) { ids.contains($0) || model.vocabulary[$0] != nil }
      } else { PostProcessor() }
    self.init(
      added: added, normalizer: normalizer, preTokenizer: preTokenizer, model: model, postProcessor: postProcessor,
      decoder: try TokenDecoder(try root.child("decoder"))
    ) { token in
      let scalars = Array(token.content.unicodeScalars)
      return normalizer?.apply(to: scalars) ?? scalars
    }
  }

  /// - Parameters:
  ///   - added: tokens whose ids and contents differ.
  ///   - spelling: what a token that is found in normalized text looks like there.
  init(
    added: [AddedToken], normalizer: Normalizer?, preTokenizer: PreTokenizer?, model: BytePairModel,
    postProcessor: PostProcessor, decoder: TokenDecoder, spelling: (AddedToken) -> [Unicode.Scalar]
  ) {
    // As the reference has it, special tokens go first where two have the same normalized form.
    let ordered = added.filter(\.isSpecial) + added.filter { !$0.isSpecial }
    let raw = ordered.filter { !$0.isNormalized }
    let normalized = ordered.filter(\.isNormalized)
    let spellings = normalized.map(spelling)
    rawMatcher = AddedTokenMatcher(raw, spellings: raw.map { Array($0.content.unicodeScalars) })
    normalizedMatcher = AddedTokenMatcher(normalized, spellings: spellings)
    normalizedSpellings = Dictionary(uniqueKeysWithValues: zip(normalized.map(\.id), spellings))
    addedTokens = added
    addedIndices = Dictionary(uniqueKeysWithValues: added.enumerated().map { ($1.id, $0) })
    addedIDs = Dictionary(uniqueKeysWithValues: added.map { ($0.bytes, $0.id) })
    self.normalizer = normalizer
    self.preTokenizer = preTokenizer
    self.model = model
    self.postProcessor = postProcessor
    self.decoder = decoder
  }
}

extension Tokenizer {
  /// The ids of a text.
  ///
  /// - Parameters:
  ///   - text: any text; it is not normalized beyond what the file asks for.
  ///   - addingSpecialTokens: puts the post-processor's tokens around it. Nothing else ever adds a begin-of-text
  ///     token: not the chat templates' own, nor what `add_bos_token` asks for (see ``TokenizerOptions``).
  ///   - matchingSpecialTokens: finds special tokens spelled out in the text. Text from elsewhere is safer without.
  public func encode(_ text: String, addingSpecialTokens: Bool, matchingSpecialTokens: Bool = true) -> [Int] {
    var ids: [Int] = addingSpecialTokens ? postProcessor.prefix : []
    let scalars = Array(text.unicodeScalars)
    for part in rawMatcher.parts(of: scalars, skippingSpecial: !matchingSpecialTokens) {
      if let id = part.id {
        ids.append(id)
        continue
      }
      var stretch = part.range.count == scalars.count ? scalars : Array(scalars[part.range])
      var keepsStart = part.range.lowerBound == 0
      if let normalizer { stretch = normalizer.apply(to: stretch, keepsStart: &keepsStart) }
      for inner in normalizedMatcher.parts(of: stretch, skippingSpecial: !matchingSpecialTokens) {
        if let id = inner.id {
          ids.append(id)
          continue
        }
        var pieces = Pieces(
          inner.range.count == stretch.count ? stretch : Array(stretch[inner.range]),
          beginsDocument: keepsStart && inner.range.lowerBound == 0)
        preTokenizer?.apply(to: &pieces)
        model.encode(pieces, into: &ids)
      }
    }
    if addingSpecialTokens { ids += postProcessor.suffix }
    return ids
  }

  /// The text of some ids; ids that no token has are passed over.
  ///
  /// - Parameters:
  ///   - ids: token ids.
  ///   - skippingSpecialTokens: leaves special tokens out.
  public func decode(_ ids: [Int], skippingSpecialTokens: Bool) -> String {
    var run = DecoderRun(decoder, isEager: false)
    var text: [Unicode.Scalar] = []
    for id in ids {
      guard let token = scalars(of: id, skippingSpecialTokens: skippingSpecialTokens) else { continue }
      text += run.push(token)
    }
    text += run.finish()
    return String(scalars: text)
  }

  /// A decoder for tokens that come one by one.
  public func streamingDecoder(skippingSpecialTokens: Bool) -> StreamingDecoder {
    StreamingDecoder(self, skippingSpecialTokens: skippingSpecialTokens)
  }
}

extension Tokenizer {
  /// The number of different tokens, the added ones included.
  public var vocabularySize: Int { model.vocabulary.count + addedTokens.count { model.vocabulary[$0.bytes] == nil } }

  /// The largest id; a model needs at least one embedding row more.
  public var largestID: Int { max(model.vocabulary.largestID, addedTokens.map(\.id).max() ?? 0) }

  /// The added tokens that decoding can leave out.
  public var specialTokens: [AddedToken] { addedTokens.filter(\.isSpecial) }

  /// The id of a token in the vocabulary's own spelling (`Ġthe`, `▁the`), compared byte for byte.
  public func id(of token: String) -> Int? {
    let bytes = Array(token.utf8)
    return addedIDs[bytes] ?? model.vocabulary[bytes]
  }

  /// The token of an id in the vocabulary's own spelling.
  public func token(of id: Int) -> String? {
    if let index = addedIndices[id] { return addedTokens[index].content }
    return model.vocabulary[id].map { String(decoding: $0, as: UTF8.self) }
  }

  /// Whether an id is a special token's.
  public func isSpecial(_ id: Int) -> Bool { addedIndices[id].map { addedTokens[$0].isSpecial } ?? false }

  /// What a decoder is given for an id, or `nil` where it is to be passed over.
  func scalars(of id: Int, skippingSpecialTokens: Bool) -> [Unicode.Scalar]? {
    if skippingSpecialTokens && isSpecial(id) { return nil }
    // The reference decodes these to their normalized form, and then fails to know them for special; we do not.
    return normalizedSpellings[id] ?? token(of: id).map { Array($0.unicodeScalars) }
  }
}
