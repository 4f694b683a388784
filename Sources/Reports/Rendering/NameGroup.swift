/// Names that differ only in their numbers and share a label, written as one pattern that stands for exactly these.
///
/// `model.layers.{3-60}.mlp.experts.{0-255}.up_proj.weight` means every combination of the numbers; where a
/// combination is missing or has another label, the names become several groups.
struct NameGroup<Label: Hashable> {
  /// The names with numbers in braces where there are several.
  let pattern: String
  /// What the names share.
  let label: Label
  /// Their places in the list of names that was grouped.
  let members: [Int]

  /// - Parameters:
  ///   - names: dot-separated names, such as a checkpoint's tensors.
  ///   - label: what the names of a group must agree in, from a place in the list.
  /// - Returns: groups that cover every name once, in the order of their first names.
  static func groups(of names: [String], by label: (Int) -> Label) -> [NameGroup] {
    var shapes: [Shape: [NumberBox]] = [:]
    for (index, name) in names.enumerated() {
      var numbers: [Int] = []
      let parts = name.split(separator: ".", omittingEmptySubsequences: false).map { part -> String? in
        // A number with zeros in front would not be written the same again.
        guard let number = Int(part), String(number) == part, number >= 0 else { return String(part) }
        numbers.append(number)
        return nil
      }
      shapes[Shape(parts: parts, label: label(index)), default: []].append(
        NumberBox(sets: numbers.map { [$0] }, members: [index]))
    }
    let groups = shapes.flatMap { shape, boxes in
      NumberBox.merged(boxes, from: 0).map { box in
        NameGroup(pattern: shape.pattern(box.sets), label: shape.label, members: box.members.sorted())
      }
    }
    return groups.sorted { ($0.members.first ?? 0) < ($1.members.first ?? 0) }
  }

  /// A name without its numbers.
  private struct Shape: Hashable {
    let parts: [String?]
    let label: Label

    func pattern(_ sets: [[Int]]) -> String {
      var sets = sets[...]
      return parts.map { $0 ?? NumberBox.text(sets.popFirst() ?? []) }.joined(separator: ".")
    }
  }
}

/// Every combination of some numbers, one set for each place.
struct NumberBox {
  let sets: [[Int]]
  let members: [Int]

  /// Fewer boxes that hold the same combinations: the numbers of a place join where all later places agree.
  static func merged(_ boxes: [NumberBox], from place: Int) -> [NumberBox] {
    guard let first = boxes.first, place < first.sets.count else {
      guard let first = boxes.first else { return [] }
      return [NumberBox(sets: first.sets, members: boxes.flatMap(\.members))]
    }
    let byNumber = Dictionary(grouping: boxes) { $0.sets[place].first ?? 0 }
    var joined: [[[Int]]: (numbers: [Int], members: [Int])] = [:]
    for number in byNumber.keys.sorted() {
      for box in merged(byNumber[number] ?? [], from: place + 1) {
        joined[Array(box.sets[(place + 1)...]), default: ([], [])].numbers.append(number)
        joined[Array(box.sets[(place + 1)...]), default: ([], [])].members += box.members
      }
    }
    return joined.map { rest, part in
      NumberBox(sets: first.sets[..<place] + [part.numbers] + rest, members: part.members)
    }
  }

  /// Ascending numbers with runs as ranges: `{0-3,7}`; a single number stands alone, and of more than `limit` runs the
  /// middle is left out.
  static func text(_ numbers: [Int], limit: Int = 8) -> String {
    if numbers.count == 1 { return String(numbers[0]) }
    return "{" + runs(numbers, limit: limit).joined(separator: ",") + "}"
  }

  /// The runs of ascending numbers, such as `0-3` and `7`.
  static func runs(_ numbers: [Int], limit: Int) -> [String] {
    var runs: [(first: Int, last: Int)] = []
    for number in numbers {
      if let last = runs.last?.last, number == last + 1 {
        runs[runs.count - 1].last = number
      } else {
        runs.append((number, number))
      }
    }
    let texts = runs.map { $0.first == $0.last ? String($0.first) : "\($0.first)-\($0.last)" }
    return texts.count <= limit ? texts : texts.prefix(limit - 1) + ["…"] + texts.suffix(1)
  }
}
