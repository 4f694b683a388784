import Checkpoints
import Quantization
import StrictJSON
import Tensors
import TestSupport
import Testing

/// What `formats/quantized-sources.md` says is refused when a linear is opened.
@Suite struct StoredWeightRefusalTests {
  private static func refusal(
    _ linear: StoredLinear, _ part: String, _ problem: String, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(
      throws: CheckpointError.malformed(file: "f", offset: nil, tensor: "m" + part, problem: problem),
      sourceLocation: sourceLocation
    ) { try linear.weight() }
  }

  static let vectors = [
    "awq_gemm_g32", "ct_mxfp4", "ct_mxfp8", "ct_nvfp4", "ct_w8a8_int", "gptq3_sym", "gptq4_actorder", "gptq8_sym",
  ]

  @Test(arguments: vectors)
  func `a missing partner is named`(name: String) throws {
    let good = try StoredLinear.vector(name)
    for (tensor, _) in good.tensors {
      // In order, GPTQ's columns need no list.
      guard tensor != "m.g_idx" || name == "gptq4_actorder" else { continue }
      #expect(throws: CheckpointError.missingTensor(tensor, file: "f"), "\(tensor)") {
        try good.with(String(tensor.dropFirst()), nil).weight()
      }
    }
  }

  @Test(arguments: vectors)
  func `another shape or type of any part is refused with both`(name: String) throws {
    let good = try StoredLinear.vector(name)
    for (tensor, content) in good.tensors {
      let part = String(tensor.dropFirst())
      for shape in [
        Shape([3] + content.shape.extents), Shape(content.shape.extents.map { $0 + 1 }), [content.elementCount, 2],
      ] {
        let bytes = [UInt8](repeating: 1, count: shape.byteCount(of: content.dtype) ?? 0)
        let found = "\(content.dtype.rawValue) \(shape)"
        Self.expect(good.with(part, Tensor(content.dtype, shape, bytes: bytes)), part, endsWith: "found " + found)
      }
      let other = Tensor(.float64, content.shape, bytes: [UInt8](repeating: 1, count: 8 * content.elementCount))
      Self.expect(good.with(part, other), part, endsWith: "found F64 \(content.shape)")
    }
    // And so is a model of another shape.
    var turned = good
    turned.shape = [good.shape[0] * 2, good.shape[1]]
    #expect(throws: CheckpointError.self) { try turned.weight() }
    turned.shape = [good.shape[0], good.shape[1] * 2]
    #expect(throws: CheckpointError.self) { try turned.weight() }
  }

  private static func expect(
    _ linear: StoredLinear, _ part: String, endsWith end: String, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let error = #expect(throws: CheckpointError.self, sourceLocation: sourceLocation) { try linear.weight() }
    guard case .malformed("f", nil, let tensor?, let problem)? = error else {
      Issue.record("\(String(describing: error))", sourceLocation: sourceLocation)
      return
    }
    #expect(tensor == "m" + part && problem.hasSuffix(end), "\(problem)", sourceLocation: sourceLocation)
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func `a scale of integers that is not finite is refused`(scale: Float) throws {
    for name in ["awq_gemm_g32", "ct_w8a8_int", "gptq4_sym", "gptq4_actorder", "ct_w4_asym_g32"] {
      let good = try StoredLinear.vector(name, in: name == "ct_w4_asym_g32" ? "layouts" : "sources")
      let part = good[".scales"] == nil ? ".weight_scale" : ".scales"
      let tensor = try #require(good[part])
      var scales = tensor.floats()
      scales[scales.count - 1] = scale
      Self.refusal(
        good.with(part, Tensor(tensor.shape, floats: scales, as: tensor.dtype)), part, "a scale is \(scale), not finite"
      )
    }
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity, 0, -0.0, -0.5])
  func `a scale of floats that is not positive and finite is refused`(scale: Float) throws {
    for name in ["ct_fp8", "ct_fp8_block", "ct_fp8_dynamic"] {
      let good = try StoredLinear.vector(name, in: "layouts")
      let tensor = try #require(good[".weight_scale"])
      var scales = tensor.floats()
      scales[scales.count - 1] = scale
      Self.refusal(
        good.with(".weight_scale", Tensor(tensor.shape, floats: scales, as: tensor.dtype)), ".weight_scale",
        "a scale is not positive and finite")
    }
    var linear = try StoredLinear.vector("ct_nvfp4")
    linear[".weight_global_scale"] = Tensor([1], floats: [scale])
    Self.refusal(linear, ".weight_global_scale", "\(scale) is not positive and finite")
  }

  @Test func `an exponent of 255 is refused, 0 is the smallest power of two`() throws {
    for name in ["ct_mxfp4", "ct_mxfp8"] {
      let good = try StoredLinear.vector(name)
      let scale = try #require(good[".weight_scale"])
      var bytes = scale.bytes
      bytes[3] = 255
      Self.refusal(
        good.with(".weight_scale", Tensor(.uint8, scale.shape, bytes: bytes)), ".weight_scale",
        "a scale is not positive and finite")
      bytes[3] = 0
      let small = try good.with(".weight_scale", Tensor(.uint8, scale.shape, bytes: bytes)).weight()
      let expected = good.expected[32 + 64..<128].map {
        $0 * Float(sign: .plus, exponent: -Int(scale.bytes[3]), significand: 1)
      }
      #expect(Array(small.rows.rows(1..<2).values[32...]) == expected)
      _ = try good.with(".weight_scale", Tensor(.float8E8M0, scale.shape, bytes: scale.bytes)).weight()
    }
  }

  @Test func `a float8 scale of float4 may be 0, but not negative or NaN`() throws {
    let good = try StoredLinear.vector("ct_nvfp4")
    let scale = try #require(good[".weight_scale"])
    for byte: UInt8 in [0x7F, 0xFF, 0x80 | 0x38] {
      var bytes = scale.bytes
      bytes[0] = byte
      Self.refusal(
        good.with(".weight_scale", Tensor(.float8E4M3, scale.shape, bytes: bytes)), ".weight_scale",
        "a scale is not positive and finite")
    }
    var bytes = scale.bytes
    bytes[0] = 0
    let weight = try good.with(".weight_scale", Tensor(.float8E4M3, scale.shape, bytes: bytes)).weight()
    #expect(weight.rows.rows(0..<1).values[..<16].allSatisfy { $0 == 0 })
  }

  @Test(arguments: [UInt8(0x7F), 0xFF])
  func `a float8 code that is NaN reads as NaN, and is refused where codes are`(code: UInt8) throws {
    let good = try StoredLinear.vector("ct_mxfp8")
    let codes = try #require(good[".weight"])
    var bytes = codes.bytes
    bytes[77] = code
    let weight = try good.with(".weight", Tensor(.float8E4M3, codes.shape, bytes: bytes)).weight()
    #expect(weight.rows.matrix().firstNonFinite == 77)
    let error = CheckpointError.malformed(file: "f", offset: nil, tensor: "m.weight", problem: "a float8 code is NaN")
    #expect(throws: error) { try weight.check() }
    #expect(throws: error) { try weight.codes?() }
  }

  @Test func `an integer too large for its bits is refused where codes are`() throws {
    var linear = try StoredLinear.vector("ct_w8a8_int")
    let groups = linear.configuration["config_groups"]?["group_0"]?.objectValue
    var (group, weights) = (try #require(groups), try #require(groups?["weights"]?.objectValue))
    weights["num_bits"] = 4
    group["weights"] = .object(weights)
    linear = linear.setting("config_groups", ["group_0": .object(group)])
    #expect(try linear.quantization()?.scheme(of: "m")?.name == "W4A8")
    let weight = try linear.weight()
    let error = #expect(throws: CheckpointError.self) { try weight.codes?() }
    #expect(error?.description.hasSuffix("is none of 4 bits") == true)
  }

  // MARK: Zero points

  @Test func `a symmetric weight whose zero points are not the middle is refused`() throws {
    let good = try StoredLinear.vector("gptq4_sym")
    let zeros = try #require(good[".qzeros"])
    Self.refusal(
      good.with(".qzeros", .words(zeros.shape, zeros.words.map { $0 + 1 })), ".qzeros",
      "a zero point is 9, but the configuration says that weights are symmetric, all are 8")
    // The first version's zero points under the second one's name.
    Self.refusal(
      good.setting("checkpoint_format", "gptq_v2"), ".qzeros",
      "a zero point is 7, but the configuration says that weights are symmetric, all are 8")
    Self.refusal(
      try StoredLinear.vector("awq_gemm_g32").setting("zero_point", false).with(
        ".qzeros", .words([2, 2], [UInt32](repeating: 0x8888_8889, count: 4))), ".qzeros",
      "a zero point is 9, but the configuration says that weights are symmetric, all are 8")
  }

  @Test func `a stored 15 is no zero point of GPTQ's first version`() throws {
    let good = try StoredLinear.vector("gptq4_asym")
    var words = try #require(good[".qzeros"]).words
    words[1] |= 0xF000
    Self.refusal(
      good.with(".qzeros", .words([2, 4], words)), ".qzeros",
      "a zero point is 16, at most 15 is possible; save the model as gptq_v2")
    // In the second version it is one.
    _ = try good.setting("checkpoint_format", "gptq_v2").with(".qzeros", .words([2, 4], words)).weight()
  }

  @Test func `zero points of integers that are not packed`() throws {
    var linear = try StoredLinear.vector("ct_w8a8_int")
    linear[".weight_zero_point"] = Tensor(.int8, [16, 1], bytes: (0..<16).map { UInt8($0) })
    Self.refusal(linear, ".weight_zero_point", "is there, but the configuration says that weights are symmetric")
    let groups = linear.configuration["config_groups"]?["group_0"]?.objectValue
    var (group, weights) = (try #require(groups), try #require(groups?["weights"]?.objectValue))
    weights["symmetric"] = false
    group["weights"] = .object(weights)
    linear = linear.setting("config_groups", ["group_0": .object(group)])
    let (codes, scales) = (try #require(linear[".weight"]).bytes, try #require(linear[".weight_scale"]).floats())
    let expected = codes.enumerated().map { (Float(Int8(bitPattern: $1)) - Float($0 / 64)) * scales[$0 / 64] }
    let weight = try linear.weight()
    #expect(weight.rows.matrix().values == expected)
    #expect(try weight.codes?().dequantized().values == expected)
  }

  // MARK: Columns out of order

  @Test func `groups out of range and of another count are refused, −1 is no order`() throws {
    let good = try StoredLinear.vector("gptq4_sym")
    for odd: Int32 in [2, -1, .max, .min] {
      var groups = (0..<64).map { Int32($0 / 32) }
      groups[63] = odd
      Self.refusal(good.with(".g_idx", .int32([64], groups)), ".g_idx", "holds group \(odd), there are 2")
    }
    Self.refusal(
      good.with(".g_idx", .int32([63], [Int32](repeating: 0, count: 63))), ".g_idx",
      "expected I32 or I64 [64], found I32 [63]")
    let weight = try good.with(".g_idx", .int32([64], [Int32](repeating: -1, count: 64))).weight()
    #expect(weight.codes != nil && weight.rows.matrix().values == good.expected)
  }

  @Test func `compressed-tensors may have columns out of order too`() throws {
    var linear = try StoredLinear.vector("ct_w4_asym_g32", in: "layouts")
    let plain = try #require(try linear.weight().codes?())
    let groups = (0..<64).map { Int32($0 * 7 % 64 / 32) }
    linear[".weight_g_idx"] = .int32([64], groups)
    let weight = try linear.weight()
    #expect(weight.codes == nil)
    let zeros = try #require(plain.zeroPoints)
    let expected = plain.codes.enumerated().map { index, code in
      let cell = index / 64 * 2 + Int(groups[index % 64])
      return (Float(Int8(bitPattern: code)) - Float(zeros[cell])) * plain.scales[cell]
    }
    #expect(weight.rows.matrix().values == expected)
    #expect(weight.rows.rows(9..<12).values == Array(expected[9 * 64..<12 * 64]))
  }

  // MARK: Shapes

  @Test(arguments: [3, 5, 6, 7])
  func `older files fill each word with whole codes`(bits: Int) throws {
    let (rows, columns, per) = (4, 64, 32 / bits)
    let code = { (row: Int, column: Int) in (row * 7 + column * 3) % (1 << bits) }
    var words: [UInt32] = []
    for row in 0..<rows {
      for start in stride(from: 0, to: columns, by: per) {
        words.append((start..<min(columns, start + per)).reduce(0) { $0 | UInt32(code(row, $1)) << ($1 % per * bits) })
      }
    }
    var linear = StoredLinear(
      tensors: [],
      configuration: [
        "quant_method": "compressed-tensors", "format": "pack-quantized",
        "config_groups": [
          "group_0": [
            "targets": ["Linear"],
            "weights": ["num_bits": .integer(bits), "type": "int", "symmetric": true, "strategy": "channel"],
          ]
        ],
      ], shape: [rows, columns])
    linear[".weight_packed"] = .words([rows, words.count / rows], words)
    linear[".weight_scale"] = Tensor([rows, 1], floats: [1, 2, 4, 8], as: .bfloat16)
    linear[".weight_shape"] = .int32([2], [Int32(rows), Int32(columns)])
    let expected = (0..<rows * columns).map { index -> Float in
      let value = code(index / columns, index % columns) - 1 << (bits - 1)
      return Float(value) * Float(1 << (index / columns))
    }
    let weight = try linear.weight()
    #expect(weight.rows.matrix().values == expected)
    #expect(try weight.codes?().dequantized().values == expected)
  }

  @Test func `features that do not fill groups or words are refused`() throws {
    var linear = try StoredLinear.vector("ct_mxfp4")
    linear.shape = [16, 48]
    Self.refusal(linear, ".weight_packed", "48 input features are no whole number of groups of 32")
    linear = try StoredLinear.vector("awq_gemm_g32")
    linear.shape = [12, 64]
    Self.refusal(linear, ".qweight", "12 output features are no multiple of 8")
    linear = try StoredLinear.vector("gptq4_sym")
    linear.shape = [33, 64]
    Self.refusal(linear, ".qweight", "33 output features of 4 bits do not fill 32-bit words")
  }

  @Test func `a second kind of weight is refused`() throws {
    let plain = Tensor([16, 64], floats: [Float](repeating: 0, count: 1024), as: .bfloat16)
    for (name, kept) in [("awq_gemm_g32", ".qweight"), ("ct_mxfp4", ".weight_packed"), ("ct_nvfp4", ".weight_packed")] {
      Self.refusal(
        try StoredLinear.vector(name).with(".weight", plain), ".weight",
        "is there beside m\(kept); which of them counts is unclear")
    }
    Self.refusal(
      try StoredLinear.vector("awq_gemm_g32").with(".g_idx", .int32([64], [Int32](repeating: 0, count: 64))), ".g_idx",
      "is there beside m.qweight; which of them counts is unclear")
    var linear = try StoredLinear.vector("ct_fp8", in: "layouts")
    linear.configuration = ["quant_method": "fp8"]
    linear[".weight_scale_inv"] = linear[".weight_scale"]
    Self.refusal(linear, ".weight_scale", "is there beside m.weight_scale_inv; which of them counts is unclear")
  }
}
