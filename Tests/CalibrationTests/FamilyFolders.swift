import Checkpoints
import Foundation
import Tensors

@testable import Calibration
@testable import Models

/// The golden models of all families, tiny and random, that lie beside the tests of Models.
enum FamilyFolders {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "ModelsTests/Families")

  /// Those that load, by name.
  static let loaded: [String] = {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: root.path)) ?? []
    return names.sorted().filter { name in
      FileManager.default.fileExists(atPath: root.path + "/\(name)/tokens.json") && (try? model(name)) != nil
    }
  }()

  /// Those with experts.
  static let mixtures: [String] = loaded.filter { (try? model($0))?.configuration.hasExperts ?? false }

  static func model(_ name: String) throws -> LanguageModel {
    try LanguageModel(try Checkpoint(root.appending(path: name).path))
  }

  static func ids(_ name: String) throws -> [Int] {
    try JSONDecoder().decode([Int].self, from: try Data(contentsOf: root.appending(path: name + "/tokens.json")))
  }
}

extension LanguageModel {
  /// Logits of a text through layers that were changed.
  func logits(of ids: [Int], edit: (Int, inout DecoderLayer) throws -> Void) throws -> Matrix {
    let hidden = HiddenStates(try embedding()(ids), Sequences(lengths: [ids.count]))
    let tables = rotaryTables(positions: ids.count)
    for index in layouts.indices {
      var layer = try layer(index)
      try edit(index, &layer)
      try layer(hidden, tables: tables)
    }
    return try head()(try hidden.read(0))
  }
}

extension Matrix {
  /// Mean over rows of the divergence of the other's distribution from this one's, logits being given.
  func meanDivergence(from other: Matrix) -> Double {
    func logProbabilities(_ row: ArraySlice<Float>) -> [Double] {
      let top = Double(row.max() ?? 0)
      let total = row.reduce(0.0) { $0 + exp(Double($1) - top) }
      return row.map { Double($0) - top - log(total) }
    }
    var sum = 0.0
    for index in 0..<rows {
      let (p, q) = (logProbabilities(ArraySlice(row(index))), logProbabilities(ArraySlice(other.row(index))))
      sum += zip(p, q).reduce(0.0) { $0 + exp($1.0) * ($1.0 - $1.1) }
    }
    return sum / Double(rows)
  }
}
