import Checkpoints
import Foundation
import Models
import StrictJSON
import Tensors
import TestSupport
import Testing

/// Folders of models with known logits.
enum ModelVectors {
  /// A folder of `Vectors`.
  static func path(_ name: String) -> String { Bundle.module.bundleURL.appending(path: "Vectors/" + name).path }

  /// A folder of the shared folder.
  static func shared(_ name: String) throws -> String { try #require(SharedFolder.path) + "/" + name }

  static func json(_ path: String) throws -> JSONValue {
    try JSONValue(parsing: try Data(contentsOf: URL(filePath: path)))
  }

  static func ids(_ json: JSONValue) throws -> [Int] { try #require(json.arrayValue).compactMap(\.intValue) }

  /// The folders of `Families`.
  static let families: [String] = {
    let folder = Bundle.module.bundleURL.appending(path: "Families").path
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return names.filter { FileManager.default.fileExists(atPath: "\(folder)/\($0)/config.json") }.sorted()
  }()

  /// One of ``families``.
  static func family(_ name: String) throws -> LanguageModel { try model(familyPath(name)) }

  static func familyPath(_ name: String) -> String {
    Bundle.module.bundleURL.appending(path: "Families/" + name).path
  }

  static func model(_ path: String) throws -> LanguageModel { try LanguageModel(try Checkpoint(path)) }

  /// The weights of a folder under another configuration.
  static func model(_ source: String, configuration: JSONObject) throws -> LanguageModel {
    let folder = try TestFolder()
    try folder.write("config.json", JSONValue.object(configuration).prettyText)
    try folder.write("model.safetensors", Data(contentsOf: URL(filePath: source + "/model.safetensors")))
    return try model(folder.path)
  }

  /// The logits of `expected.json`, `[tokens, vocabulary]`.
  static func expected(_ name: String) throws -> (ids: [Int], logits: Matrix) {
    let json = try json(path(name) + "/expected.json")
    let rows = try #require(json["logits"]?.arrayValue).map { try #require($0.arrayValue).compactMap(\.doubleValue) }
    return (
      try ids(try #require(json["input_ids"])),
      Matrix(rows: rows.count, columns: rows[0].count, values: rows.flatMap { $0.map { Float($0) } })
    )
  }
}

extension LanguageModel {
  /// Logits of one text with rotary tables for at most so many tokens.
  func logits(of ids: [Int], positions: Int) throws -> Matrix {
    let hidden = HiddenStates(try embedding()(ids), Sequences(lengths: [ids.count]))
    for index in 0..<configuration.layerCount {
      try layer(index)(hidden, tables: rotaryTables(positions: positions))
    }
    return try head()(try hidden.read(0))
  }

  /// Logits of one text, every linear shown to a tap with the layer's index.
  func logits(
    of ids: [Int], replacing: (inout DecoderLayer) throws -> Void = { _ in },
    tap: ((Int, String, Matrix, Matrix) -> Void)? = nil
  ) throws -> Matrix {
    let hidden = HiddenStates(try embedding()(ids), Sequences(lengths: [ids.count]))
    let tables = rotaryTables(positions: ids.count)
    for index in 0..<configuration.layerCount {
      var layer = try layer(index)
      try replacing(&layer)
      try layer(hidden, tables: tables, tap: tap.map { tap in { tap(index, $0, $1, $2) } })
    }
    return try head()(try hidden.read(0))
  }

  /// A tiny model, which is in memory although its folder is gone.
  static func tiny(_ tiny: TinyModel) throws -> LanguageModel {
    let folder = try TestFolder()
    try tiny.write(to: folder.path)
    return try ModelVectors.model(folder.path)
  }
}
