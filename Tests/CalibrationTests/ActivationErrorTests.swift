import Kernels
import Models
import Quantization
import Tensors
import TestSupport
import Testing

@testable import Calibration

/// What int8 activations cost a linear, measured as the kernels round them.
@Suite struct ActivationErrorTests {
  private static let w4 = scheme(.int(bits: 4), .perGroup(size: 32), isSymmetric: false)
  private static let w8 = scheme(.int(bits: 8), .perChannel, isSymmetric: true)

  private static func scheme(
    _ format: NumberFormat, _ granularity: Granularity, isSymmetric: Bool
  ) -> QuantizationScheme {
    QuantizationScheme(
      name: "test", weights: WeightQuantization(format, granularity, isSymmetric: isSymmetric))
  }

  /// A weight whose column 5 is small, and inputs whose channel 5 is as much larger.
  private static func linear(
    _ scheme: QuantizationScheme, outlier: Float = 1, rows: Int = 96, seed: UInt64 = 1
  ) -> (weight: PreparedWeight, input: Matrix) {
    var generator = SeededGenerator(seed: seed)
    var weight = Matrix(rows: rows, columns: 128, values: generator.normals(rows * 128))
    var input = Matrix(rows: 50, columns: 128, values: generator.normals(50 * 128))
    for row in 0..<rows { weight[row, 5] /= outlier }
    for token in 0..<50 { input[token, 5] *= outlier }
    return (PreparedWeight(WeightRows(weight), scheme: scheme, storedType: .float32), input)
  }

  private static func squares(_ one: Matrix, _ other: Matrix) -> Double {
    zip(one.values, other.values).reduce(0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
  }

  @Test(arguments: [w4, w8]) func `it is the error of the product itself`(scheme: QuantizationScheme) throws {
    let (weight, input) = Self.linear(scheme)
    let found = try #require(ActivationError.measure(weight, on: input))
    let packed = weight.quantized().packed()
    let (exact, rounded) = (packed.product(input, activations: .float), packed.product(input, activations: .int8))
    let wanted = MatrixProduct.product(input, transposed: weight.source.matrix())
    #expect(abs(found.activations / Self.squares(rounded, exact) - 1) < 1e-9)
    #expect(abs(found.weights / Self.squares(exact, wanted) - 1) < 1e-6)
    #expect(abs(found.output / Self.squares(wanted, Matrix(rows: 50, columns: 96)) - 1) < 1e-6)
    // 0.5 % of the output's root mean square, as PackedMatrix says.
    #expect((1e-5...6e-5).contains(found.activations / found.output), "\(found)")
    #expect(found.allowsInt8)
  }

  @Test(arguments: [w4, w8]) func `an outlying channel that matters no more than others keeps float`(
    scheme: QuantizationScheme
  ) throws {
    let (weight, input) = Self.linear(scheme, outlier: 300)
    let found = try #require(ActivationError.measure(weight, on: input))
    #expect(!found.allowsInt8 && found.activations > 0.01 * found.output, "\(found)")
    // Where folding has taken it out, nothing is left of it.
    var folded = weight
    folded.columnFactors = (0..<128).map { $0 == 5 ? 300 : 1 }
    let after = try #require(ActivationError.measure(folded, on: input))
    #expect(after.allowsInt8, "\(after)")
  }

  @Test func `one loud token does not decide`() throws {
    var (weight, input) = Self.linear(Self.w4)
    let before = try #require(ActivationError.measure(weight, on: input))
    for channel in 0..<128 { input[0, channel] *= channel == 7 ? 1e4 : 1 }
    for row in 0..<96 { weight = weight.with(row: row, column: 7, 1e-3) }
    let after = try #require(ActivationError.measure(weight, on: input))
    #expect(after.output < before.output * 2, "\(before), \(after)")
  }

  @Test func `rounded codes are measured as they are`() throws {
    var (weight, input) = Self.linear(Self.w4, rows: 300)
    let plain = try #require(ActivationError.measure(weight, on: input))
    weight.rounded = weight.quantized()
    #expect(try #require(ActivationError.measure(weight, on: input)) == plain)
    weight.rounded = PreparedWeight(
      WeightRows(Matrix(rows: 300, columns: 128)), scheme: Self.w4, storedType: .float32
    ).quantized()
    let none = try #require(ActivationError.measure(weight, on: input))
    #expect(none.activations == 0 && abs(none.weights / none.output - 1) < 1e-9)
  }

  @Test func `what has no integer product is not measured`() {
    let (input, rows) = (Self.linear(Self.w4).input, Self.linear(Self.w4).weight.source)
    for scheme in [
      .fp8Dynamic, Self.scheme(.int(bits: 4), .perGroup(size: 16), isSymmetric: false),
    ] as [QuantizationScheme] {
      let weight = PreparedWeight(rows, scheme: scheme, storedType: .bfloat16)
      #expect(ActivationError.measure(weight, on: input) == nil)
    }
    let kept = PreparedWeight(rows, scheme: nil, storedType: .bfloat16)
    #expect(ActivationError.measure(kept, on: input) == nil)
    #expect(ActivationError.measure(Self.linear(Self.w4).weight, on: Matrix(rows: 0, columns: 128)) == nil)
  }

  @Test func `rows are taken from all parts of an input, and no more than are wanted`() {
    var sample = InputSample()
    let many = Matrix(rows: 1000, columns: 1, values: (0..<1000).map { Float($0) })
    sample.add("a", many)
    sample.add("a", many)
    #expect(sample["a"]?.rows == InputSample.mostRows && (sample["a"]?.values.last ?? 0) > 800)
    for _ in 0..<9 { sample.add("b", many.rows(0..<20)) }
    #expect(sample["b"]?.rows == InputSample.mostRows && sample["c"] == nil)
  }

  // MARK: A layer

  /// Channels of the norm before the attention that are `factor` times too loud, for weights as much smaller.
  private static func loud(_ tiny: inout TinyLayer, factor: Float) throws {
    let names = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]
    for name in names {
      var weight = try tiny.layer.matrix(name)
      for row in 0..<weight.rows { for column in [3, 40] { weight[row, column] /= factor } }
      try tiny.layer.set(name, weight)
    }
    let norm = try #require(tiny.layer.configuration.norms.attentionInput)
    for channel in [3, 40] { tiny.layer.norms[norm]?.gains[channel] *= factor }
  }

