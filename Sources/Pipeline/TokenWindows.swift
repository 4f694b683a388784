internal import Calibration
public import Tokenizers

/// Texts as windows of token ids, all of one length but perhaps shorter.
public struct TokenWindows: Sendable {
  /// The windows.
  public let windows: [[Int]]
  /// Length of a full window.
  public let length: Int
  /// All windows of the text, and which of them the limit left.
  private let all: [[Int]]
  private let chosen: [Int]

  /// Number of tokens in all windows.
  public var tokenCount: Int { windows.reduce(0) { $0 + $1.count } }

  /// Cuts documents into windows.
  ///
  /// Documents are joined by `separator`, the token that begins or ends a text in this model, and cut without overlap.
  /// A remainder is kept if it is at least half a window, or all there is.
  ///
  /// - Parameters:
  ///   - begin: put before every window, for models that want it before every text: without it the first positions of
  ///     a window, where attention has nothing else to rest on, are unlike anything the model was trained on.
  ///   - limit: the most windows; they are then taken evenly over the whole, so that every kind of text has its share.
  public init(
    _ text: TextSource, tokenizer: Tokenizer, separator: Int?, begin: Int?, length: Int, limit: Int? = nil
  ) throws {
    self.length = length
    guard length >= 2 else {
      throw PipelineError.usage("windows of \(length) tokens predict nothing; 2 is the least")
    }
    var ids: [Int] = []
    for document in text.documents {
      let encoded = tokenizer.encode(document, addingSpecialTokens: false)
      // A rendered dialogue begins with the token itself.
      if let separator, encoded.first != separator { ids.append(separator) }
      ids += encoded
    }
    let step = begin == nil ? length : length - 1
    var all = stride(from: 0, to: ids.count, by: step).map { start in
      let part = ids[start..<min(ids.count, start + step)]
      // The separator of the first document is a begin token already.
      return part.first == begin ? Array(part) : (begin.map { [$0] } ?? []) + part
    }
    if let last = all.last, all.count > 1, last.count < (length + 1) / 2 { all.removeLast() }
    self.all = all
    chosen = Self.places(limit, of: all.count)
    windows = chosen.map { all[$0] }
    guard windows.contains(where: { $0.count >= 2 }) else {
      throw PipelineError.input("the text \(text.name) has fewer than two tokens")
    }
  }

  /// Windows that are there already.
  init(windows: [[Int]], length: Int) {
    self.windows = windows
    self.length = length
    all = windows
    chosen = Array(windows.indices)
  }

  private init(_ other: TokenWindows, limit: Int) {
    length = other.length
    let all = other.all
    self.all = all
    chosen = Self.places(limit, of: all.count)
    windows = chosen.map { all[$0] }
  }

  private static func places(_ limit: Int?, of count: Int) -> [Int] {
    guard let limit, count > limit else { return Array(0..<count) }
    return (0..<limit).map { $0 * count / limit }
  }

  /// The windows that another limit would have taken of the same text.
  ///
  /// Those of a limit are among those of twice the limit, at even places.
  func limited(to limit: Int) -> TokenWindows { TokenWindows(self, limit: limit) }

  /// Number of windows that the text has in all.
  var available: Int { all.count }

  /// Windows of the same text that the limit left out, taken evenly, at most `limit`.
  func others(limit: Int) -> [[Int]] {
    let isChosen = Set(chosen)
    let left = all.indices.filter { !isChosen.contains($0) }
    guard left.count > limit else { return left.map { all[$0] } }
    return (0..<limit).map { all[left[$0 * left.count / limit]] }
  }

  /// A window of the text by its place in it.
  subscript(place: Int) -> [Int] { all[place] }

  /// Every eighth window apart, for judging; both parts have at least one window if there are two.
  var splitHeldOut: (search: [[Int]], heldOut: [[Int]]) {
    let (search, heldOut) = heldOutPlaces
    return (search.map { all[$0] }, heldOut.map { all[$0] })
  }

  /// The same by the windows' places in the text.
  ///
  /// What is apart in a limit's windows is at odd places, so that no smaller limit, halved from it, takes it.
  var heldOutPlaces: (search: [Int], heldOut: [Int]) {
    guard chosen.count > 1 else { return (chosen, chosen) }
    let step = min(8, chosen.count)
    return (
      chosen.enumerated().filter { $0.offset % step != step - 1 }.map(\.element),
      chosen.enumerated().filter { $0.offset % step == step - 1 }.map(\.element)
    )
  }
}
