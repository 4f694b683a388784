/// The divergences of all tokens in ascending order, each with the window that it came from.
///
/// A quantile is the smallest value that at least the given share of tokens does not exceed (NumPy's `inverted_cdf`),
/// so that a resample is a walk over the same order with other weights and nothing is sorted again.
struct SortedDivergences {
  /// Ascending, nats.
  let values: [Double]
  private let windows: [Int32]

  /// - Parameters:
  ///   - values: per token its divergence.
  ///   - windows: per token the index of its window.
  init(values: [Double], windows: [Int32]) {
    let order = values.indices.sorted { values[$0] < values[$1] }
    self.values = order.map { values[$0] }
    self.windows = order.map { windows[$0] }
  }

  /// How many of `count` tokens, in ascending order, reach a share of them.
  ///
  /// The small term keeps 0.9 · 10 from becoming 10 where the product is rounded up.
  private static func rank(_ share: Double, of count: Int) -> Int {
    max(1, Int((share * Double(count) - 1e-9).rounded(.up)))
  }

  /// The quantiles of the sample itself.
  func quantiles(_ shares: [Double]) -> [Double] {
    shares.map { values[Self.rank($0, of: values.count) - 1] }
  }

  /// The quantiles when every token counts as often as its window.
  ///
  /// - Parameters:
  ///   - shares: ascending.
  ///   - weights: per window how often it was drawn.
  ///   - count: number of tokens so weighted.
  func quantiles(_ shares: [Double], weights: [Int], count: Int) -> [Double] {
    let ranks = shares.map { Self.rank($0, of: count) }
    var results: [Double] = []
    var passed = 0
    weights.withUnsafeBufferPointer { weights in
      windows.withUnsafeBufferPointer { windows in
        var wanted = ranks.first ?? .max
        for index in windows.indices {
          passed += weights[Int(windows[index])]
          while passed >= wanted {
            results.append(values[index])
            guard results.count < ranks.count else { return }
            wanted = ranks[results.count]
          }
        }
      }
    }
    return results
  }
}
