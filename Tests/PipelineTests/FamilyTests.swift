import Calibration
import Checkpoints
import Foundation
import Models
import Quantization
import Reports
import StrictJSON
import Tensors
import TestSupport
import Testing

@testable import Pipeline

/// Every family with a golden model, from the checkpoint to a verified artifact.
@Suite struct FamilyTests {
  /// Golden models of all families; a text that their small vocabularies know is put beside them.
  static let folders: [String] = {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "ModelsTests/Families")
    let names = (try? FileManager.default.contentsOfDirectory(atPath: root.path)) ?? []
    return names.filter { FileManager.default.fileExists(atPath: root.path + "/\($0)/config.json") }.sorted()
      .map { root.path + "/" + $0 }
  }()

  /// A copy with a tokenizer of printable ASCII.
  static func model(_ golden: String, in folder: TestFolder) throws -> String {
    let path = folder("model")
    try FileManager.default.copyItem(atPath: golden, toPath: path)
    let vocabulary = (32..<126).map { String(UnicodeScalar(UInt8($0))) }
    var tokens = JSONObject()
    for (id, token) in vocabulary.enumerated() { tokens[token] = .integer(id) }
    tokens["<unk>"] = .integer(vocabulary.count)
    let tokenizer: JSONValue = [
      "version": "1.0", "added_tokens": [], "normalizer": .null, "pre_tokenizer": .null, "post_processor": .null,
      "decoder": .null,
      "model": ["type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "vocab": .object(tokens), "merges": []],
    ]
    try Data(tokenizer.prettyText.utf8).write(to: URL(filePath: path + "/tokenizer.json"))
    return path
  }

  @Test func `there are golden models`() { #expect(Self.folders.count > 30) }

  @Test(arguments: folders, ["W4A16_ASYM", "FP8_DYNAMIC"])
  func `a family is quantized, written, checked and verified`(golden: String, scheme: String) throws {
    let folder = try TestFolder()
    let path = try Self.model(golden, in: folder)
    let output = folder("model.tar.zst")
    var recipe = Recipe(
      scheme: try #require(QuantizationScheme.named(scheme)).withGroupSize(16), samples: 24, sequenceLength: 24,
      expertTokens: 40)
    recipe.method = scheme.hasPrefix("W4") ? .awq : .roundToNearest
    let run = try QuantizationRun(.init(model: path, output: output, recipe: recipe))
    let outcome = try run.execute()
    // Nothing of the source is lost in silence, and what is a router, a norm or a sink stays what it was.
    #expect(outcome.ledger.entries.count == run.model.checkpoint.weights.tensors.count)
    let artifact = try Artifact(path: output)
    for entry in outcome.ledger.entries where entry.fate.kind == .copied {
      let (old, new) = (try run.model.tensor(entry.name), try artifact.tensor(entry.name))
      #expect(old.withBytes { a in new.withBytes { a.elementsEqual($0) } }, "\(entry.name) is carried over bit for bit")
    }
    for plan in run.plan.linears where run.model.linear(named: plan.name)?.isRouter == true {
      #expect(plan.scheme == nil)
    }
    if run.model.configuration.hasExperts && recipe.method == .awq {
      let experts = try #require(outcome.experts)
      for layer in experts.layers {
        #expect(Set(layer.help.keys) == Set(layer.starved), "\(layer.name)")
      }
    }
    var request = Verification.Request(reference: path, candidate: output)
    (request.tokens, request.sequenceLength) = (480, 24)
    let report = try Verification.run(request)
    let kl = try #require(report.accuracy?.comparison).divergence.mean.value
    // Random weights 32 channels wide lose far more than trained ones, and a router may choose otherwise; a layer that is
    // loaded wrongly is off by whole nats.
    #expect(kl > 0 && kl < (scheme.hasPrefix("W4") ? 0.3 : 0.1), "\(golden.split(separator: "/").last ?? ""): \(kl)")
    #expect(report.layers.count == run.model.linearNames.count)
  }
}
