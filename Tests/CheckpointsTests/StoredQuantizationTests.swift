import Checkpoints
import Foundation
import Quantization
import StrictJSON
import Tensors
import TestSupport
import Testing

@Suite struct StoredQuantizationTests {
  private static func refusal(
    _ linear: StoredLinear, _ problem: String, tensor: String? = nil,
    in file: String = "config.json: quantization_config",
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(
      throws: CheckpointError.malformed(file: "model/" + file, offset: nil, tensor: tensor, problem: problem),
      sourceLocation: sourceLocation
    ) { try linear.quantization() }
  }

  // MARK: Which linears

  @Test func `a model in full precision has no quantization`() throws {
    var linear = StoredLinear(tensors: [], configuration: .null, shape: [])
    linear[".weight"] = Tensor([2, 2], floats: [1, 2, 3, 4], as: .bfloat16)
    #expect(try linear.quantization() == nil)
  }

  @Test(arguments: ["awq_gemm_g32", "gptq4_sym", "ct_w8a8_int", "ct_mxfp8"])
  func `a plain weight is in full precision whether or not the configuration lists it`(name: String) throws {
    var linear = try StoredLinear.vector(name)
    let plain = Tensor([2, 2], floats: [1, 2, 3, 4], as: .bfloat16)
    linear.tensors += [
      ("model.layers.0.mlp.gate.weight", plain), ("lm_head.weight", plain), ("model.norm.weight", plain),
    ]
    let quantization = try #require(try linear.quantization())
    for name in ["model.layers.0.mlp.gate", "lm_head", "model.norm", "absent", ""] {
      #expect(quantization.scheme(of: name) == nil, "\(name)")
    }
    #expect(quantization.storedTensors(of: "lm_head", in: linear.source).map(\.name) == ["lm_head.weight"])
    #expect(quantization.warnings.isEmpty)
    #expect(
      throws: CheckpointError.malformed(
        file: "f", offset: nil, tensor: "lm_head.weight", problem: "is in full precision, not quantized")
    ) { try quantization.weight(of: "lm_head", outFeatures: 2, inFeatures: 2, from: linear.source, file: "f") }
  }

  @Test func `a configuration whose weights are all plain is odd but harmless`() throws {
    var linear = StoredLinear(
      tensors: [], configuration: ["quant_method": "fp8", "weight_block_size": [128, 128]], shape: [])
    linear[".weight"] = Tensor([2, 2], floats: [1, 2, 3, 4], as: .bfloat16)
    let quantization = try #require(try linear.quantization())
    #expect(quantization.scheme(of: "m") == nil && quantization.method == "fp8")
    #expect(
      quantization.warnings == ["model/config.json: quantization_config declares \"fp8\", but no tensor is stored so"])
  }

  @Test(arguments: [
    ("awq_gemm_g32", "modules_to_not_convert", ".qweight"), ("ct_w8a8_int", "ignore", ".weight_scale"),
    ("ct_mxfp8", "ignore", ".weight"), ("ct_nvfp4", "ignore", ".weight_global_scale"),
  ])
  func `a module that is listed as kept but has codes is refused`(name: String, key: String, part: String) throws {
    var linear = try StoredLinear.vector(name).setting(key, ["m"])
    Self.refusal(
      linear, "is a quantized linear's, but the configuration does not quantize this module", tensor: "m" + part)
    // A name that only begins the same is another module.
    linear = linear.setting(key, ["m.x", "n"])
    #expect(try linear.quantization()?.scheme(of: "m") != nil)
  }

  @Test func `lists of fp8 name a module or what it lies in`() throws {
    var linear = try StoredLinear.vector("ct_fp8", in: "layouts")
    linear.configuration = ["quant_method": "fp8", "activation_scheme": "static"]
    for key in ["modules_to_not_convert", "ignored_layers"] {
      Self.refusal(
        linear.setting(key, ["m"]), "is a quantized linear's, but the configuration does not quantize this module",
        tensor: "m.weight_scale")
      #expect(try linear.setting(key, ["lm_head", "model.m"]).quantization()?.scheme(of: "m")?.name == "FP8")
    }
  }

  @Test func `rules for single modules of GPTQ`() throws {
    let four = try StoredLinear.vector("gptq4_sym")
    let eight = try StoredLinear.vector("gptq8_sym")
    var linear = four.setting(
      "dynamic", ["-:.*kept": [:], "+:layers\\.1\\.": ["bits": 8], "layers\\..*": ["desc_act": true]])
    for (name, tensors) in [("layers.0.m", four), ("layers.1.m", eight)] {
      linear.tensors += tensors.tensors.map { (name + $0.name.dropFirst(1), $0.tensor) }
    }
    let quantization = try #require(try linear.quantization())
    #expect(quantization.scheme(of: "layers.0.m")?.name == "W4A16")
    #expect(quantization.scheme(of: "layers.1.m")?.name == "W8A16")
    let weight = try quantization.weight(
      of: "layers.1.m", outFeatures: 32, inFeatures: 64, from: linear.source, file: "f")
    #expect(weight.rows.matrix().values == eight.expected)
    linear.tensors += four.tensors.map { ("layers.0.kept" + $0.name.dropFirst(1), $0.tensor) }
    Self.refusal(
      linear, "is a quantized linear's, but the configuration does not quantize this module",
      tensor: "layers.0.kept.scales")
    Self.refusal(four.setting("dynamic", ["(": [:]]), "dynamic: \"(\" is not a regular expression")
  }

  // MARK: Where it is declared

  @Test func `files that quantizers write beside the configuration count where it says nothing`() throws {
    for (name, file) in [("gptq4_sym", "quantize_config.json"), ("awq_gemm_g32", "quant_config.json")] {
      var linear = try StoredLinear.vector(name).setting("quant_method", nil)
      (linear.files, linear.configuration) = ([file: linear.configuration], .null)
      let quantization = try #require(try linear.quantization())
      #expect(quantization.scheme(of: "m") != nil)
      #expect(quantization.method == (name == "gptq4_sym" ? "gptq" : "awq"))
      let weight = try linear.weight()
      #expect(weight.rows.matrix().values == linear.expected)
    }
  }

  @Test func `two descriptions must agree`() throws {
    var linear = try StoredLinear.vector("gptq4_sym")
    linear.files["quantize_config.json"] = ["bits": 4, "group_size": 32, "damp_percent": 0]
    #expect(try linear.quantization()?.method == "gptq")
    for (key, value) in [("bits", 8), ("group_size", 128), ("desc_act", true), ("checkpoint_format", "gptq_v2")]
      as [(String, JSONValue)]
    {
      linear.files["quantize_config.json"] = .object([key: value])
      let own = linear.configuration[key]?.compactText ?? ""
      Self.refusal(linear, "\(key) is \(own), but model/quantize_config.json says \(value.compactText)")
    }
    var other = try StoredLinear.vector("awq_gemm_g32")
    other.files["quant_config.json"] = ["w_bit": 4, "q_group_size": 32, "zero_point": true, "version": "GEMM"]
    #expect(try other.quantization()?.method == "awq")
    linear.files = ["hf_quant_config.json": ["quantization": ["quant_algo": "FP8"]]]
    Self.refusal(linear, "quant_method is \"gptq\", but model/hf_quant_config.json describes \"modelopt\"")
  }

  @Test func `older and nested keys, and a producer instead of a method`() throws {
    var linear = try StoredLinear.vector("ct_w8a8_int")
    let configuration = linear.configuration
    linear.configuration = .null
    for members: JSONObject in [
      ["compression_config": configuration], ["text_config": ["quantization_config": configuration]],
    ] {
      linear.members = members
      #expect(try linear.quantization()?.scheme(of: "m")?.name == "W8A8")
    }
    linear = try StoredLinear.vector("ct_fp8", in: "layouts")
    linear.configuration = ["quant_algo": "FP8", "kv_cache_scheme": "FP8", "producer": ["name": "modelopt"]]
    #expect(try linear.quantization()?.method == "modelopt")
    #expect(try linear.quantization()?.scheme(of: "m")?.name == "FP8")
  }

  @Test func `copies have the type that the configuration names`() throws {
    var linear = try StoredLinear.vector("ct_mxfp8")
    #expect(try linear.weight().rows.storedType == .bfloat16)
    for (members, type) in [
      (["torch_dtype": "float16"], .float16), (["dtype": "float32"], .float32),
      (["text_config": ["dtype": "float16"]], .float16), (["torch_dtype": "auto"], .bfloat16),
    ] as [(JSONObject, DType)] {
      linear.members = members
      #expect(try linear.weight().rows.storedType == type)
    }
  }

  // MARK: What is not read

  static let unread: [(JSONValue, String)] = [
    (
      ["quant_method": "bitsandbytes", "load_in_4bit": true],
      "quant_method \"bitsandbytes\" is not read; give the model in full precision, or quantized as compressed-tensors, "
        + "fp8, fbgemm_fp8, awq, gptq, mxfp4 or modelopt"
    ),
    (
      ["bits": 4],
      "quant_method \"none\" is not read; give the model in full precision, or quantized as compressed-tensors, "
        + "fp8, fbgemm_fp8, awq, gptq, mxfp4 or modelopt"
    ),
    (["quant_method": 7], "quant_method is 7"),
    (
      ["quant_method": "awq", "version": "gemv", "group_size": 128],
      "version \"gemv\" of AWQ is not read, \"gemm\" is; save the model again with version gemm"
    ),
    (["quant_method": "awq", "bits": 3, "group_size": 128], "AWQ of 3 bits is not read, 4 bits are"),
    (["quant_method": "awq"], "group_size is missing"),
    (["quant_method": "awq", "group_size": 0], "group_size 0 is not a size"),
    (["quant_method": "awq", "group_size": "128"], "group_size is \"128\", expected a whole number"),
    (
      ["quant_method": "awq", "group_size": 128, "modules_to_not_convert": "lm_head"],
      "modules_to_not_convert is not a list of names"
    ),
    (["quant_method": "gptq", "group_size": 128], "bits is missing"),
    (["quant_method": "gptq", "bits": 5, "group_size": 128], "GPTQ of 5 bits is not read; 2, 3, 4 and 8 bits are"),
    (
      ["quant_method": "gptq", "bits": 4, "group_size": 128, "checkpoint_format": "marlin"],
      "checkpoint_format \"marlin\" is not read, \"gptq\" and \"gptq_v2\" are; save the model again in one of them"
    ),
    (
      ["quant_method": "gptq", "bits": 4, "group_size": 128, "is_marlin_format": true],
      "checkpoint_format \"marlin\" is not read, \"gptq\" and \"gptq_v2\" are; save the model again in one of them"
    ),
    (
      ["quant_method": "gptq", "bits": 4, "group_size": 128, "rotation": "hadamard"],
      "rotation \"hadamard\" is not read; it changes what the weights mean"
    ),
    (["quant_method": "fp8", "fmt": "e5m2"], "fmt \"e5m2\" is not read, \"e4m3\" is"),
    (["quant_method": "fp8", "weight_block_size": [128]], "weight_block_size is [128], expected two numbers"),
    (
      ["quant_method": "fp8", "activation_scheme": "none"],
      "activation_scheme \"none\" is not known, \"dynamic\" and \"static\" are"
    ),
    (["quant_method": "modelopt"], "quant_algo is missing"),
    (
      ["quant_method": "modelopt", "quant_algo": "W4A8_AWQ"],
      "quant_algo W4A8_AWQ is not read; FP8, FP8_PER_CHANNEL_PER_TOKEN, FP8_PB_WO, MXFP8, NVFP4, W4A16_NVFP4 "
        + "and lists of these are"
    ),
    (
      ["quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": ["m": ["quant_algo": "INT4"]]],
      "quant_algo INT4 is not read; FP8, FP8_PER_CHANNEL_PER_TOKEN, FP8_PB_WO, MXFP8, NVFP4, W4A16_NVFP4 "
        + "and lists of these are"
    ),
    (
      ["quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 32],
      "group_size 32 is not read for NVFP4, 16 is"
    ),
    (["quant_method": "compressed-tensors"], "config_groups is missing"),
  ]

  @Test(arguments: unread.indices)
  func `methods, versions and settings that are not read are refused by name`(index: Int) throws {
    let (configuration, problem) = Self.unread[index]
    var linear = StoredLinear(tensors: [], configuration: configuration, shape: [])
    linear[".weight"] = Tensor([2, 2], floats: [1, 2, 3, 4], as: .bfloat16)
    let inPlace = configuration["quant_method"] == 7
    if inPlace {
      Self.refusal(linear, "quantization_config: " + problem, in: "config.json")
    } else {
      Self.refusal(linear, problem)
    }
  }

  @Test func `MLX is refused by name`() throws {
    var linear = StoredLinear(tensors: [], configuration: .null, shape: [])
    linear[".weight"] = Tensor(.uint32, [2, 2], bytes: [UInt8](repeating: 0, count: 16))
    linear.members = ["quantization": ["group_size": 64, "bits": 4]]
    Self.refusal(
      linear,
      "quant_method \"mlx\" is not read; give the model in full precision, or quantized as compressed-tensors, "
        + "fp8, fbgemm_fp8, awq, gptq, mxfp4 or modelopt", in: "config.json: quantization")
    linear.configuration = ["group_size": 64, "bits": 4]
    Self.refusal(
      linear,
      "quant_method \"mlx\" is not read; give the model in full precision, or quantized as compressed-tensors, "
        + "fp8, fbgemm_fp8, awq, gptq, mxfp4 or modelopt")
  }

  // MARK: Real checkpoints

  @Test(.enabled(if: SharedFolder.exists, "the shared folder is not here"))
  func `the declarations of well-known checkpoints are understood`() throws {
    let folder = (SharedFolder.path ?? "") + "/configs"
    var methods: [String: Int] = [:]
    for name in try FileManager.default.contentsOfDirectory(atPath: folder).sorted() {
      guard let cut = name.range(of: "_config.json"), !name.contains("hf_quant_config") else { continue }
      let stem = name[..<cut.lowerBound]
      func json(_ name: String) throws -> JSONValue {
        try JSONValue(parsing: Array(try Data(contentsOf: URL(filePath: folder + "/" + name))), pythonLiterals: true)
      }
      var linear = StoredLinear(tensors: [], configuration: .null, shape: [])
      linear[".weight"] = Tensor([2, 2], floats: [1, 2, 3, 4], as: .bfloat16)
      linear.members = try #require(try json(name).objectValue)
      let beside = "\(stem)_hf_quant_config.json"
      if FileManager.default.fileExists(atPath: folder + "/" + beside) {
        linear.files["hf_quant_config.json"] = try json(beside)
      }
      methods[try linear.quantization()?.method ?? "none", default: 0] += 1
    }
    #expect(methods["fp8"] ?? 0 >= 9)
    #expect(methods["compressed-tensors"] == 2 && methods["mxfp4"] == 2 && methods["modelopt"] ?? 0 >= 3)
    #expect(methods["none"] ?? 0 > 10)
  }

  @Test(.enabled(if: SharedFolder.exists, "the shared folder is not here"))
  func `every linear of a DeepSeek checkpoint in float8 opens`() throws {
    let checkpoint = try Checkpoint((SharedFolder.path ?? "") + "/golden/deepseek_v3-fp8")
    let quantization = try #require(try StoredQuantization.of(checkpoint))
    #expect(quantization.method == "fp8" && quantization.warnings.isEmpty)
    var count = 0
    for info in checkpoint.weights.tensors where info.name.hasSuffix(".weight") && info.shape.rank == 2 {
      let name = String(info.name.dropLast(".weight".count))
      #expect((quantization.scheme(of: name) != nil) == (info.dtype == .float8E4M3), "\(name)")
      guard let scheme = quantization.scheme(of: name) else { continue }
      #expect(scheme == .fp8Block)
      let weight = try quantization.weight(
        of: name, outFeatures: info.shape[0], inFeatures: info.shape[1], from: checkpoint.weights, file: "f")
      let (codes, scales) = (
        try checkpoint.weights.tensor(info.name).floats(), try checkpoint.weights.tensor(name + ".weight_scale_inv")
      )
      let (columns, blocks, values) = (info.shape[1], scales.shape[1], scales.floats())
      let expected = codes.enumerated().map { $1 * values[$0 / columns / 128 * blocks + $0 % columns / 128] }
      #expect(weight.rows.matrix().values == expected, "\(name)")
      #expect(try weight.codes?().dequantized().values == expected, "\(name)")
      count += 1
    }
    #expect(count > 100)
  }
}
