internal import CKernels
internal import Tensors

extension PackedMatrix {
  /// Takes words of codes as a file has them, in any order and on any number of threads, and lays them into panels.
  public struct WordWriter: Sendable {
    let kind: Kind
    let inFeatures: Int
    let flip: UInt32
    let wordCount: Int
    nonisolated(unsafe) let packed: UnsafeMutablePointer<UInt8>?

    /// Packs words, the first of which is word `first` of the matrix `[outFeatures, inFeatures]`; each is to be written
    /// once.
    ///
    /// - Parameter words: little-endian words of 32 bits of any alignment, codes of a row following one another from the
    ///   lowest bits on.
    public func write(_ words: UnsafeRawBufferPointer, at first: Int) {
      let count = words.count / 4
      precondition(words.count % 4 == 0 && first >= 0 && first + count <= wordCount, "words outside of the matrix")
      ck_pack_words(kind.identifier, words.baseAddress, first, count, flip, inFeatures, packed)
    }
  }

  /// Whether rows of so many codes are whole words of 32 bits.
  public static func hasWholeWords(_ kind: Kind, inFeatures: Int) -> Bool {
    inFeatures > 0 && inFeatures % ck_codes_per_word(kind.identifier) == 0
  }

  /// Packs words of codes as they come, so that no code is ever a byte of its own; see
  /// ``init(_:codes:groupSize:scales:zeroPoints:columns:)``.
  ///
  /// - Parameters:
  ///   - flip: is XORed to every word: what turns the file's codes into those of the kind.
  ///   - groups: writes scales and zero points of some rows.
  ///   - words: is given where to write all words of all rows.
  public init<Failure: Error>(
    _ kind: Kind, outFeatures: Int, inFeatures: Int, groupSize: Int, hasZeroPoints: Bool, flip: UInt32,
    groups readGroups: GroupReader, words write: (WordWriter) throws(Failure) -> Void
  ) throws(Failure) {
    precondition(groupSize >= 1, "groups of \(groupSize)")
    precondition(Self.hasWholeWords(kind, inFeatures: inFeatures), "rows of \(inFeatures) codes are no whole words")
    self.kind = kind
    self.outFeatures = outFeatures
    self.inFeatures = inFeatures
    self.groupSize = groupSize
    columns = nil
    let identifier = kind.identifier
    let (lanes, panelCount) = (Int(ck_panel_rows), ck_panel_count(outFeatures))
    let groups = ck_group_count(inFeatures, groupSize)
    let codeBytes = panelCount * ck_panel_code_bytes(identifier, inFeatures)
    let count = outFeatures * groups
    let floats = UnsafeMutableBufferPointer<Float>.allocate(capacity: hasZeroPoints ? 2 * count : count)
    defer { floats.deallocate() }
    nonisolated(unsafe) let scales = floats.baseAddress
    Parallel.forEachChunk(of: panelCount, size: 16) { panels in
      let rows = panels.lowerBound * lanes..<min(outFeatures, panels.upperBound * lanes)
      guard let place = scales?.advanced(by: rows.lowerBound * groups) else { return }
      readGroups(rows, place, hasZeroPoints ? place + count : nil)
    }
    let values = GroupValues(
      UnsafeBufferPointer(rebasing: floats[..<count]),
      hasZeroPoints ? UnsafeBufferPointer(rebasing: floats[count...]) : nil, rows: outFeatures)
    let memory = PanelMemory(capacity: codeBytes + values.byteCount, expected: codeBytes + values.byteCount)
    values.pack(to: memory.base + codeBytes)
    let packed = memory.base.assumingMemoryBound(to: UInt8.self)
    ck_zero_panel_padding(identifier, outFeatures, inFeatures, packed)
    (scaleKind, zeroKind) = (values.scaleKind, values.zeroKind)
    storage = memory.storage(byteCount: codeBytes + values.byteCount)
    try write(
      WordWriter(
        kind: kind, inFeatures: inFeatures, flip: flip,
        wordCount: outFeatures * inFeatures / ck_codes_per_word(identifier), packed: packed))
  }

  /// Writes the scales of some rows and, where there are some, zero points, `[rows, groups]`.
  public typealias GroupReader =
    @Sendable (
      _ rows: Range<Int>, _ scales: UnsafeMutablePointer<Float>, _ zeroPoints: UnsafeMutablePointer<Float>?
    ) -> Void

  /// Whether one of some float8 codes is NaN.
  public static func hasNaN(_ codes: UnsafeRawBufferPointer) -> Bool {
    ck_e4m3_has_nan(codes.baseAddress, codes.count) != 0
  }
}
