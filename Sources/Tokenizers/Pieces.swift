/// A text and the stretches that the model will see one by one.
struct Pieces {
  var text: [Unicode.Scalar]
  var ranges: [Range<Int>]
  /// Whether the first stretch starts where the whole document starts.
  var beginsDocument: Bool

  init(_ text: [Unicode.Scalar], beginsDocument: Bool) {
    self.text = text
    self.ranges = text.isEmpty ? [] : [text.indices]
    self.beginsDocument = beginsDocument
  }

  /// Replaces the text piece by piece.
  mutating func rewrite(_ body: (_ range: Range<Int>, _ isFirst: Bool, _ output: inout [Unicode.Scalar]) -> Void) {
    var output: [Unicode.Scalar] = []
    output.reserveCapacity(text.count + text.count / 4)
    for index in ranges.indices {
      let start = output.count
      body(ranges[index], index == 0 && beginsDocument, &output)
      ranges[index] = start..<output.count
    }
    text = output
  }

  /// Cuts each piece where a pattern matches.
  mutating func split(by pattern: SplitPattern, _ behavior: SplitBehavior, isInverted: Bool) {
    let classes = pattern.needsClasses ? ScalarClass.all(of: text) : []
    let documentStart = beginsDocument ? ranges.first?.lowerBound : nil
    var output: [Range<Int>] = []
    output.reserveCapacity(ranges.count + text.count / 4)
    var segments: [Segment] = []
    for range in ranges {
      segments.removeAll(keepingCapacity: true)
      pattern.appendSegments(of: text, classes, in: range, to: &segments)
      if isInverted {
        for index in segments.indices { segments[index].isMatch.toggle() }
      }
      behavior.appendRanges(of: segments, to: &output)
    }
    ranges = output
    beginsDocument = documentStart != nil && ranges.first?.lowerBound == documentStart
  }
}

/// A stretch of a piece that a pattern matched, or one between matches.
struct Segment {
  var range: Range<Int>
  var isMatch: Bool
}

/// What becomes of the matches of a split.
enum SplitBehavior: String, CaseIterable {
  case removed = "Removed"
  case isolated = "Isolated"
  case mergedWithPrevious = "MergedWithPrevious"
  case mergedWithNext = "MergedWithNext"
  case contiguous = "Contiguous"

  /// Appends the stretches that remain of a piece; empty ones are left out.
  func appendRanges(of segments: [Segment], to output: inout [Range<Int>]) {
    switch self {
    case .isolated:
      for segment in segments where !segment.range.isEmpty { output.append(segment.range) }
    case .removed:
      for segment in segments where !segment.isMatch && !segment.range.isEmpty { output.append(segment.range) }
    case .contiguous:
      append(segments, to: &output) { $0.isMatch == $1.isMatch }
    case .mergedWithPrevious:
      append(segments, to: &output) { !$0.isMatch && $1.isMatch }
    case .mergedWithNext:
      append(segments, to: &output) { $0.isMatch && !$1.isMatch }
    }
  }

  private func append(
    _ segments: [Segment], to output: inout [Range<Int>], where joins: (Segment, Segment) -> Bool
  ) {
    var pending: Range<Int>?
    for (index, segment) in segments.enumerated() {
      if let open = pending, index > 0, joins(segments[index - 1], segment) {
        pending = open.lowerBound..<segment.range.upperBound
      } else {
        if let open = pending, !open.isEmpty { output.append(open) }
        pending = segment.range
      }
    }
    if let open = pending, !open.isEmpty { output.append(open) }
  }
}
