import Checkpoints
import Foundation
import Models
import StrictJSON
import Tensors
import TestSupport
import Testing

/// The bound of DESIGN.md's shared goldens: float32 against float32, sums in another order.
private let parityTolerance = 1e-4

@Suite struct LogitsTests {
  @Test(arguments: ["config.json", "config_v4.json"])
  func `the tiny llama has the reference's logits under both spellings of its configuration`(_ name: String) throws {
    let configuration = try #require(try ModelVectors.json(ModelVectors.path("llama/" + name)).objectValue)
    let model = try ModelVectors.model("llama", configuration: configuration)
    let (ids, logits) = try ModelVectors.expected("llama")
    #expect(Deviation.relative(try model.logits(of: ids).values, logits.values) <= parityTolerance)
  }

  @Test func `both spellings of a configuration give the same bits`() throws {
    for name in ["llama", "qwen2"] {
      let logits = try ["config.json", "config_v4.json"].map { file in
        var object = try #require(try ModelVectors.json(ModelVectors.path("\(name)/\(file)")).objectValue)
        object["use_sliding_window"] = nil
        object["layer_types"] = nil
        if name == "llama" { object["sliding_window"] = nil }
        return try ModelVectors.model(name, configuration: object).logits(of: [1, 7, 3, 9])
      }
      #expect(logits[0] == logits[1])
    }
  }

  @Test func `the tiny qwen2 has the reference's logits as far as its window reaches`() throws {
    var object = try #require(try ModelVectors.json(ModelVectors.path("qwen2/config.json")).objectValue)
    object["use_sliding_window"] = false
    object["layer_types"] = nil
    let (ids, logits) = try ModelVectors.expected("qwen2")
    let found = try ModelVectors.model("qwen2", configuration: object).logits(of: ids)
    #expect(Deviation.relative(found.rows(0..<4).values, logits.rows(0..<4).values) <= parityTolerance)
    // Beyond it the reference sees fewer keys, so that agreement would mean the test compares nothing.
    #expect(Deviation.relative(found.rows(4..<12).values, logits.rows(4..<12).values) > 10 * parityTolerance)
  }

  @Test(arguments: ["config.json", "config_v4.json"])
  func `the sliding window of the tiny qwen2 is refused by name`(_ name: String) throws {
    let configuration = try #require(try ModelVectors.json(ModelVectors.path("qwen2/" + name)).objectValue)
    #expect {
      try ModelVectors.model("qwen2", configuration: configuration)
    } throws: {
      guard case .configuration(_, let key, _)? = $0 as? ModelError else { return false }
      return key == "use_sliding_window"
    }
  }

  @Test func `token ids outside of the vocabulary and texts that are too long are refused with both numbers`() throws {
    let model = try LanguageModel.tiny(TinyModel())
    #expect(throws: ModelError.token(id: 272, vocabularySize: 272)) { try model.logits(of: [1, 272]) }
    #expect(throws: ModelError.token(id: -1, vocabularySize: 272)) { try model.logits(of: [-1]) }
    #expect(throws: ModelError.tooLong(length: 129, maximum: 128)) {
      try model.logits(of: [Int](repeating: 1, count: 129))
    }
    #expect(try model.logits(of: [Int](repeating: 1, count: 128)).rows == 128)
  }

  @Test func `a later token does not change the logits of an earlier one`() throws {
    let model = try LanguageModel.tiny(TinyModel(modelType: "qwen2"))
    let one = try model.logits(of: [5, 9, 200, 31])
    let other = try model.logits(of: [5, 9, 200, 77])
    #expect(one.rows(0..<3) == other.rows(0..<3))
    #expect(one.row(3) != other.row(3))
  }

  @Test func `progress names every layer once`() throws {
    var seen: [Int] = []
    _ = try LanguageModel.tiny(TinyModel()).logits(of: [1, 2]) { seen.append($0) }
    #expect(seen == [0, 1])
  }
}

/// Models whose logits transformers computed; they are too large for the repository.
@Suite(.enabled(if: SharedFolder.exists, "needs the shared folder's models")) struct SharedLogitsTests {
  @Test(arguments: [
    "golden/llama", "golden/llama-plain", "golden/qwen2", "golden/qwen2-yarn", "models/pocket-qwen2",
    "models/pocket-qwen2-outliers",
  ])
  func `a golden model has the reference's logits`(_ name: String) throws {
    let folder = try ModelVectors.shared(name)
    let ids = try ModelVectors.ids(try ModelVectors.json(folder + "/tokens.json"))
    let expected = try SafetensorsFile(path: folder + "/logits.safetensors").tensor("logits")
    let found = try ModelVectors.model(folder).logits(of: ids)
    #expect(expected.shape == [found.rows, found.columns] || expected.shape == [1, found.rows, found.columns])
    #expect(Deviation.relative(found.values, expected.floats()) <= parityTolerance)
  }

  @Test(arguments: ["stories260K", "babyllama-tok361"])
  func `a public model has the reference's logits at the last position`(_ name: String) throws {
    let folder = try ModelVectors.shared("models/" + name)
    let reference = try ModelVectors.json(folder + "/reference_logits.json")
    let found = try ModelVectors.model(folder).logits(of: try ModelVectors.ids(try #require(reference["ids"])))
    let expected = try #require(reference["last_logits"]?.arrayValue).compactMap(\.doubleValue).map { Float($0) }
    #expect(Deviation.relative(Array(found.row(found.rows - 1)), expected) <= parityTolerance)
  }
}
