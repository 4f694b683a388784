extension Tokenizer {
  /// Reads a SentencePiece `tokenizer.model` of the byte-pair kind, as Llama 2, Mistral and Gemma have.
  ///
  /// The result is the tokenizer that such a folder's `tokenizer.json` would describe: control pieces such as `</s>`
  /// are special tokens that are found in the text, and a begin token is put in front where one is asked for.
  /// Pieces are joined by score, the leftmost of equals first, as SentencePiece does.
  ///
  /// - Parameters:
  ///   - bytes: the file's bytes.
  ///   - file: its name, for messages.
  ///   - options: the `tokenizer_config.json` beside it, if there is one: its added tokens, `add_bos_token` (true
  ///     unless it says otherwise), `add_eos_token` and `legacy` (whether the text after an added token starts with
  ///     ▁ too; true unless it says otherwise).
  public init(
    sentencePiece bytes: some Sequence<UInt8>, file: String, options: TokenizerOptions? = nil
  ) throws(TokenizerError) {
    let source = try SentencePieceModel(Array(bytes), file: file)
    let added = try Self.addedTokens(of: source, options: options, file: file)
    var vocabulary = Vocabulary()
    for (id, piece) in source.pieces.enumerated() { vocabulary.insert(piece.text, id: id) }
    for token in added { try token.check(against: vocabulary, file: file) }

    let sign: Unicode.Scalar = "\u{2581}"
    let toSign = Normalizer.replace(.literal([" "]), by: [sign])
    let isLegacy = options?.isLegacy ?? true
    var steps: [Normalizer] = source.removesExtraSpaces ? [.singleSpaces] : []
    if source.addsPrefix && isLegacy { steps.append(.prepend([sign])) }
    steps.append(toSign)
    if source.removesExtraSpaces { steps.append(.dropEnd(sign)) }
    var decoding: [TokenDecoder.Step] = [.replace(.literal([sign]), by: [" "]), .byteFallback, .fuse]
    if source.addsPrefix { decoding.append(.strip(" ", start: 1, stop: 0)) }

    let begin = options?.addsBOSToken ?? true ? source.beginID : -1
    let end = options?.addsEOSToken ?? false ? source.endID : -1
    self.init(
      added: added, normalizer: .sequence(steps),
      preTokenizer: source.addsPrefix && !isLegacy ? .metaspace(Metaspace(sign: sign, scheme: .first)) : nil,
      model: BytePairModel(source, vocabulary: vocabulary),
      postProcessor: PostProcessor(prefix: begin < 0 ? [] : [begin], suffix: end < 0 ? [] : [end]),
      decoder: TokenDecoder(steps: decoding)
    ) { toSign.apply(to: Array($0.content.unicodeScalars)) }
  }

  /// The configuration's tokens, and the model's own control, unknown and user-defined pieces.
  private static func addedTokens(
    of source: SentencePieceModel, options: TokenizerOptions?, file: String
  ) throws(TokenizerError) -> [AddedToken] {
    var added = options?.addedTokens ?? []
    let known = Set(added.map(\.id))
    for (id, piece) in source.pieces.enumerated() where !known.contains(id) {
      switch piece.kind {
      case .control, .unknown: added.append(AddedToken(id: id, piece.text, isSpecial: true, isNormalized: false))
      case .userDefined: added.append(AddedToken(id: id, piece.text, isSpecial: false, isNormalized: true))
      case .normal, .byte, .unused: break
      }
    }
    var contents: Set<[UInt8]> = []
    for token in added where !contents.insert(token.bytes).inserted {
      throw .malformed(
        file: file, component: "added tokens", expected: "each content once", found: "\"\(token.content)\" again")
    }
    return added
  }
}

extension BytePairModel {
  /// The model of a SentencePiece file: any two pieces that together spell a third can be joined.
  init(_ source: SentencePieceModel, vocabulary: Vocabulary) {
    let scores = Set(source.pieces.filter { $0.kind == .normal }.map(\.score)).sorted(by: >)
    let ranks = Dictionary(uniqueKeysWithValues: scores.enumerated().map { ($1, UInt32($0)) })
    var ids: [[UInt8]: Int32] = [:]
    for (id, piece) in source.pieces.enumerated() where piece.kind == .normal { ids[piece.text] = Int32(id) }
    var pairs: [MergeTable.Pair] = []
    for (id, piece) in source.pieces.enumerated() where piece.kind == .normal {
      let text = piece.text
      for cut in text.indices.dropFirst() where text[cut] & 0xC0 != 0x80 {
        guard let left = ids[Array(text[..<cut])], let right = ids[Array(text[cut...])],
          let rank = ranks[piece.score]
        else { continue }
        pairs.append((left, right, MergeTable.Merge(rank: rank, result: Int32(id))))
      }
    }
    let unknown = source.pieces.firstIndex { $0.kind == .unknown }.map(Int32.init)
    self.init(
      vocabulary: vocabulary, merges: MergeTable(pairs), unknown: unknown, fusesUnknown: true,
      hasByteFallback: source.hasByteFallback, joinable: ids)
  }
}
