import Checkpoints
import Foundation
import Quantization
import StrictJSON
import TestSupport
import Testing

@Suite struct LayoutConfigurationTests {
  private static func read(_ json: JSONValue) throws -> CompressedTensorsConfiguration {
    try CompressedTensorsConfiguration(reading: json, file: "config.json")
  }

  private static func written(_ schemes: [QuantizationScheme]) -> CompressedTensorsConfiguration {
    CompressedTensorsConfiguration(
      groups: schemes.enumerated().map { .init(scheme: $1, targets: ["model.layers.\($0).x", "re:.*y\($0)$"]) },
      ignore: ["lm_head", "re:.*gate$"])
  }

  /// Presets, other group sizes, and no groups.
  static let schemes: [QuantizationScheme] =
    QuantizationScheme.all + [
      .w4a16.withGroupSize(32), .w4a16Asymmetric.withGroupSize(64), .w4a16Asymmetric.withGroupSize(nil),
    ]

  @Test(arguments: schemes)
  func `what is written reads back the same`(scheme: QuantizationScheme) throws {
    let configuration = Self.written([scheme])
    let text = configuration.json().compactText
    let back = try Self.read(JSONValue(parsing: Array(text.utf8)))
    #expect(back.groups.map(\.scheme) == [scheme])
    #expect(back.groups.map(\.targets) == configuration.groups.map(\.targets))
    #expect(back.ignore == configuration.ignore)
    #expect(back.json() == configuration.json())
  }

  @Test func `several groups keep their order and the format says that they differ`() throws {
    let configuration = Self.written([.fp8Dynamic, .w4a16, .fp8])
    #expect(configuration.json()["format"] == "mixed-precision")
    #expect(configuration.json()["config_groups"]?["group_1"]?["format"] == "pack-quantized")
    let back = try Self.read(configuration.json())
    #expect(back.groups.map(\.scheme) == [.fp8Dynamic, .w4a16, .fp8])
    #expect(Self.written([.fp8Dynamic, .fp8]).json()["format"] == "float-quantized")
    #expect(Self.written([.w8a16, .w4a16]).json()["format"] == "pack-quantized")
  }

  @Test func `the library's own presets are ours`() throws {
    let presets = try LayoutVectors.configurations("presets")
    // The library has no names for blocks whose scales are powers of two, nor for integers of other widths.
    let ours = QuantizationScheme.all.filter { presets[$0.name] != nil }
    #expect(presets.members.count == ours.count)
    for scheme in ours {
      let read = try Self.read(try #require(presets[scheme.name]))
      let found = try #require(read.scheme(of: "model.layers.0.mlp.up_proj"))
      // Since 0.19 the library means groups of 128 by W8A16; runtimes and older recipes mean a scale a row.
      guard scheme != .w8a16 else {
        #expect(found.weights == WeightQuantization(.int(bits: 8), .perGroup(size: 128)))
        continue
      }
      #expect(found == scheme)
      #expect(read.scheme(of: "lm_head") == nil)
    }
  }

  // MARK: Targets

  private static func targets(_ groups: [(QuantizationScheme, [String])], ignore: [String] = [])
    -> CompressedTensorsConfiguration
  {
    CompressedTensorsConfiguration(groups: groups.map { .init(scheme: $0.0, targets: $0.1) }, ignore: ignore)
  }

  @Test func `Linear is every linear but the embedding`() {
    let all = Self.targets([(.w4a16, ["Linear"])], ignore: ["lm_head"])
    #expect(all.scheme(of: "model.layers.0.mlp.up_proj") == .w4a16)
    #expect(all.scheme(of: "lm_head") == nil)
    #expect(all.scheme(of: "model.embed_tokens") == nil)
    #expect(Self.targets([(.w4a16, ["model.embed_tokens"])]).scheme(of: "model.embed_tokens") == .w4a16)
  }

  @Test func `a pattern is anchored at the start, not at the end`() {
    let some = Self.targets([(.w4a16, ["re:model\\.layers\\.[0-1]\\."])])
    #expect(some.scheme(of: "model.layers.0.mlp.up_proj") == .w4a16)
    #expect(some.scheme(of: "model.layers.2.mlp.up_proj") == nil)
    #expect(some.scheme(of: "the.model.layers.0.mlp.up_proj") == nil)
    #expect(Self.targets([(.w4a16, ["re:.*up_proj"])]).scheme(of: "a.up_projection") == .w4a16)
    #expect(Self.targets([(.w4a16, ["re:.*up_proj$"])]).scheme(of: "a.up_projection") == nil)
    #expect(Self.targets([(.w4a16, ["re:(lm_head|.*down_proj)$"])]).scheme(of: "m.down_proj") == .w4a16)
  }

  @Test func `a name counts more than a pattern, and a pattern more than a class, in any order of groups`() {
    let groups: [(QuantizationScheme, [String])] = [
      (.w4a16, ["Linear"]), (.fp8, ["re:.*down_proj$"]), (.w8a16, ["m.0.down_proj"]),
    ]
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
      let all = Self.targets(order.map { groups[$0] })
      #expect(all.scheme(of: "m.0.down_proj") == .w8a16)
      #expect(all.scheme(of: "m.1.down_proj") == .fp8)
      #expect(all.scheme(of: "m.1.up_proj") == .w4a16)
    }
    let patterns = Self.targets([(.w4a16, ["re:m"]), (.fp8, ["re:.*"])])
    #expect(patterns.scheme(of: "m.x") == .fp8, "of two patterns the one that sorts first, as in the library")
  }

