/// One frame to come: how many bytes of the archive it holds, and how they are compressed.
struct FrameSpan: Equatable, Sendable {
  let byteCount: Int
  let compression: Compression
}

/// Where frames begin: a function of the plan alone, so that every writer cuts alike, interrupted or not.
///
/// The archive is a row of *pieces*: all that stands before the first tensor, each tensor, all that stands after the
/// last. Pieces are taken in order. A piece of 3 MiB or more is cut alone: frames of 2 MiB as long as 3 MiB or more
/// are left, then one of the rest. Smaller pieces share a frame as long as they are of one kind, of one group, and
/// together not above 2 MiB. So a frame holds either whole tensors or a part of one, and never 3 MiB.
enum FrameRule {
  /// The size that is aimed at.
  static let target = 2 << 20
  /// Pieces from here on are cut.
  static let smallestCut = 3 << 20

  /// Part of the archive that is compressed as one kind.
  struct Piece {
    let byteCount: Int
    let compression: Compression
    /// Whether the frame ends after it, whatever follows.
    let endsFrame: Bool
  }

  /// The frames of some pieces.
  static func frames(of pieces: some Sequence<Piece>) -> [FrameSpan] {
    var frames: [FrameSpan] = []
    var open = FrameSpan(byteCount: 0, compression: .text)
    func close() {
      if open.byteCount > 0 { frames.append(open) }
      open = FrameSpan(byteCount: 0, compression: .text)
    }
    for piece in pieces {
      if piece.byteCount > 0 {
        if piece.compression != open.compression || open.byteCount + piece.byteCount > target { close() }
        var rest = piece.byteCount
        while rest >= smallestCut {
          frames.append(FrameSpan(byteCount: target, compression: piece.compression))
          rest -= target
        }
        open = FrameSpan(byteCount: open.byteCount + rest, compression: piece.compression)
        if rest < piece.byteCount { close() }
      }
      if piece.endsFrame { close() }
    }
    close()
    return frames
  }
}
