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

  static func model(_ path: String) throws -> LanguageModel { try LanguageModel(try Checkpoint(path)) }

  /// One of ``path(_:)`` under another configuration.
  static func model(_ name: String, configuration: JSONObject) throws -> LanguageModel {
    let folder = try TestFolder()
    try folder.write("config.json", JSONValue.object(configuration).prettyText)
    try folder.write("model.safetensors", Data(contentsOf: URL(filePath: path(name) + "/model.safetensors")))

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
  /// A tiny model, which is in memory although its folder is gone.
  static func tiny(_ tiny: TinyModel) throws -> LanguageModel {
    let folder = try TestFolder()
    try tiny.write(to: folder.path)
    return try ModelVectors.model(folder.path)
  }
}