  @Test func `what is ignored is in full precision, by name, pattern or class`() {
    for pattern in ["a.b", "re:a", "Linear"] {
      #expect(Self.targets([(.w4a16, ["a.b"])], ignore: [pattern]).scheme(of: "a.b") == nil, "\(pattern)")
    }
    #expect(Self.targets([(.w4a16, ["a.b"])], ignore: ["re:b", "a"]).scheme(of: "a.b") == .w4a16)
  }

  // MARK: Refusals

  struct Spoilt: Sendable, CustomTestStringConvertible {
    let path: [String]
    let value: JSONValue
    let problem: String
    var testDescription: String { path.joined(separator: ".") + " = " + value.compactText }

    init(_ path: String, _ value: JSONValue, _ problem: String) {
      self.path = path.split(separator: ".").map(String.init)
      self.value = value
      self.problem = problem
    }
  }

  static let spoilt: [Spoilt] = [
    Spoilt("quant_method", "gptq", "quant_method \"gptq\" is not read; \"compressed-tensors\" is"),
    Spoilt("quant_method", .null, "quant_method \"none\" is not read; \"compressed-tensors\" is"),
    Spoilt("sparsity_config", ["format": "sparse-24"], "sparsity_config {\"format\":\"sparse-24\"} is not read"),
    Spoilt("transform_config", ["r1": 1], "transform_config {\"r1\":1} is not read"),
    Spoilt("rotation", 1, "rotation is not known; it may change what the weights mean"),
    Spoilt("ignore", "lm_head", "ignore is not a list of names"),
    Spoilt("ignore", [1], "ignore is not a list of names"),
    Spoilt("ignore", ["re:("], "the pattern \"re:(\" is not a regular expression"),
    Spoilt("config_groups", [:], "config_groups is missing"),
    Spoilt(
      "format", "float-quantized",
      "group_0: format \"float-quantized\" is not read for these weights; "
        + "\"pack-quantized\" or \"int-quantized\" or \"naive-quantized\" is"),
    Spoilt("config_groups.group_0", ["W4A16"], "group_0: is [\"W4A16\"], expected an object"),
    Spoilt("group.targets", [], "group_0: has no targets"),
    Spoilt("group.targets", [1], "group_0: targets is not a list of names"),
    Spoilt("group.weights", .null, "group_0: has no weights"),
    Spoilt("group.output_activations", ["num_bits": 8], "group_0: output_activations are not read"),
    Spoilt(
      "group.format", "marlin-24",
      "group_0: format \"marlin-24\" is not read for these weights; "
        + "\"pack-quantized\" or \"int-quantized\" or \"naive-quantized\" is"),
    Spoilt("group.extra", 1, "group_0: extra is not known; it may change what the weights mean"),
    Spoilt("weights.num_bits", 9, "group_0: type \"int\" of 9 bits is not read"),
    Spoilt("weights.num_bits", 1, "group_0: type \"int\" of 1 bits is not read"),
    Spoilt(
      "weights.type", "float",
      "group_0: type \"float\" of 4 bits is read in groups of 16, and of 32 with scale_dtype torch.uint8"),
    Spoilt("weights.type", .null, "group_0: type none of 4 bits is not read"),
    Spoilt("weights.symmetric", "yes", "group_0: symmetric is \"yes\", expected true or false"),
    Spoilt("weights.dynamic", true, "group_0: dynamic true is not read for weights"),
    Spoilt("weights.scale_dtype", "torch.uint8", "group_0: scale_dtype \"torch.uint8\" is not read"),
    Spoilt("weights.strategy", "tensor_group", "group_0: strategy \"tensor_group\" is not read"),
    Spoilt("weights.strategy", "tensor", "group_0: strategy \"tensor\" is not read for packed integers"),
    Spoilt("weights.strategy", "block", "group_0: block_structure is not two numbers"),
    Spoilt("weights.group_size", 0, "group_0: group_size 0 is not a size"),
    Spoilt("weights.group_size", .null, "group_0: group_size none is not a size"),
    Spoilt("weights.group_sizes", 32, "group_0: group_sizes is not known; it may change what the weights mean"),
    Spoilt(
      "group.input_activations", ["type": "int", "num_bits": 8, "strategy": "token", "dynamic": false],
      "group_0: input_activations {\"type\":\"int\",\"num_bits\":8,\"strategy\":\"token\",\"dynamic\":false} are not read"
    ),
  ]

