extension Report {
  /// How many tokens each expert saw: a map, who starved and what was done about it, and the balance of each layer.
  func writeExperts(_ page: inout Markup) {
    guard let experts, experts.count > 0 else { return }
    page.newline()
    page.element("h2", text: "What the experts saw")
    page.element(
      "p", ["class": "lead"],
      text:
        "A router sends each token to a few experts. An expert is calibrated with what it was sent, so one that saw few "
        + "tokens is quantized half blind unless it is helped.")
    page.newline()
    page.element("figure", ["class": "card stack", "style": "margin-left:0;margin-right:0;margin-bottom:0"]) { page in
      page.element("h3", text: "Calibration tokens per expert")
      let reading =
        "Each row is a layer, each cell an expert; the stronger its colour, the more it saw. An even row means a balanced "
        + "router, a faint cell an expert that this text hardly calls on. Outlined cells are under the quota."
      page.element("div", ["class": "scroll"]) {
        $0.raw(ExpertMap(experts).drawing().markup(label: "Calibration tokens per expert. " + reading))
      }
      page.element("figcaption", ["class": "reading"], text: reading)
      page.element("p", ["class": "stack"], text: experts.sentence)
    }
    writeStarved(experts, &page)
    page.newline()
    page.element("details") { page in
      page.element("summary", text: "Balance of every layer")
      page.element("div", ["class": "card scroll"]) { writeBalance(experts, &$0) }
    }
  }

  /// The experts under the quota one by one, or, where there are very many, by layer and help.
  private func writeStarved(_ experts: Experts, _ page: inout Markup) {
    let starved = experts.starved
    guard !starved.isEmpty else { return }
    let title =
      starved.count == 1 ? "One expert under the quota" : "\(NumberText.count(starved.count)) experts under the quota"
    writeCard(title, isOpen: starved.count <= 12, &page) { page in
      if starved.count <= 300 { writeEach(starved, &page) } else { writeByLayer(experts, &page) }
    }
  }

  private func writeEach(_ starved: [Experts.Starved], _ page: inout Markup) {
    writeTable(["Layer", "#Expert", "#Tokens seen", "#Quota", "What was done"], isSortable: true, into: &page) { page in
      for one in starved {
        page.element("tr") { page in
          page.element("td") { writeName(one.layer.name, &$0) }
          writeNumber(Double(one.expert), String(one.expert), &page)
          writeNumber(Double(one.tokens), NumberText.count(one.tokens), &page)
          writeNumber(Double(one.layer.quota), NumberText.count(one.layer.quota), &page)
          page.element("td", ["class": one.help == nil ? "w bad" : "w"], text: Experts.text(one.help))
        }
        page.newline()
      }
    }
  }

  private func writeByLayer(_ experts: Experts, _ page: inout Markup) {
    let titles = ["Layer", "#Experts", "Which", "#Tokens seen", "What was done"]
    writeTable(titles, isSortable: true, into: &page) { page in
      for layer in experts.layers {
        let byHelp = Dictionary(grouping: layer.starved) { expert -> String in
          switch layer.help[expert] {
          case .extraSamples(let tokens):
            tokens < layer.quota ? "more text, still under the quota" : "more text, up to the quota"
          case .layerStatistics, nil: Experts.text(layer.help[expert])
          }
        }
        for (help, which) in byHelp.sorted(by: { $0.key < $1.key }) {
          let seen = which.map { layer.tokens[$0] }
          let range = [seen.min() ?? 0, seen.max() ?? 0].map(NumberText.count)
          page.element("tr") { page in
            page.element("td") { writeName(layer.name, &$0) }
            writeNumber(Double(which.count), NumberText.count(which.count), &page)
            page.element(
              "td", ["class": "w"], text: NumberBox.runs(which, limit: 24).joined(separator: ", "))
            writeNumber(
              Double(seen.min() ?? 0), Set(range).count == 1 ? range[0] : range.joined(separator: " … "), &page)
            page.element("td", ["class": "w"], text: help)
          }
          page.newline()
        }
      }
    }
  }

  private func writeBalance(_ experts: Experts, _ page: inout Markup) {
    page.element(
      "p", ["class": "reading"],
      text:
        "“As if” is how many experts would do the same if they shared the tokens evenly: e to the entropy of the shares."
    )
    let titles = ["Layer", "#Tokens in", "#Least", "#Median", "#Most", "#As if", "#Experts", "#Under quota"]
    writeTable(titles, isSortable: true, into: &page) { page in
      for layer in experts.layers {
        let spread = layer.spread
        page.element("tr") { page in
          page.element("td") { writeName(layer.name, &$0) }
          for count in [layer.routedTokens, spread.least] { writeNumber(Double(count), NumberText.count(count), &page) }
          writeNumber(spread.median, NumberText.trimmed(NumberText.fixed(spread.median, decimals: 1)), &page)
          writeNumber(Double(spread.most), NumberText.count(spread.most), &page)
          writeNumber(layer.effectiveExperts, NumberText.fixed(layer.effectiveExperts, decimals: 1), &page)
          for count in [layer.tokens.count, layer.starved.count] {
            writeNumber(Double(count), NumberText.count(count), &page)
          }
        }
        page.newline()
      }
    }
  }
}
