import Calibration
import Checkpoints
import Foundation
import Kernels
import Models
import Quantization
import Tensors
import TestSupport
import Testing

@testable import Pipeline

/// Generation out of weights that an earlier run has left.
@Suite struct WeightCacheFolderTests {
  private static let schemes: [QuantizationScheme] = [
    .w4a16Asymmetric.withGroupSize(32), .w8a8, .fp8Dynamic, .fp8Block, .entropyCoded(bits: 4),
  ]

  /// The text that a run makes, and what it says.
  private static func generate(_ bench: Workbench, _ cache: String?, output: String = "out.tar.zst") throws -> (
    text: String, notes: [String]
  ) {
    final class Notes: @unchecked Sendable { var all: [String] = [] }
    let notes = Notes()
    var text = ""
    _ = try TextGeneration.run(
      model: bench.folder(output), prompt: "Once", maximumTokens: 12, sampling: Sampling(temperature: 1, seed: 5),
      weightCache: cache.map { bench.folder($0) }, note: { notes.all.append($0) }
    ) { text += $0 }
    return (text, notes.all)
  }

  private static func file(_ bench: Workbench, _ cache: String = "kept") throws -> String {
    WeightCache.path(in: bench.folder(cache), artifact: try bench.artifact().recordedSHA256())
  }

