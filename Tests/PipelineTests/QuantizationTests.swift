import Calibration
import Checkpoints
import Foundation
import Kernels
import Models
import Pipeline
import Quantization
import Reports
import StrictJSON
import Tensors
import TestSupport
import Testing

@Suite struct QuantizationTests {
  /// What a random model of 64 channels, which has nothing to average errors over, may lose; a broken layout or scale
  /// costs whole nats.
  private static func allowedDivergence(_ scheme: QuantizationScheme) -> Double {
    [2: 4, 3: 2, 4: 0.5, 5: 0.2][scheme.weights.format.bitWidth] ?? 0.05
  }

  /// What weights keep at least of their energy over their error, in dB; six a bit.
  private static func leastSQNR(_ scheme: QuantizationScheme) -> Double {
    Double(min(10, 6 * scheme.weights.format.bitWidth - 12))
  }

  @Test(arguments: QuantizationScheme.all.map(\.name), Calibration.Method.allCases)
  func `every scheme and method gives an artifact that is whole, small and close`(
    _ name: String, _ method: Calibration.Method
  ) throws {
    let scheme = try #require(QuantizationScheme.named(name))
    let bench = try Workbench()
    let outcome = try bench.quantize(bench.recipe(scheme, method))
    let artifact = try bench.artifact()
    try artifact.check()
    #expect(try artifact.fileSHA256() == outcome.summary.sha256)
    let report = try bench.verify()
    #expect(report.integrity == .intact(parts: artifact.members.count + artifact.tensors.count))
    #expect(report.candidate.digest == outcome.summary.sha256 && report.reference.digest == outcome.sourceDigest)
    #expect(report.divergence > 0 && report.divergence < Self.allowedDivergence(scheme), "\(report.divergence)")
    #expect(
      report.layers.count == 14
        && report.layers.allSatisfy { $0.scheme == name && ($0.sqnr ?? -99) > Self.leastSQNR(scheme) })
    #expect(outcome.folds.isEmpty == (!method.searchesScales || scheme.weights.format.isFloat))
    #expect((outcome.calibration == nil) == !bench.recipe(scheme, method).needsCalibration)
  }

  @Test func `a folder has the files of the artifact, byte for byte`() throws {
    let bench = try Workbench()
    try bench.quantize(bench.recipe())
    try bench.quantize(bench.recipe(), to: "out/")
    let artifact = try bench.artifact()
    #expect(try bench.folder.names(in: "out") == artifact.members.map(\.name).sorted())
    for member in artifact.members where member.name != "model.safetensors" {
      #expect(try bench.folder.bytes("out/" + member.name) == artifact.member(member.name), "\(member.name)")
    }
    #expect(try bench.logits("out") == bench.logits("out.tar.zst"))
    #expect(try bench.verify("out").divergence == bench.verify().divergence)
  }

  @Test func `only linears are touched by rounding alone`() throws {
    let bench = try Workbench()
    try bench.quantize(bench.recipe(.w8a16))
    let (source, result) = (try bench.open("model"), try bench.open())
    for info in source.checkpoint.weights.tensors where !info.name.contains("_proj.weight") {
      let tensor = try result.tensor(info.name)
      #expect(tensor.dtype == info.dtype && tensor.shape == info.shape)
      let original = try source.tensor(info.name)
      #expect(tensor.withBytes { Array($0) } == original.withBytes { Array($0) }, "\(info.name)")
    }
    for name in source.linearNames {
      #expect(result.checkpoint.weights.info(name + ".weight") == nil)
      #expect(result.checkpoint.weights.info(name + ".weight_packed")?.dtype == .int32)
    }
  }

  @Test func `linears that are ignored stay bit for bit under rounding, and as near as their type allows under awq`()
    throws
  {
    let bench = try Workbench()
    var recipe = bench.recipe()
    recipe.ignore = ["re:.*(down|o)_proj", "model.layers.0.mlp.up_proj"]
    try bench.quantize(recipe)
    let (source, result) = (try bench.open("model"), try bench.open())
    for name in source.linearNames {
      let isKept = name.hasSuffix("down_proj") || name.hasSuffix("o_proj") || name == "model.layers.0.mlp.up_proj"
      #expect((result.quantization?.scheme(of: name) == nil) == isKept, "\(name)")
      guard isKept else { continue }
      let (one, other) = (try source.tensor(name + ".weight"), try result.tensor(name + ".weight"))
      #expect(one.withBytes { Array($0) } == other.withBytes { Array($0) }, "\(name)")
    }
    recipe.method = .awq
    try bench.quantize(recipe, to: "awq.tar.zst")
    #expect(try bench.verify("awq.tar.zst").divergence < Self.allowedDivergence(.w4a16))
  }

  // MARK: Both ends

  @Test(arguments: [true, false], Calibration.Method.allCases)
  func `the embedding and the head are quantized on request, and the result runs`(
    _ isTied: Bool, _ method: Calibration.Method
  ) throws {
    var tiny = TinyModel(modelType: "qwen2")
    tiny.tiesEmbeddings = isTied
    let bench = try Workbench(tiny)
    var recipe = bench.recipe(.w8a16, method)
    recipe.include = isTied ? ["model.embed_tokens"] : ["model.embed_tokens", "lm_head"]
    try bench.quantize(recipe)
    let result = try bench.open()
    #expect(result.checkpoint.weights.info("model.embed_tokens.weight") == nil)
    #expect(result.checkpoint.weights.info("model.embed_tokens.weight_packed") != nil)
    #expect((result.checkpoint.weights.info("lm_head.weight_packed") == nil) == isTied)
    #expect(result.quantization?.scheme(of: "model.embed_tokens")?.weights == QuantizationScheme.w8a16.weights)
    #expect(try bench.verify().divergence < Self.allowedDivergence(.w8a16))
    var text = ""
    let statistics = try TextGeneration.run(
      model: bench.folder("out.tar.zst"), prompt: "The", maximumTokens: 5, sampling: Sampling()
    ) { text += $0 }
    #expect(statistics.promptTokens == 4 && statistics.tokens <= 5)
  }

  @Test func `a head alone can be quantized when it is not tied`() throws {
    var tiny = TinyModel()
    tiny.tiesEmbeddings = false
    let bench = try Workbench(tiny)
    var recipe = bench.recipe(.fp8Dynamic)
    recipe.include = ["lm_head"]
    try bench.quantize(recipe)
    let result = try bench.open()
    #expect(result.checkpoint.weights.info("lm_head.weight")?.dtype == .float8E4M3)
    #expect(result.checkpoint.weights.info("model.embed_tokens.weight")?.dtype == .bfloat16)
    #expect(try bench.verify().divergence < Self.allowedDivergence(.fp8Dynamic))
  }

  @Test func `a head that repeats the tied embedding is dropped with the reason`() throws {
    var tiny = TinyModel()
    let embedding = try #require(tiny.drawnTensors().first { $0.name == "model.embed_tokens.weight" }?.tensor)
    tiny.tensors["lm_head.weight"] = embedding
    let bench = try Workbench(tiny)
    let run = try bench.run(bench.recipe())
    #expect(run.plan.dropped.map(\.name) == ["lm_head.weight"])
    #expect(run.remarks.contains { $0.hasPrefix("lm_head.weight is not written") }, "\(run.remarks)")
    let outcome = try run.execute()
    #expect(try bench.artifact().info("lm_head.weight") == nil)
    var report = try bench.verify()
    report.add(outcome)
    let ledger = try #require(report.ledger)
    #expect(ledger.total(.quantized).tensors == 14 && ledger.total(.copied).tensors == 6)
    #expect(ledger.entries.filter { $0.fate.kind == .dropped }.map(\.name) == ["lm_head.weight"])
  }

  @Test func `a head that differs from the embedding it is said to be tied to is refused`() throws {
    var tiny = TinyModel()
    tiny.tensors["lm_head.weight"] = Tensor(
      [272, 64], floats: [Float](repeating: 0.5, count: 272 * 64), as: .bfloat16)
    let bench = try Workbench(tiny)
    let message = refusal { _ = try bench.run(bench.recipe()) }
    #expect(message.contains("lm_head.weight differs") && message.contains("tie_word_embeddings"), "\(message)")
  }

  // MARK: What travels

  @Test func `the configuration keeps every key and gains the quantization`() throws {
    let bench = try Workbench()
    try bench.quantize(bench.recipe())
    let before = try #require(try bench.folder.json("model/config.json").objectValue)
    let after = try #require(try JSONValue(parsing: try bench.artifact().member("config.json")).objectValue)
    #expect(Array(after.members.dropLast()) == before.members)
    #expect(before["_comment"] == "kept as it is" && before["rms_norm_eps"] == .number("1e-06"))
    let quantization = try #require(after["quantization_config"])
    #expect(quantization["quant_method"] == "compressed-tensors" && quantization["format"] == "pack-quantized")
    #expect(quantization["ignore"] == ["lm_head"])
    // Widths of 64 and 96 need two group sizes, so each linear is named.
    let groups = try #require(quantization["config_groups"]?.objectValue)
    #expect(groups.members.map { $0.value["weights"]?["group_size"]?.intValue } == [64, 32])
    #expect(groups.members.flatMap { $0.value["targets"]?.arrayValue ?? [] }.count == 14)
  }

  @Test func `one scheme for all is said the short way`() throws {
    let bench = try Workbench()
    let plan = try bench.run(bench.recipe(.fp8Dynamic)).plan
    let groups = try #require(plan.quantization["config_groups"]?.objectValue)
    #expect(groups.members.map { $0.value["targets"]?.arrayValue?.compactMap(\.stringValue) } == [["Linear"]])
    #expect(plan.quantization["ignore"]?.arrayValue?.compactMap(\.stringValue) == ["lm_head"])
  }

  @Test func `files beside the weights travel byte for byte, and foreign ones stay`() throws {
    let bench = try Workbench()
    try bench.folder.write("model/chat_template.jinja", "{{ messages }}\n")
    try bench.folder.write("model/LICENSE", "Yours.\r\n")
    try bench.folder.write("model/README.md", "not a fact of the weights")
    try bench.folder.write("model/quantize_config.json", #"{"bits": 4, "group_size": 128}"#)
    try bench.folder.write("model/run.py", "print()")
    try bench.quantize(bench.recipe())
    let artifact = try bench.artifact()
    let names = artifact.members.map(\.name)
    let expected = [
      "LICENSE", "chat_template.jinja", "config.json", "digests.json", "generation_config.json", "model.safetensors",
      "recipe.yaml", "tokenizer.json", "tokenizer_config.json",
    ]
    #expect(names.sorted() == expected)
    for name in ["LICENSE", "chat_template.jinja", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]
    {
      #expect(try artifact.member(name) == bench.folder.bytes("model/" + name), "\(name)")
    }
    let recipe = String(decoding: try artifact.member("recipe.yaml"), as: UTF8.self)
    #expect(recipe.contains("W4A16_ASYM") && recipe.contains("\"quantize_version\""))
  }

  @Test func `tensors that nobody knows are carried over as they are`() throws {
    var tiny = TinyModel()
    let extra = Tensor(.int64, [3], bytes: Array(1...24))
    tiny.tensors["model.layers.9.strange"] = extra
    tiny.tensors["vision.proj.weight"] = Tensor([2, 2], floats: [1, -2, 3, .pi])
    let bench = try Workbench(tiny)
    try bench.quantize(bench.recipe())
    let artifact = try bench.artifact()
    #expect(try artifact.tensor("model.layers.9.strange").withBytes { Array($0) } == Array(1...24))
    #expect(try artifact.tensor("vision.proj.weight").floats() == [1, -2, 3, .pi])
    #expect(artifact.info("vision.proj.weight")?.dtype == .float32)
  }

  @Test func `shards are read as one model`() throws {
    let bench = try Workbench()
    try TinyModel(modelType: "qwen2").write(to: bench.folder("sharded"), shards: 3)
    try bench.quantize(bench.recipe())
    let run = try QuantizationRun(
      .init(model: bench.folder("sharded"), output: bench.folder("shards.tar.zst"), recipe: bench.recipe()))
    #expect(try run.execute().summary.sha256 == bench.artifact().fileSHA256())
  }

  // MARK: The same bytes

  @Test(arguments: Calibration.Method.allCases)
  func `the same input gives the same bytes with one thread and two, and again`(_ method: Calibration.Method) throws {
    let bench = try Workbench()
    let before = Parallel.threads
    defer { Parallel.threads = before }
    var digests: Set<String> = []
    for threads in [1, 2, 2, 5] {
      Parallel.threads = threads
      digests.insert(
        try bench.quantize(bench.recipe(.w4a16Asymmetric, method), to: "\(threads).tar.zst").summary.sha256)
    }
    #expect(digests.count == 1)
    let other = try bench.quantize(bench.recipe(.w4a16, method), to: "other.tar.zst")
    #expect(!digests.contains(other.summary.sha256))
  }

  // MARK: Refusals

  @Test func `too little memory is refused before anything is written`() throws {
    let bench = try Workbench()
    var request = QuantizationRun.Request(
      model: bench.model, output: bench.folder("out.tar.zst"), recipe: bench.recipe())
    request.maximumMemory = 1 << 20
    #expect {
      _ = try QuantizationRun(request)
    } throws: {
      guard case .doesNotFit(let sentence)? = $0 as? PipelineError else { return false }
      return sentence.contains("--max-memory allows 2 MB")
    }
    #expect(try bench.folder.names() == ["model", "text.txt"])
    request.maximumMemory = 1 << 30
    #expect(try QuantizationRun(request).expectedMemory < 1 << 30)
  }

  @Test func `what is quantized already keeps its codes, or is rounded anew if asked otherwise`() throws {
    let bench = try Workbench()
    try bench.quantize(bench.recipe(.fp8Dynamic))
    func again(_ recipe: Recipe) throws -> LanguageModel {
      let output = bench.folder(recipe.scheme.name + "-again.tar.zst")
      let run = try QuantizationRun(.init(model: bench.folder("out.tar.zst"), output: output, recipe: recipe))
      let outcome = try run.execute()
      #expect(outcome.ledger.entries.count == run.model.checkpoint.weights.tensors.count)
      return try ModelInputs.openModel(output)
    }
    let (first, same) = (try bench.open(), try again(bench.recipe(.fp8Dynamic)))
    let ids = [256, 84, 104, 101, 32, 99]
    #expect(try same.logits(of: ids) == first.logits(of: ids))
    for info in first.checkpoint.weights.tensors {
      let (old, new) = (try first.tensor(info.name), try same.tensor(info.name))
      #expect(old.withBytes { a in new.withBytes { a.elementsEqual($0) } }, "\(info.name)")
    }
    let other = try again(bench.recipe(.w4a16Asymmetric, .awq))
    let name = "model.layers.0.mlp.up_proj"
    #expect(other.quantization?.scheme(of: name)?.weights.format == .int(bits: 4))
  }

  @Test func `what the source said of its quantization does not outlive its weights`() throws {
    let bench = try Workbench()
    try bench.quantize(bench.recipe(.fp8Dynamic), to: "fp8/")
    // The older name of the same key.
    let file = bench.folder("fp8/config.json")
    let text = try String(contentsOfFile: file, encoding: .utf8)
    try Data(text.replacing("quantization_config", with: "compression_config").utf8).write(to: URL(filePath: file))
    let output = bench.folder("again.tar.zst")
    _ = try QuantizationRun(
      .init(model: bench.folder("fp8"), output: output, recipe: bench.recipe(.w4a16Asymmetric))
    ).execute()
    let configuration = try ModelInputs.openModel(output).checkpoint.configuration
    #expect(configuration["compression_config"] == nil)
    #expect(configuration["quantization_config"]?["format"] == "pack-quantized")
  }

  @Test func `a recipe that quantizes nothing is refused`() throws {
    let bench = try Workbench()
    var recipe = bench.recipe()
    recipe.ignore = ["re:.*"]
    #expect(refusal { _ = try bench.run(recipe) }.contains("quantizes no linear"))
  }

  @Test(
    arguments: [
      "model.embed_tokens.weight", "model.layers.0.input_layernorm.weight", "model.layers.1.self_attn.v_proj.bias",
      "model.layers.1.mlp.down_proj.weight", "model.norm.weight",
    ], Calibration.Method.allCases)
  func `NaN and infinity are refused by tensor and place, before anything is written`(
    _ name: String, _ method: Calibration.Method
  ) throws {
    var tiny = TinyModel(modelType: "qwen2")
    let tensor = try #require(tiny.drawnTensors().first { $0.name == name }?.tensor)
    var values = tensor.floats()
    let columns = tensor.shape.extents.last ?? 1
    let index = tensor.shape.rank == 2 ? 3 * columns + 17 : 17
    values[index] = method == .awq ? .nan : -.infinity
    tiny.tensors[name] = Tensor(tensor.shape, floats: values, as: tensor.dtype)
    let bench = try Workbench(tiny)
    let message = refusal { try bench.quantize(bench.recipe(.w4a16Asymmetric, method)) }
    let place = tensor.shape.rank == 2 ? "row 3, column 17" : "element 17"
    #expect(message.contains("\"\(name)\" holds NaN or infinity at \(place)"), "\(message)")
    #expect(try bench.folder.names() == ["model", "text.txt"])
  }

  @Test func `a model without a tokenizer can be rounded but not calibrated`() throws {
    var tiny = TinyModel()
    tiny.hasTokenizer = false
    let bench = try Workbench(tiny)
    try bench.quantize(bench.recipe())
    #expect(refusal { try bench.quantize(bench.recipe(.w4a16, .awq)) }.contains("neither tokenizer.json nor"))
  }
}
