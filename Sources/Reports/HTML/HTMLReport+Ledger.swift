extension Report {
  /// What became of every tensor: counts and bytes per fate, what was dropped and why, and all of them as patterns.
  func writeLedger(_ page: inout Markup) {
    guard let ledger, !ledger.entries.isEmpty else { return }
    page.newline()
    page.element("h2", text: "What became of every tensor")
    page.element(
      "p", ["class": "lead"],
      text: "All \(NumberText.count(ledger.entries.count)) tensors of the source are accounted for, each once.")
    page.element("div", ["class": "card stack scroll"]) { writeTotals(ledger, &$0) }
    let dropped = ledger.total(.dropped).tensors
    if dropped > 0 {
      let title = dropped == 1 ? "The one that was dropped" : "The \(NumberText.count(dropped)) that were dropped"
      let each = ledger.dropped(upTo: 200)
      writeCard(title, isOpen: each.count <= 12, &page) { page in
        writePatterns(each, titles: ["Tensor", "#Source", "Reason"], &page)
      }
    }
    let patterns = ledger.patterns()
    page.newline()
    page.element("details") { page in
      page.element(
        "summary", text: "All tensors, those that differ only in numbers together; the full list is in report.json")
      page.element("div", ["class": "card scroll"]) { page in
        writePatterns(
          patterns, titles: ["Tensors", "#Count", "Fate", "Scheme or reason", "#Source", "#Written"], &page)
      }
    }
  }

  private func writeTotals(_ ledger: Ledger, _ page: inout Markup) {
    let totals = ledger.summary
    let all = totals.values.reduce(0) { $0 + $1.bytes }
    writeTable(["Fate", "#Tensors", "#Source", "#Written", "Share of the source"], into: &page) { page in
      for kind in Ledger.Kind.allCases {
        guard let total = totals[kind], total.tensors > 0 else { continue }
        page.element("tr") { page in
          page.element("td") { page in
            page.element("b", text: kind.rawValue)
            page.element("span", ["class": "sub"], text: "  " + kind.meaning)
          }
          writeNumber(Double(total.tensors), NumberText.count(total.tensors), &page)
          writeNumber(Double(total.bytes), NumberText.bytes(total.bytes), &page)
          writeNumber(Double(total.bytesWritten), NumberText.bytes(total.bytesWritten), &page)
          page.element("td") { page in
            page.element("span", ["class": "meter long"]) {
              let width = Whisker.percent(Double(total.bytes) / Double(max(1, all)))
              $0.element("i", ["style": "width:" + width]) { _ in }
            }
          }
        }
        page.newline()
      }
    }
  }

  /// - Parameter titles: with a column for the count, the short form names none.
  private func writePatterns(_ patterns: [LedgerPattern], titles: [String], _ page: inout Markup) {
    let isShort = titles.count == 3
    writeTable(titles, isSortable: true, into: &page) { page in
      for one in patterns {
        page.element("tr") { page in
          page.element("td") { page in
            writeName(one.pattern, &page)
            if isShort && one.count > 1 {
              page.element("span", ["class": "sub"], text: " ×" + NumberText.count(one.count))
            }
          }
          if !isShort {
            writeNumber(Double(one.count), NumberText.count(one.count), &page)
            page.element("td", text: one.fate.kind.rawValue)
            page.element("td", ["class": "muted"], text: one.detail)
          }
          writeNumber(Double(one.bytes.source), NumberText.bytes(one.bytes.source), &page)
          if isShort {
            page.element("td", ["class": "muted w"], text: one.detail)
          } else {
            writeNumber(Double(one.bytes.written), NumberText.bytes(one.bytes.written), &page)
          }
        }
        page.newline()
      }
    }
  }
}
