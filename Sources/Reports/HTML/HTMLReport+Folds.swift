extension Report {
  /// Foldings of one layer that differ only in the expert.
  private struct FoldRow {
    let name: String
    let folds: [Fold]

    func median(_ value: (Fold) -> Double) -> Double { LayerRow.median(folds.map(value)) ?? 0 }

    var kept: Int { folds.count(where: \.kept) }

    /// Every reason that occurs, in order.
    var reasons: String {
      var seen: Set<String> = []
      return folds.compactMap(\.reason).filter { seen.insert($0).inserted }.joined(separator: "; ")
    }

    static func rows(of folds: [Fold]) -> [FoldRow] {
      struct Key: Hashable { let name, kind: String }
      var order: [Key] = []
      var groups: [Key: [Fold]] = [:]
      for fold in folds {
        let place = LinearPlace(fold.name)
        let key = Key(name: place.part == .expert ? place.pattern : fold.name, kind: fold.kind)
        if groups[key] == nil { order.append(key) }
        groups[key, default: []].append(fold)
      }
      return order.map { key in
        let folds = groups[key] ?? []
        return FoldRow(name: folds.count == 1 ? folds[0].name : key.name, folds: folds)
      }
    }
  }

  /// What was folded, what was not, and why.
  func writeFolds(_ page: inout Markup) {
    guard !folds.isEmpty else { return }
    let dropped = folds.filter { !$0.kept }
    page.newline()
    page.element("h2", text: "Folded scales")
    page.element(
      "p", ["class": "lead"],
      text: "AWQ scales channels up before rounding and takes the scale back in the operation before. "
        + "\(NumberText.count(folds.count - dropped.count)) of \(NumberText.count(folds.count)) foldings made the error "
        + "smaller and were kept.")
    if !dropped.isEmpty {
      let title = "\(NumberText.count(dropped.count)) dropped"
      writeCard(title, isOpen: FoldRow.rows(of: dropped).count <= 12, &page) {
        writeFoldTable(dropped, hasReason: true, &$0)
      }
    }
    page.newline()
    page.element("details") { page in
      page.element("summary", text: "All \(NumberText.count(folds.count)) foldings")
      page.element("div", ["class": "card scroll"]) { writeFoldTable(folds, hasReason: !dropped.isEmpty, &$0) }
    }
  }

  private func writeFoldTable(_ folds: [Fold], hasReason: Bool, _ page: inout Markup) {
    let rows = FoldRow.rows(of: folds)
    var titles = ["Operation", "Kind", "Kept", "#Change", "#Loss before", "#Loss after", "#α"]
    if hasReason { titles.append("Reason") }
    writeTable(titles, isSortable: true, into: &page) { page in
      for row in rows {
        let change = row.median { $0.lossWithout == 0 ? 0 : $0.lossWith / $0.lossWithout - 1 }
        let without = row.median(\.lossWithout)
        let with = row.median(\.lossWith)
        page.element("tr") { page in
          page.element("td") { page in
            writeName(row.name, &page)
            if row.folds.count > 1 {
              page.element("span", ["class": "sub"], text: " ×\(NumberText.count(row.folds.count)), medians")
            }
          }
          page.element("td", text: row.folds.first?.kind ?? "")
          let isKept = row.kept == row.folds.count
          let share = "\(NumberText.count(row.kept)) of \(NumberText.count(row.folds.count))"
          page.element(
            "td", ["class": isKept ? "good" : row.kept == 0 ? "bad" : ""],
            text: isKept ? "kept" : row.kept == 0 ? "dropped" : share)
          writeNumber(change, NumberText.signedPercent(change), &page)
          writeNumber(without, NumberText.significant(without), &page)
          writeNumber(with, NumberText.significant(with), &page)
          writeNumber(row.median(\.alpha), NumberText.fixed(row.median(\.alpha), decimals: 2), &page)
          if hasReason { page.element("td", ["class": "muted w"], text: row.reasons) }
        }
        page.newline()
      }
    }
  }
}
