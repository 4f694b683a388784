internal import StrictJSON

extension Report.Ledger {
  /// Counts per fate, the distinct outcomes once each, and the tensors as columns: a checkpoint may hold a hundred
  /// thousand.
  var json: JSONValue {
    var rows: [Outcome: Int] = [:]
    var outcomes: [Outcome] = []
    let indices = entries.map { entry in
      let outcome = Outcome(entry)
      if let row = rows[outcome] { return row }
      rows[outcome] = outcomes.count
      outcomes.append(outcome)
      return outcomes.count - 1
    }
    let totals = summary
    var members = Kind.allCases.map { kind in
      JSONObject.Member(kind.rawValue, .integer(totals[kind]?.tensors ?? 0))
    }
    members += [
      JSONObject.Member(
        "bytes",
        .object(
          JSONObject(
            Kind.allCases.map { kind in
              let total = totals[kind] ?? Total()
              return JSONObject.Member(
                kind.rawValue, ["source": .integer(total.bytes), "written": .integer(total.bytesWritten)])
            }))),
      JSONObject.Member("outcomes", .array(outcomes.map(\.json))),
      JSONObject.Member(
        "tensors",
        [
          "bytes": .array(entries.map { .integer($0.bytes) }),
          "bytesWritten": .array(entries.map { .integer($0.bytesWritten) }),
          "outcome": .array(indices.map { .integer($0) }), "name": .array(entries.map { .string($0.name) }),
        ]),
    ]
    return .object(JSONObject(members))
  }

  /// `nil` for the ledger of earlier versions, which held three counts and no tensor.
  init?(_ node: ReportNode) throws(ReportsError) {
    guard node.value["tensors"] != nil else { return nil }
    let outcomes = try node.nodes("outcomes").map { (node) throws(ReportsError) in try Outcome(node) }
    let columns = try node.node("tensors")
    let names = try columns.texts("name")
    let bytes = try columns.wholes("bytes")
    let written = try columns.wholes("bytesWritten")
    let rows = try columns.wholes("outcome")
    guard bytes.count == names.count, written.count == names.count, rows.count == names.count else {
      throw .malformedReport(key: columns.path, expected: "columns of one length")
    }
    guard rows.allSatisfy(outcomes.indices.contains) else {
      throw .malformedReport(key: columns.path + ".outcome", expected: "rows of \(node.path).outcomes")
    }
    let entries = names.indices.map { index in
      outcomes[rows[index]].entry(names[index], bytesWritten: written[index])
    }
    try self.init(source: Array(zip(names, bytes)), entries: entries)
  }
}

/// What many tensors have in common: their fate and how the written names follow from their own.
private struct Outcome: Hashable {
  let fate: Report.Ledger.Fate
  /// The written names; without the part they share with the source tensor, up to its last dot, where all share it.
  let written: [String]
  let isRelative: Bool

  init(_ entry: Report.Ledger.Entry) {
    fate = entry.fate
    let parent = Self.parent(of: entry.name)
    isRelative = entry.written.allSatisfy { $0.hasPrefix(parent) }
    written = isRelative ? entry.written.map { String($0.dropFirst(parent.count)) } : entry.written
  }

  init(_ node: ReportNode) throws(ReportsError) {
    let reason = try node.optionalText("reason")
    switch try node.named("fate", Report.Ledger.Kind.self, among: "quantized, copied, folded, dropped") {
    case .quantized: fate = .quantized(scheme: try node.text("scheme"))
    case .copied: fate = .copied(reason: reason)
    case .folded: fate = .folded(reason: reason)
    case .dropped: fate = .dropped(reason: try node.text("reason"))
    }
    isRelative = node.value["written"] == nil
    written = try node.texts(isRelative ? "writtenBeside" : "written")
  }

  var json: JSONValue {
    var members = [JSONObject.Member("fate", .string(fate.kind.rawValue))]
    if let scheme = fate.scheme { members.append(JSONObject.Member("scheme", .string(scheme))) }
    if let reason = fate.reason { members.append(JSONObject.Member("reason", .string(reason))) }
    members.append(
      JSONObject.Member(isRelative ? "writtenBeside" : "written", .array(written.map { .string($0) })))
    return .object(JSONObject(members))
  }

  func entry(_ name: String, bytesWritten: Int) -> Report.Ledger.Entry {
    let parent = isRelative ? Self.parent(of: name) : ""
    return Report.Ledger.Entry(name, fate, written: written.map { parent + $0 }, bytesWritten: bytesWritten)
  }

  /// The name up to its last dot, that included.
  private static func parent(of name: String) -> String {
    name.lastIndex(of: ".").map { String(name[...$0]) } ?? ""
  }
}