  @Test(arguments: [(Calibration.Method.gptq, true), (.awqGPTQ, false), (.awq, false)])
  func `linears that read an outlier keep float unless folding takes it out`(
    method: Calibration.Method, keepsFloat: Bool
  ) throws {
    var tiny = TinyLayer()
    try Self.loud(&tiny, factor: 300)
    let quantizer = tiny.quantizer(tiny.all(Self.w4), method: method)
    let states = try CalibrationStates(
      search: HiddenStates(tiny.hiddenStates(300, seed: 2, factor: 1), Sequences(lengths: [300])),
      heldOut: HiddenStates(tiny.hiddenStates(100, seed: 3, factor: 1), Sequences(lengths: [100])), reserve: nil)
    let session = LayerSession(quantizer, states: states, tables: tiny.tables)
    try session.finish()
    for name in tiny.names {
      let choice = try #require(session.activationChoice(name), "\(name)")
      let readsNorm = ["q_proj", "k_proj", "v_proj"].contains { name.hasSuffix($0) }
      #expect(choice.isInt8 == !(keepsFloat && readsNorm), "\(name) \(choice)")
    }
  }

  @Test func `without texts nothing is measured`() throws {
    let tiny = TinyLayer()
    let session = LayerSession(tiny.quantizer(tiny.all(Self.w4)), states: nil, tables: tiny.tables)
    _ = try session.weight(tiny.names[0])
    try session.finish()
    #expect(tiny.names.allSatisfy { session.activationChoice($0) == nil })
  }
}

extension PreparedWeight {
  /// The same with one weight of the source changed.
  fileprivate func with(row: Int, column: Int, _ value: Float) -> PreparedWeight {
    var matrix = source.matrix()
    matrix[row, column] = value
    return PreparedWeight(WeightRows(matrix), scheme: scheme, storedType: storedType)
  }
}
