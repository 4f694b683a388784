import Checkpoints
import Foundation
import Kernels
import Quantization
import StrictJSON
import Tensors
import TestSupport
import Testing

@Suite struct StoredWeightTests {
  /// What a linear's rows and codes must be, bit for bit.
  static func check(
    _ linear: StoredLinear, scheme: String, hasCodes: Bool = true, isBrain: Bool = false,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let quantization = try #require(try linear.quantization(), sourceLocation: sourceLocation)
    #expect(quantization.scheme(of: linear.name)?.name == scheme, sourceLocation: sourceLocation)
    let weight = try linear.weight()
    let all = weight.rows.matrix()
    // The library gives these in BF16.
    let shape = Shape(linear.shape)
    let found = isBrain ? Tensor(shape, floats: all.values, as: .bfloat16).floats() : all.values
    #expect(found == linear.expected, sourceLocation: sourceLocation)
    let (rows, columns) = (linear.shape[0], linear.shape[1])
    for range in [0..<1, 1..<2, 3..<min(rows, 11), 7..<rows, rows - 1..<rows, 5..<5] {
      let part = weight.rows.rows(range).values
      #expect(
        part == Array(all.values[range.lowerBound * columns..<range.upperBound * columns]), "\(range)",
        sourceLocation: sourceLocation)
    }
    try weight.check()
    #expect((weight.codes != nil) == hasCodes, sourceLocation: sourceLocation)
    if let codes = try weight.codes?() {
      #expect(codes.dequantized() == all, sourceLocation: sourceLocation)
      #expect(codes.packed().dequantizedRows(0..<rows) == all, sourceLocation: sourceLocation)
      let packed = try #require(try weight.packed?(), sourceLocation: sourceLocation)
      #expect(packed.dequantizedRows(0..<rows) == all, sourceLocation: sourceLocation)
      #expect(packed.kind == codes.packed().kind && packed.byteCount == codes.packed().byteCount)
      let x = Matrix(rows: 2, columns: columns, values: (0..<2 * columns).map { Float($0 % 13) - 6 })
      #expect(packed.product(x) == codes.packed().product(x), sourceLocation: sourceLocation)
      let streamed = try #require(
        try quantization.packed(linear.name, outFeatures: rows, inFeatures: columns, from: linear.source, file: "m"),
        sourceLocation: sourceLocation)
      #expect(streamed.product(x) == packed.product(x), sourceLocation: sourceLocation)
      #expect(codes.quantization == quantization.scheme(of: linear.name)?.weights, sourceLocation: sourceLocation)
    }
  }

  @Test(arguments: [
    ("awq_gemm_g32", "W4A16_ASYM"), ("ct_w8a8_int", "W8A8"), ("gptq3_sym", "W3A16"), ("gptq4_sym", "W4A16"),
    ("gptq4_asym", "W4A16_ASYM"), ("gptq8_sym", "W8A16"), ("ct_mxfp4", "MXFP4"), ("ct_mxfp8", "MXFP8"),
  ])
  func `a file of another tool means what the tool makes of it`(name: String, scheme: String) throws {
    try Self.check(try .vector(name), scheme: scheme)
  }

  @Test func `NVFP4 too, which its library gives in BF16`() throws {
    try Self.check(try .vector("ct_nvfp4"), scheme: "NVFP4", isBrain: true)
  }

  @Test func `columns out of order are read, but are no quantized matrix`() throws {
    try Self.check(try .vector("gptq4_actorder"), scheme: "W4A16", hasCodes: false)
  }

  @Test(arguments: LayoutVectors.names)
  func `compressed-tensors as before`(name: String) throws {
    let schemes = [
      "ct_fp8": "FP8", "ct_fp8_block": "FP8A16", "ct_fp8_dynamic": "FP8_DYNAMIC", "ct_w4_asym_g32": "W4A16_ASYM",
      "ct_w4_channel": "W4A16", "ct_w4_sym_g32": "W4A16", "ct_w8_sym_g32": "W8A16",
    ]
    try Self.check(try .vector(name, in: "layouts"), scheme: try #require(schemes[name]))
  }

  @Test(.enabled(if: SharedFolder.exists, "the shared folder is not here"))
  func `every fixture but MLX's is read`() throws {
    let folder = (SharedFolder.path ?? "") + "/facts/fixtures/quant"
    let index = try JSONValue(parsing: Array(try Data(contentsOf: URL(filePath: folder + "/index.json"))))
    var count = 0
    for member in index.objectValue?.members ?? [] where !member.name.hasPrefix("mlx_") {
      guard member.name != "gptoss_mxfp4" else { continue }
      let linear = try StoredLinear.fixture("\(folder)/\(member.name).safetensors", member.value["config"] ?? .null)
      let scheme = try #require(try linear.quantization()?.scheme(of: "m")?.name)
      try Self.check(
        linear, scheme: scheme, hasCodes: member.name != "gptq4_actorder", isBrain: member.name == "ct_nvfp4")
      count += 1
    }
    #expect(count == 18)
  }

  // MARK: The same in other spellings

  @Test(arguments: ["gptq4_sym", "gptq4_asym", "gptq8_sym", "gptq4_actorder"])
  func `GPTQ's second version stores zero points as they are`(name: String) throws {
    var linear = try StoredLinear.vector(name).setting("checkpoint_format", "gptq_v2")
    let zeros = try #require(linear[".qzeros"])
    let step: UInt32 = name == "gptq8_sym" ? 0x0101_0101 : 0x1111_1111
    linear[".qzeros"] = .words(zeros.shape, zeros.words.map { $0 + step })
    try Self.check(
      linear, scheme: ["gptq4_asym": "W4A16_ASYM", "gptq8_sym": "W8A16"][name] ?? "W4A16",
      hasCodes: name != "gptq4_actorder")
  }

  @Test func `GPTQ of two bits, and the worked words of the format's description`() throws {
    // A column of q = 13, 1, 14, 0, 14, 13, 5, 14 is 0xe5de0e1d, and zero points 1 … 8 are 0x76543210.
    var linear = StoredLinear(
      tensors: [], configuration: ["quant_method": "gptq", "bits": 4, "group_size": 8, "sym": false], shape: [8, 8])
    linear[".qweight"] = .words([1, 8], [UInt32](repeating: 0xE5DE_0E1D, count: 8))
    linear[".qzeros"] = .words([1, 1], [0x7654_3210])
    linear[".scales"] = Tensor([1, 8], floats: [Float](repeating: 0.5, count: 8), as: .float16)
    let q: [Float] = [13, 1, 14, 0, 14, 13, 5, 14]
    linear.expected = (1...8).flatMap { zero -> [Float] in q.map { code -> Float in (code - Float(zero)) / 2 } }
    try Self.check(linear, scheme: "W4A16_ASYM")
    // Sixteen codes of two bits, row n beginning with n % 4.
    var two = StoredLinear(
      tensors: [], configuration: ["quant_method": "gptq", "bits": 2, "group_size": -1, "sym": true], shape: [16, 16])
    let words: [UInt32] = [0xE4E4_E4E4, 0x3939_3939, 0x4E4E_4E4E, 0x9393_9393]
    two[".qweight"] = .words([1, 16], (0..<16).map { words[$0 % 4] })
    two[".qzeros"] = .words([1, 1], [0x5555_5555])
    two[".scales"] = Tensor([1, 16], floats: (1...16).map(Float.init), as: .float32)
    two.expected = (0..<256).map { index -> Float in
      let (row, column) = (index / 16, index % 16)
      return Float((row + column) % 4 - 2) * Float(row + 1)
    }
    try Self.check(two, scheme: "W2A16")
  }

  @Test func `AutoAWQ's worked words`() throws {
    var linear = StoredLinear(
      tensors: [], configuration: ["quant_method": "awq", "w_bit": 4, "q_group_size": 2, "version": "GEMM"],
      shape: [16, 2])
    linear[".qweight"] = .words([2, 2], [0x7531_6420, 0xFDB9_ECA8, 0xFDB9_ECA8, 0x7531_6420])
    linear[".qzeros"] = .words([1, 2], [0x1357_2468, 0x7531_6420])
    linear[".scales"] = Tensor([1, 16], floats: [Float](repeating: 0.5, count: 16), as: .float16)
    let zeros: [Int] = [8, 7, 6, 5, 4, 3, 2, 1, 0, 1, 2, 3, 4, 5, 6, 7]
    linear.expected = (0..<32).map { index -> Float in
      let row = index / 2
      let code = index % 2 == 0 ? row : (row + 8) % 16
      return Float(code - zeros[row]) / 2
    }
    try Self.check(linear, scheme: "W4A16_ASYM")
  }

  @Test(arguments: ["F32", "BF16", "F8_E8M0"])
  func `blocks of float8 are DeepSeek's under another name, and scales may be powers of two`(type: String) throws {
    var linear = try StoredLinear.vector("ct_fp8_block", in: "layouts")
    let scales = try #require(linear[".weight_scale"])
    let exponents = scales.floats().map { UInt8($0.exponent + 127) }
    let powers = exponents.map { Float(sign: .plus, exponent: Int($0) - 127, significand: 1) }
    linear[".weight_scale"] = nil
    switch type {
    case "F32": linear[".weight_scale_inv"] = scales
    case "BF16": linear[".weight_scale_inv"] = Tensor(scales.shape, floats: powers, as: .bfloat16)
    default: linear[".weight_scale_inv"] = Tensor(.float8E8M0, scales.shape, bytes: exponents)
    }
    linear.configuration = [
      "quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3", "weight_block_size": [16, 32],
    ]
    if type != "F32" {
      let grid = ScaleGrid(.perBlock(rows: 16, columns: 32), outFeatures: 40, inFeatures: 80)
      let codes = try #require(linear[".weight"]).floats()
      linear.expected = codes.enumerated().map { index, code in
        code * powers[index / 80 / 16 * grid.columnGroups + index % 80 / 32]
      }
    }
    try Self.check(linear, scheme: "FP8")
  }

  @Test(arguments: [[], [1], [1, 1]] as [Shape])
  func `a scale a matrix is a scalar, or has axes, or is called inverse`(shape: Shape) throws {
    for part in [".weight_scale", ".weight_scale_inv"] {
      var linear = try StoredLinear.vector("ct_fp8", in: "layouts")
      let scale = try #require(linear[".weight_scale"]).reshaped(to: shape)
      linear[".weight_scale"] = nil
      linear[part] = scale
      linear.configuration = ["quant_method": "fp8", "activation_scheme": "static"]
      try Self.check(linear, scheme: "FP8")
      linear[".input_scale"] = Tensor([], floats: [1])
      let parts = try linear.quantization()?.storedTensors(of: "m", in: linear.source).map(\.name)
      #expect(parts == ["m.weight", "m" + part, "m.input_scale"])
    }
  }

  @Test func `fbgemm_fp8 and ModelOpt's channels are a scale a row`() throws {
    var linear = try StoredLinear.vector("ct_fp8_dynamic", in: "layouts")
    for configuration: JSONValue in [
      ["quant_method": "fbgemm_fp8", "activation_scale_ub": 1200, "modules_to_not_convert": ["lm_head"]],
      ["quant_method": "modelopt", "quant_algo": "FP8_PER_CHANNEL_PER_TOKEN"],
      ["quant_method": "fp8", "activation_scheme": "dynamic"],
    ] {
      linear.configuration = configuration
      try Self.check(linear, scheme: "FP8_DYNAMIC")
    }
  }

  @Test(arguments: ["NVFP4", "W4A16_NVFP4", "MIXED_PRECISION"])
  func `ModelOpt's float4 has the inverse of the library's number for all`(algorithm: String) throws {
    var linear = try StoredLinear.vector("ct_nvfp4")
    let (packed, scale) = (try #require(linear[".weight_packed"]), try #require(linear[".weight_scale"]))
    for part in [".weight_packed", ".weight_global_scale"] { linear[part] = nil }
    linear[".weight"] = packed
    linear[".weight_scale_2"] = Tensor([], floats: [0.375])
    let scales = scale.floats().map { $0 * 0.375 }
    let pairs = packed.bytes.flatMap { [$0 & 15, $0 >> 4] }
    linear.expected = pairs.enumerated().map { index, code in Self.float4(code) * scales[index / 16] }
    linear.configuration = .null
    linear.files["hf_quant_config.json"] = [
      "producer": ["name": "modelopt"],
      "quantization": [
        "quant_algo": .string(algorithm), "group_size": 16, "kv_cache_quant_algo": "FP8",
        "exclude_modules": ["lm_head", "*.attn.*"], "quantized_layers": ["m": ["quant_algo": "NVFP4"]],
      ],
    ]
    try Self.check(linear, scheme: algorithm == "W4A16_NVFP4" ? "NVFP4A16" : "NVFP4")
    let quantization = try #require(try linear.quantization())
    #expect(quantization.warnings.isEmpty && quantization.cache == CacheQuantization(.fp8))
  }

  private static func float4(_ code: UInt8) -> Float {
    [0, 0.5, 1, 1.5, 2, 3, 4, 6][Int(code & 7)] * (code & 8 == 0 ? 1 : -1)
  }

  // MARK: Stacks of experts

  @Test func `an expert of gpt-oss is a slice of the stack`() throws {
    let vector = try StoredLinear.vector("gptoss_mxfp4")
    let stack = "model.layers.0.mlp.experts.gate_up_proj"
    var linear = vector
    linear.tensors = [
      (stack + "_blocks", try #require(vector[".blocks"])), (stack + "_scales", try #require(vector[".scales"])),
      (stack + "_bias", Tensor([2, 12], floats: [Float](repeating: 0, count: 24), as: .bfloat16)),
    ]
    linear.configuration = [
      "quant_method": "mxfp4",
      "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head"],
    ]
    linear.shape = [12, 32]
    for expert in 0..<2 {
      linear.name = "model.layers.0.mlp.experts.\(expert).gate_up_proj"
      // The tool's own result is [experts, in, out].
      linear.expected = (0..<12 * 32).map { index -> Float in
        vector.expected[(expert * 32 + index % 32) * 12 + index / 32]
      }
      try Self.check(linear, scheme: "MXFP4A16")
    }
    let quantization = try #require(try linear.quantization())
    #expect(
      quantization.storedTensors(of: linear.name, in: linear.source).map(\.name) == [
        stack + "_blocks", stack + "_scales",
      ])
    #expect(quantization.scheme(of: "model.layers.0.self_attn.q_proj") == nil)
    linear.name = "model.layers.0.mlp.experts.2.gate_up_proj"
    #expect(
      throws: CheckpointError.malformed(
        file: "f", offset: nil, tensor: stack + "_blocks", problem: "holds 2 experts, expert 2 is asked for")
    ) { try linear.weight() }
    let kept = linear.setting("modules_to_not_convert", ["model.layers.*.mlp"])
    #expect(throws: CheckpointError.self) { try kept.quantization() }
  }
}

extension Tensor {
  /// 32-bit words as I32.
  static func words(_ shape: Shape, _ values: [UInt32]) -> Tensor {
    .int32(shape, values.map { Int32(bitPattern: $0) })
  }

  /// The elements of an I32 tensor as words.
  var words: [UInt32] {
    withBytes { bytes in
      (0..<elementCount).map { UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self)) }
    }
  }
}
