import Checkpoints
import Kernels
import Quantization
import Tensors
import TestSupport
import Testing

/// Scales of integers that are negative or 0, as other tools write them: see `Vectors/signs`.
@Suite struct ScaleSignTests {
  @Test(arguments: [("gptq4_autoround", ".scales", 34, 0), ("ct_w4_autoround", ".weight_scale", 34, 0)])
  func `AutoRound's negative scales mean what it makes of them`(
    name: String, part: String, negative: Int, zero: Int
  ) throws {
    let linear = try StoredLinear.vector(name, in: "signs")
    let scales = try #require(linear[part]).floats()
    #expect(scales.count { $0 < 0 } == negative && scales.count { $0 == 0 } == zero)
    try StoredWeightTests.check(linear, scheme: "W4A16")
    try Self.checkProducts(linear)
  }

  @Test func `a scale that is too small for its type is 0, and so are its weights`() throws {
    let linear = try StoredLinear.vector("gptq4_gptqmodel", in: "signs")
    let scales = try #require(linear[".scales"]).floats()
    #expect(scales.count { $0 == 0 } == 3)
    try StoredWeightTests.check(linear, scheme: "W4A16")
    try Self.checkProducts(linear)
    #expect(try linear.weight().rows.rows(2..<3).values.allSatisfy { $0 == 0 })
  }

  /// Products by both kernels against sums in double precision of the expected weights.
  private static func checkProducts(_ linear: StoredLinear, sourceLocation: SourceLocation = #_sourceLocation) throws {
    let codes = try #require(try linear.weight().codes?(), sourceLocation: sourceLocation)
    let (packed, grid, rows, columns) = (codes.packed(), codes.grid, linear.shape[0], linear.shape[1])
    var generator = SeededGenerator(seed: 5)
    for tokens in [1, 3, 7] {
      let x = Matrix(rows: tokens, columns: columns, values: generator.normals(tokens * columns))
      let y = packed.product(x)
      for token in 0..<tokens {
        for row in 0..<rows {
          let terms = (0..<columns).map { Double(x[token, $0]) * Double(linear.expected[row * columns + $0]) }
          // Zero points count in full where they cancel codes, as kernels take their sums apart.
          let magnitudes = (0..<columns).map {
            16 * abs(Double(x[token, $0]) * Double(codes.scales[row * grid.columnGroups + $0 / grid.columnsPerScale]))
          }
          let bound = 0x1p-18 * magnitudes.reduce(0, +)
          let error = abs(Double(y[token, row]) - terms.reduce(0, +))
          #expect(error <= bound, "\(tokens) tokens, row \(row)", sourceLocation: sourceLocation)
        }
      }
    }
  }

  static let integers = [
    ("sources", "awq_gemm_g32"), ("sources", "ct_w8a8_int"), ("sources", "gptq3_sym"), ("sources", "gptq4_actorder"),
    ("sources", "gptq4_asym"), ("sources", "gptq8_sym"), ("layouts", "ct_w4_asym_g32"), ("layouts", "ct_w4_channel"),
    ("layouts", "ct_w8_sym_g32"),
  ]

  @Test(arguments: integers)
  func `negating the scales of integers negates weights and products, bit for bit`(folder: String, name: String) throws
  {
    var linear = try StoredLinear.vector(name, in: folder)
    let part = try #require([".scales", ".weight_scale"].first { linear[$0] != nil })
    let stored = try linear.weight()
    let scales = try #require(linear[part])
    linear[part] = Tensor(scales.shape, floats: scales.floats().map { -$0 }, as: scales.dtype)
    let negated = try linear.weight()
    #expect(negated.rows.matrix().values == linear.expected.map { -$0 })
    try negated.check()
    guard let before = try stored.codes?().packed(), let after = try negated.codes?().packed() else { return }
    var generator = SeededGenerator(seed: 6)
    for tokens in [1, 7] {
      let x = Matrix(rows: tokens, columns: linear.shape[1], values: generator.normals(tokens * linear.shape[1]))
      #expect(after.product(x).values == before.product(x).values.map { -$0 })
    }
  }

  @Test(arguments: ["gptq4_autoround", "ct_w4_autoround", "gptq4_gptqmodel"])
  func `such scales are written as compressed-tensors and read back the same`(name: String) throws {
    let linear = try StoredLinear.vector(name, in: "signs")
    let codes = try #require(try linear.weight().codes?())
    let encoded = MemorySource(CompressedTensorsLayout.encode(codes, linear: "m"))
    let decoded = try CompressedTensorsLayout.decode(
      linear: "m", codes.quantization, outFeatures: linear.shape[0], inFeatures: linear.shape[1], from: encoded,
      file: "f")
    #expect(decoded.scales == codes.scales && decoded.codes == codes.codes && decoded.scaleType == .float16)
    #expect(decoded.dequantized().values == linear.expected)
    // And as a checkpoint of its own.
    var written = try StoredLinear.vector("ct_w4_autoround", in: "signs")
    written.tensors = encoded.entries
    written.expected = linear.expected
    try StoredWeightTests.check(written, scheme: "W4A16")
  }
}
