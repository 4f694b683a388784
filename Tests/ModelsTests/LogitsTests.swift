import Checkpoints
import Foundation
import Models
import StrictJSON
import Tensors
import TestSupport
import Testing

/// The bound of the goldens: float32 against float32, sums in another order.
///
/// README.md beside them says why it is fair.
private let parityTolerance = 1e-4

@Suite struct LogitsTests {
  private static func deviation(_ name: String, _ model: LanguageModel, suffix: String = "") throws -> Double {
    let folder = ModelVectors.familyPath(name)
    let ids = try ModelVectors.ids(try ModelVectors.json(folder + "/tokens\(suffix).json"))
    let expected = try SafetensorsFile(path: folder + "/logits\(suffix).safetensors").tensor("logits")
    let found = try model.logits(of: ids)
    #expect(expected.shape == [found.rows, found.columns])
    return Deviation.relative(found.values, expected.floats())
  }

  @Test func `every folder of families is there`() throws {
    let known = try #require(
      try ModelVectors.json(ModelVectors.familyPath("families.json")).objectValue?.members.map(\.name).sorted())
    #expect(ModelVectors.families == known)
  }

  @Test(arguments: ModelVectors.families) func `a family has the reference's logits`(_ name: String) throws {
    let deviation = try Self.deviation(name, ModelVectors.family(name))
    #expect(deviation <= parityTolerance)
  }

  @Test(arguments: ModelVectors.families.filter { has($0, "config_old.json") })
  func `a family has the same logits under the older spelling of its configuration`(_ name: String) throws {
    let folder = ModelVectors.familyPath(name)
    let old = try #require(try ModelVectors.json(folder + "/config_old.json").objectValue)
    let ids = try ModelVectors.ids(try ModelVectors.json(folder + "/tokens.json"))
    #expect(
      try ModelVectors.model(folder, configuration: old).logits(of: ids)
        == ModelVectors.family(name).logits(of: ids))
  }

  @Test(arguments: ModelVectors.families.filter { has($0, "tokens-short.json") })
  func `a short text has the reference's logits where its length counts`(_ name: String) throws {
    let deviation = try Self.deviation(name, ModelVectors.family(name), suffix: "-short")
    #expect(deviation <= parityTolerance)
  }

  private static func has(_ name: String, _ file: String) -> Bool {
    FileManager.default.fileExists(atPath: ModelVectors.familyPath(name) + "/" + file)
  }

  @Test(arguments: ["llama", "qwen2"], ["config.json", "config_v4.json"])
  func `a model saved in float32 has the reference's logits`(_ name: String, _ file: String) throws {
    let folder = ModelVectors.path(name)
    let configuration = try #require(try ModelVectors.json(folder + "/" + file).objectValue)
    let model = try ModelVectors.model(folder, configuration: configuration)
    let (ids, logits) = try ModelVectors.expected(name)
    #expect(Deviation.relative(try model.logits(of: ids).values, logits.values) <= parityTolerance)
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

  @Test(arguments: ModelVectors.families)
  func `a later token does not change the logits of an earlier one`(_ name: String) throws {
    let model = try ModelVectors.family(name)
    let one = try model.logits(of: [5, 9, 90, 31])
    let other = try model.logits(of: [5, 9, 90, 77])
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
  private static let folders: [String] = {
    let golden = SharedFolder.path.map { $0 + "/golden" } ?? ""
    let names = (try? FileManager.default.contentsOfDirectory(atPath: golden).sorted()) ?? []
    return names.map { "golden/" + $0 }
      + ["models/pocket-qwen2", "models/pocket-qwen2-outliers", "models/pocket-deepseek"]
  }()

  @Test(arguments: folders) func `a golden model has the reference's logits`(_ name: String) throws {
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
