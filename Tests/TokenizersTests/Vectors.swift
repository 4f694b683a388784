import Foundation
import StrictJSON
import TestSupport
import Testing

@testable import Tokenizers

/// The committed answers of the reference library; `Vectors/*.py` say how they were made.
enum Vectors {
  static let components: JSONValue = load("components")
  static let shared: JSONValue = load("shared")

  static func load(_ name: String) -> JSONValue {
    do {
      let url = try #require(Bundle.module.url(forResource: name, withExtension: "json", subdirectory: "Vectors"))
      return try JSONValue(parsing: Data(contentsOf: url))
    } catch {
      Issue.record("Vectors/\(name).json: \(error)")
      return .null
    }
  }

  static let texts: [String] = components["texts"]?.arrayValue?.compactMap(\.stringValue) ?? []
  static let cases: [JSONValue] = components["cases"]?.arrayValue ?? []
  static let caseNames: [String] = cases.compactMap { $0["name"]?.stringValue }

  /// A model of the vectors; derived ones are their base with changes.
  static func model(_ name: String) throws -> JSONValue {
    guard let derived = components["derived"]?[name] else { return try #require(components["models"]?[name]) }
    let base = try #require(derived["base"]?.stringValue)
    var model = try #require(try self.model(base).objectValue)
    for change in try #require(derived["changes"]?.objectValue).members {
      if change.value == "spaced" {
        let merges = try #require(model["merges"]?.arrayValue)
        model["merges"] = .array(
          merges.map { .string(($0.arrayValue ?? []).compactMap(\.stringValue).joined(separator: " ")) })
      } else {
        model[change.name] = change.value
      }
    }
    return .object(model)
  }

  /// The file that a case describes.
  static func file(of vector: JSONValue) throws -> JSONObject {
    var file: JSONObject = ["version": "1.0"]
    for name in ["added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder"] {
      if let part = vector[name] { file[name] = part }
    }
    file["model"] = try model(try #require(vector["model"]?.stringValue))
    return file
  }

  static func tokenizer(_ file: JSONObject) throws -> Tokenizer {
    try Tokenizer(json: JSONValue.object(file).compactText.utf8, file: "test")
  }

  /// The tokenizer of a case by its name.
  static func tokenizer(_ name: String) throws -> Tokenizer {
    let vector = try #require(cases.first { $0["name"]?.stringValue == name })
    return try tokenizer(file(of: vector))
  }
}

extension JSONValue {
  /// Whole numbers of an array.
  var ids: [Int]? { arrayValue?.compactMap(\.intValue) }
}

/// Equal scalar for scalar: for Swift's own equality, and so for `#expect(a == b)`, é and e + ◌́ are the same.
func sameScalars(_ a: String, _ b: String) -> Bool { a.utf8.elementsEqual(b.utf8) }
