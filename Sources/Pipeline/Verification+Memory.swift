public import Models

extension Verification {
  /// Bytes that comparing a model with its artifact takes at the highest, mapped pages that are in use included.
  ///
  /// Both ends of the artifact are decoded whole, beside those of the reference, which are mapped; layers are small
  /// against them in models with large vocabularies, and count where they are not.
  public static func peakMemory(of model: LanguageModel, tokens: Int) -> Int {
    let c = model.configuration
    // An eighth more for the compressed frames on their way.
    let ends = 2 * c.vocabularySize * c.hiddenSize * 2 * 9 / 8
    let logits = 2 * 128 * c.vocabularySize * 4
    let states = 2 * tokens * c.hiddenSize * 4
    let rows = min(tokens, Sequences.chunkRows)
    let activations = rows * (4 * c.hiddenSize + 2 * c.widestActivation) * 4
    let experts =
      c.layers.map { layer in
        if case .mixture(let m) = layer.feedForward { 1024 * m.perToken * (2 * m.width + c.hiddenSize) * 4 } else { 0 }
      }.max() ?? 0
    let layer =
      model.layouts.map { layout in
        layout.linears.filter { $0.expert == nil }.reduce(0) { $0 + $1.outFeatures * $1.inFeatures }
      }.max() ?? 0
    return (96 << 20) + states + max(ends + logits, 3 * layer + activations + experts)
  }
}