  private static func setting(_ value: JSONValue, at path: ArraySlice<String>, in json: JSONValue) -> JSONValue {
    guard let key = path.first else { return value }
    var object = json.objectValue ?? JSONObject()
    object[key] = setting(value, at: path.dropFirst(), in: object[key] ?? .null)
    return .object(object)
  }

  @Test(arguments: spoilt)
  func `what we cannot compute with is refused by its key`(example: Spoilt) throws {
    let good = Self.targets([(.w4a16, ["Linear"])], ignore: ["lm_head"]).json()
    _ = try Self.read(good)
    var path = example.path
    if path[0] == "weights" { path = ["group"] + path }
    if path[0] == "group" { path = ["config_groups", "group_0"] + path.dropFirst() }
    let spoilt = Self.setting(example.value, at: path[...], in: good)
    #expect(
      throws: CheckpointError.malformed(
        file: "config.json", offset: nil, tensor: nil, problem: "quantization_config: " + example.problem)
    ) { try Self.read(spoilt) }
  }

  @Test func `what means nothing to us is passed over`() throws {
    let good = Self.targets([(.w4a16, ["Linear"])], ignore: ["lm_head"]).json()
    for (path, value) in [
      (["version"], "0.20.0"), (["sparsity_config"], [:]), (["transform_config"], [:]),
      (["sparsity_config"], ["format": "dense"]),
      (["global_compression_ratio"], 1), (["run_compressed"], true), (["quantization_status"], .null),
      (["quantization_status"], "frozen"),
      (["format"], .null), (["kv_cache_scheme"], ["num_bits": 8, "type": "float"]),
      (["config_groups", "group_0", "weights", "actorder"], "group"),
      (["something_new"], .null), (["config_groups", "group_0", "weights", "actorder"], "weight"),
      (["config_groups", "group_0", "weights", "observer"], "mse"),
      (["config_groups", "group_0", "weights", "zp_dtype"], "torch.int8"),
    ] as [([String], JSONValue)] {
      let read = try Self.read(Self.setting(value, at: path[...], in: good))
      #expect(read.groups.map(\.scheme) == [.w4a16], "\(path)")
    }
    #expect(throws: CheckpointError.self) { try Self.read("W4A16") }
  }

  // MARK: The real library

  static let python: String? = {
    for candidate in [ProcessInfo.processInfo.environment["QUANTIZE_PYTHON"], "python3"] {
      if let candidate, (try? run(candidate, "import compressed_tensors"))?.status == 0 { return candidate }
    }
    return nil
  }()

  private static func run(_ python: String, _ program: String, input: String = "") throws -> (
    status: Int32, text: String
  ) {
    let folder = try ScratchFolder()
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = [python, "-c", program, try folder.write("input.json", input)]
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = FileHandle.nullDevice
    try process.run()
    let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
  }

  @Test(.enabled(if: python != nil, "no Python here has compressed_tensors"))
  func `the real library reads what we write, and means the same`() throws {
    let configurations = Self.schemes.map { Self.written([$0]) } + [Self.written([.fp8Dynamic, .w4a16, .fp8])]
    let input = JSONValue.array(configurations.map { $0.json() }).compactText
    let program = """
      import json, sys
      from compressed_tensors.quantization import QuantizationConfig
      read = [QuantizationConfig.model_validate(c) for c in json.load(open(sys.argv[1]))]
      print(json.dumps([json.loads(c.model_dump_json()) for c in read]))
      """
    let (status, text) = try Self.run(try #require(Self.python), program, input: input)
    #expect(status == 0)
    let answers = try JSONValue(parsing: Array(text.utf8)).arrayValue ?? []
    #expect(answers.count == configurations.count)
    for (answer, configuration) in zip(answers, configurations) {
      let back = try Self.read(answer)
      #expect(back.groups.map(\.scheme) == configuration.groups.map(\.scheme))
      #expect(back.groups.map(\.targets) == configuration.groups.map(\.targets))
      #expect(back.ignore == configuration.ignore)
    }
  }
}
