internal import Models

/// Calibration windows by their use.
struct CalibrationTexts {
  /// What scales and clips are searched with.
  let search: [[Int]]
  /// What folds are judged on.
  private let heldOut: [[Int]]
  /// Further windows, for experts that see too little; empty for models without experts.
  let reserve: [[Int]]

  /// - Parameters:
  ///   - windows: what the recipe asked for, and perhaps more.
  ///   - samples: how many of them it asked for.
  init(_ windows: TokenWindows, reserve: [[Int]]) {
    (search, heldOut) = windows.splitHeldOut
    self.reserve = reserve
  }

  /// Windows to judge folds on, one at least.
  func judged(tokens limit: Int) -> [[Int]] {
    var kept: [[Int]] = []
    for window in heldOut where kept.isEmpty || kept.reduce(0, { $0 + $1.count }) + window.count <= limit {
      kept.append(window)
    }
    return kept
  }

  /// Length of the longest window.
  var longest: Int { (search + heldOut + reserve).map(\.count).max() ?? 0 }

  /// Tokens of all windows.
  var tokenCount: Int { (search + heldOut + reserve).reduce(0) { $0 + $1.count } }
}
