// What the page and the comment say about experts.

extension Report.Experts.Layer {
  /// The fewest, the middle and the most tokens an expert saw.
  var spread: (least: Int, median: Double, most: Int) {
    (tokens.min() ?? 0, LayerRow.median(tokens.map(Double.init)) ?? 0, tokens.max() ?? 0)
  }

  /// How many experts would be used if they shared the tokens evenly and as widely: e to the entropy of the shares;
  /// all of them when every expert saw as many tokens, 1 when one saw all.
  var effectiveExperts: Double {
    let total = Double(tokens.reduce(0, +))
    guard total > 0 else { return 0 }
    let entropy = tokens.filter { $0 > 0 }.reduce(0.0) { sum, count in
      let share = Double(count) / total
      return sum - share * share.naturalLogarithm
    }
    return entropy.exponential
  }

  /// The number of the decoder layer as plots show it, or its name.
  var shortName: String { LinearPlace(name).layer.map(String.init) ?? name }
}

extension Report.Experts {
  /// A starved expert and what became of it.
  struct Starved {
    let layer: Layer
    let expert: Int
    var tokens: Int { layer.tokens[expert] }
    var help: Help? { layer.help[expert] }
  }

  /// All experts under their quota, in the order of the model.
  var starved: [Starved] { layers.flatMap { layer in layer.starved.map { Starved(layer: layer, expert: $0) } } }

  /// How many experts there are.
  var count: Int { layers.reduce(0) { $0 + $1.tokens.count } }

  /// The quota, where all layers have the same.
  var commonQuota: Int? { layers.allSatisfy { $0.quota == layers[0].quota } ? layers.first?.quota : nil }

  /// How many experts were starved, and what was done for them, in two sentences.
  var sentence: String {
    let starved = starved
    let quota = commonQuota.map { "the quota of \(NumberText.count($0)) calibration tokens" } ?? "their layer's quota"
    guard !starved.isEmpty else {
      return "Each of the \(NumberText.count(count)) experts saw at least \(quota)."
    }
    var fed = 0
    var underfed = 0
    var replaced = 0
    for one in starved {
      switch one.help {
      case .extraSamples(let tokens) where tokens >= one.layer.quota: fed += 1
      case .extraSamples: underfed += 1
      case .layerStatistics: replaced += 1
      case nil: break
      }
    }
    func part(_ count: Int, _ words: String) -> String? { count > 0 ? "\(NumberText.count(count)) \(words)" : nil }
    let parts = [
      part(fed, "reached it with more text"), part(underfed, "got more text and still stayed under it"),
      part(replaced, "took the statistics of everything that entered the layer instead"),
      part(starved.count - fed - underfed - replaced, "got no help"),
    ].compactMap(\.self)
    let share = Double(starved.count) / Double(max(1, count))
    return "\(NumberText.count(starved.count)) of \(NumberText.count(count)) experts (\(NumberText.percent(share))) "
      + "saw fewer than \(quota): " + parts.joined(separator: ", ") + "."
  }

  /// What was done for an expert.
  static func text(_ help: Help?) -> String {
    switch help {
    case .extraSamples(let tokens): "more text: \(NumberText.count(tokens)) tokens"
    case .layerStatistics: "statistics of the layer's input"
    case nil: "nothing"
    }
  }
}
