/// One line of the table of linears: a linear, or all experts of a layer that do the same.
struct LayerRow {
  /// The linear's name, with `*` for the experts' numbers.
  let name: String
  /// The linears it stands for, in checkpoint order.
  let layers: [Report.Layer]

  /// Rows in the order of their first linears.
  static func rows(of layers: [Report.Layer]) -> [LayerRow] {
    var order: [String] = []
    var groups: [String: [Report.Layer]] = [:]
    for layer in layers {
      let place = LinearPlace(layer.name)
      let key = place.part == .expert ? place.pattern : layer.name
      if groups[key] == nil { order.append(key) }
      groups[key, default: []].append(layer)
    }
    return order.map { name in
      let layers = groups[name] ?? []
      return LayerRow(name: layers.count == 1 ? layers[0].name : name, layers: layers)
    }
  }

  /// The median SQNR, dB.
  var sqnr: Double? { Self.median(layers.compactMap(\.sqnr)) }

  /// The linear with the lowest SQNR.
  var worst: Report.Layer? { layers.filter { $0.sqnr != nil }.min { ($0.sqnr ?? 0) < ($1.sqnr ?? 0) } }

  /// The median of what the method gains over rounding to nearest, dB.
  var gain: Double? {
    Self.median(
      layers.compactMap { layer in layer.sqnr.flatMap { sqnr in layer.roundToNearestSqnr.map { sqnr - $0 } } }
    )
  }

  /// The lowest cosine.
  var cosine: Double? { layers.compactMap(\.cosine).min() }

  /// Bits per weight, the mean.
  var bitsPerWeight: Double { layers.reduce(0) { $0 + $1.bitsPerWeight } / Double(max(1, layers.count)) }

  /// Every scheme that occurs, in order.
  var schemes: String {
    var seen: Set<String> = []
    return layers.map(\.scheme).filter { seen.insert($0).inserted }.joined(separator: ", ")
  }

  /// The middle value, of an even count the mean of both; values that are not finite count at the ends.
  static func median(_ values: [Double]) -> Double? {
    let sorted = values.filter { !$0.isNaN }.sorted()
    guard !sorted.isEmpty else { return nil }
    let middle = sorted.count / 2
    return sorted.count.isMultiple(of: 2) && sorted[middle - 1] != sorted[middle]
      ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
  }
}