  @Test(arguments: schemes, [false, true])
  func `logits and text are the same in every bit`(_ scheme: QuantizationScheme, _ tied: Bool) throws {
    var tiny = TinyModel(modelType: "qwen2")
    tiny.tiesEmbeddings = tied
    let bench = try Workbench(tiny)
    var recipe = bench.recipe(scheme)
    if scheme == .entropyCoded(bits: 4) { recipe.rate = .bits(3) }
    try bench.quantize(recipe)
    let plain = try Self.generate(bench, nil)
    let first = try Self.generate(bench, "kept")
    let path = try Self.file(bench)
    #expect(first.text == plain.text && first.notes.count == 1 && first.notes[0].hasPrefix(path))
    let bytes = try Data(contentsOf: URL(filePath: path))
    let second = try Self.generate(bench, "kept")
    #expect(second.text == plain.text && second.notes.isEmpty)
    #expect(try Data(contentsOf: URL(filePath: path)) == bytes)

    let model = try bench.open()
    var cached = model
    try cached.use(
      try #require(
        try WeightCache.open(in: bench.folder("kept"), artifact: try bench.artifact().recordedSHA256())))
    let packed = Set(cached.checkpoint.cache?.matrices.keys.map { $0 } ?? [])
    let ends = Set(["model.embed_tokens"] + (tied ? [] : ["lm_head"]))
    #expect(packed == Set(model.linearNames).union(recipe.rate == nil ? [] : ends))
    // All other tensors too: nothing is decoded.
    let kept = Set(cached.checkpoint.cache?.tensors.map(\.name) ?? [])
    let coded = Set(packed.flatMap { model.storedTensors(ofLinear: $0).map(\.name) })
    #expect(kept == Set(model.checkpoint.weights.tensors.map(\.name)).subtracting(coded))
    let ids = [256, 84, 104, 101, 32, 99, 97, 116]
    for products in [RuntimeRounding.Products.float, .chosen, .int8] {
      var (one, other) = (model, cached)
      one.rounding.products = products
      other.rounding.products = products
      #expect(try one.logits(of: ids).values == other.logits(of: ids).values)
    }
    for name in model.linearNames {
      #expect(try model.linear(name).rows.matrix() == cached.linear(name).rows.matrix(), "\(name)")
    }
  }

  @Test(arguments: [false, true]) func `a quantized embedding and head are kept as well`(_ tied: Bool) throws {
    var tiny = TinyModel(modelType: "qwen2")
    tiny.tiesEmbeddings = tied
    let bench = try Workbench(tiny)
    var recipe = bench.recipe(.w4a16Asymmetric.withGroupSize(32))
    recipe.include = ["model.embed_tokens"] + (tied ? [] : ["lm_head"])
    try bench.quantize(recipe)
    let plain = try Self.generate(bench, nil)
    _ = try Self.generate(bench, "kept")
    let second = try Self.generate(bench, "kept")
    #expect(second.text == plain.text && second.notes.isEmpty)
    let cache = try #require(
      try WeightCache.open(in: bench.folder("kept"), artifact: try bench.artifact().recordedSHA256()))
    #expect(Set(recipe.include).isSubset(of: cache.matrices.keys))
  }

  @Test func `experts are kept as well`() throws {
    let folder = try TestFolder()
    let golden = try #require(FamilyTests.folders.first { $0.contains("mixtral") || $0.contains("moe") })
    let output = folder("model.tar.zst")
    let recipe = Recipe(
      scheme: .w4a16Asymmetric.withGroupSize(32), method: .roundToNearest, samples: 4, sequenceLength: 24)
    _ = try QuantizationRun(.init(model: try FamilyTests.model(golden, in: folder), output: output, recipe: recipe))
      .execute()
    let model = try ModelInputs.openModel(output)
    let digest = try Artifact(path: output).recordedSHA256()
    #expect(try ResidentModel(model).writeCache(in: folder.path, of: model, artifact: digest) != nil)
    var cached = model
    try cached.use(try #require(try WeightCache.open(in: folder.path, artifact: digest)))
    #expect(cached.checkpoint.cache?.matrices.keys.contains { $0.contains("experts") } == true)
    #expect(try model.logits(of: [1, 2, 3, 4]).values == cached.logits(of: [1, 2, 3, 4]).values)
  }

  @Test func `a damaged file is made again, and says so`() throws {
    let bench = try Workbench()
    try bench.quantize(bench.recipe())
    let plain = try Self.generate(bench, "kept")
    let path = try Self.file(bench)
    let bytes = try Data(contentsOf: URL(filePath: path))
    for damage in 0..<3 {
      var other = bytes
      switch damage {
      case 0: other[bytes.count / 2] ^= 4
      case 1: other = bytes.prefix(bytes.count / 2)
      default: other = Data()
      }
      try other.write(to: URL(filePath: path))
      let again = try Self.generate(bench, "kept")
      #expect(again.text == plain.text && again.notes.count == 2)
      #expect(again.notes[0].hasPrefix("the weight cache is made again: \(path)"), "\(again.notes)")
      #expect(try Data(contentsOf: URL(filePath: path)) == bytes)
      #expect(try Self.generate(bench, "kept").notes.isEmpty)
    }
  }

  @Test func `each artifact has a file of its own, and a cache of another model is refused`() throws {
    let bench = try Workbench()
    try bench.quantize(bench.recipe())
    _ = try Self.generate(bench, "kept")
    let digest = try bench.artifact().recordedSHA256()
    var larger = TinyModel(modelType: "qwen2")
    larger.intermediateSize = 128
    let other = try Workbench(larger)
    try other.quantize(other.recipe())
    let plain = try Self.generate(other, nil)
    #expect(try other.artifact().recordedSHA256() != digest)
    let cache = try #require(try WeightCache.open(in: bench.folder("kept"), artifact: digest))
    var model = try other.open()
    #expect(throws: ModelError.self) { try model.use(cache) }
    #expect(model.checkpoint.cache == nil)
    var text = ""
    _ = try TextGeneration.run(
      model: other.folder("out.tar.zst"), prompt: "Once", maximumTokens: 12,
      sampling: Sampling(temperature: 1, seed: 5), weightCache: bench.folder("kept")
    ) { text += $0 }
    #expect(text == plain.text)
    #expect(try bench.folder.names(in: "kept").count == 2)
  }

  @Test func `a folder that cannot be made does not stop generation`() throws {
    let bench = try Workbench()
    try bench.quantize(bench.recipe())
    let plain = try Self.generate(bench, nil)
    let kept = try Self.generate(bench, "text.txt/kept")
    #expect(kept.text == plain.text && kept.notes.count == 1)
    #expect(kept.notes[0].hasPrefix("the weights are not kept: "), "\(kept.notes)")
  }

  @Test func `what has no digest of its own is refused`() throws {
    let bench = try Workbench()
    #expect(refusal { _ = try Self.generate(bench, "kept", output: "model") }.contains("is for artifacts"))
    #expect(!bench.folder.has("kept"))
  }

  @Test func `measuring takes and leaves the same file`() throws {
    let bench = try Workbench()
    try bench.quantize(bench.recipe())
    for _ in 0..<2 {
      _ = try GenerationSpeed.run(
        model: bench.folder("out.tar.zst"), promptTokens: 4, generatedTokens: 2, rounds: 1,
        weightCache: bench.folder("kept"))
    }
    #expect(try Self.generate(bench, "kept").notes.isEmpty)
  }
}
