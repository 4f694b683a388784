internal import Checkpoints
public import Kernels
internal import Quantization
public import Tensors

/// y = x · Wᵀ + b, with weights in full precision or quantized.
public struct Linear: Sendable {
  /// How the weights are held.
  public enum Weight: Sendable {
    /// As they lie in the checkpoint, `[outFeatures, inFeatures]`.
    case dense(Tensor)
    /// Floats in memory, `[outFeatures, inFeatures]`.
    case matrix(Matrix)
    /// Decoded when they are read.
    case rows(WeightRows)
    /// Codes in the kernels' layout.
    case quantized(PackedMatrix)
    /// Zeros that cost nothing: a linear whose output is not needed.
    case absent(outFeatures: Int, inFeatures: Int)
  }

  /// The module's name in the checkpoint, such as `model.layers.0.mlp.up_proj`.
  public let name: String
  /// The weights.
  public var weight: Weight
  /// One value an output feature, if any.
  public var bias: [Float]?
  /// The exact codes behind ``Weight/rows(_:)``, where there are some.
  var codes: StoredWeight?
  /// What is done to the input first.
  var inputRounding: ActivationRounding?
  /// What a product of integer codes does to its input; codes without an integer product take it as it is.
  var activations = PackedMatrix.Activations.float
  /// What products of floats may do to both factors.
  var precision = ProductPrecision.float32
  /// Whether up to ``mostBatchRows`` rows have each the bits that it would have alone, for texts generated together.
  ///
  /// More rows, and all rows of other linears, are multiplied in the way that is fastest for their number.
  var servesBatches = false

  /// Most rows that ``servesBatches`` is about.
  static let mostBatchRows = PackedMatrix.mostFewTokens

  /// A linear.
  public init(name: String, weight: Weight, bias: [Float]? = nil) {
    self.name = name
    self.weight = weight
    self.bias = bias
  }

  /// A linear of codes in the kernels' layout.
  ///
  /// - Parameter activations: what a product does to its input, where the codes have an integer product.
  public init(name: String, packed: PackedMatrix, activations: PackedMatrix.Activations, bias: [Float]? = nil) {
    self.init(name: name, weight: .quantized(packed), bias: bias)
    self.activations = activations
  }

  /// Applies the linear to `[tokens, inFeatures]`.
  public func callAsFunction(_ x: Matrix) -> Matrix { Self.apply([self], to: x)[0] }

  /// Applies linears that read the same; packed ones together, which for few tokens is faster than one by one.
  static func apply(_ linears: [Linear], to x: Matrix) -> [Matrix] {
    if linears.count > 1, linears.allSatisfy({ $0.inputRounding == linears[0].inputRounding }) {
      let packed = linears.compactMap(\.packed)
      let activations = linears[0].productActivations
      if packed.count == linears.count, linears.allSatisfy({ $0.productActivations == activations }) {
        let x = linears[0].inputRounding.map { $0(x) } ?? x
        let products = PackedMatrix.products(
          packed, x, activations: activations, asSingle: linears[0].servesBatches)
        return zip(linears, products).map { $0.biased($1) }
      }
    }
    return linears.map { $0.biased($0.product(x)) }
  }

  private var packed: PackedMatrix? { if case .quantized(let packed) = weight { packed } else { nil } }

  /// Where the scheme's own rounding is carried out, nothing is rounded a second time.
  private var productActivations: PackedMatrix.Activations { inputRounding == nil ? activations : .float }

  private func product(_ x: Matrix) -> Matrix {
    let x = inputRounding.map { $0(x) } ?? x
    switch weight {
    case .dense(let tensor) where x.rows <= (servesBatches ? Self.mostBatchRows : DenseRows.mostTokens):
      return DenseRows(tensor).product(x)
    case .dense(let tensor): return MatrixProduct.product(x, tensor, precision)
    case .matrix(let matrix): return MatrixProduct.product(x, transposed: matrix)
    case .rows(let rows): return MatrixProduct.product(x, rows, precision)
    case .quantized(let packed):
      return PackedMatrix.products([packed], x, activations: productActivations, asSingle: servesBatches)[0]
    case .absent(let outFeatures, _): return Matrix(rows: x.rows, columns: outFeatures)
    }
  }

  private func biased(_ y: Matrix) -> Matrix {
    guard let bias else { return y }
    var y = y
    y.addToRows(bias)
    return y
  }

  /// Number of output features.
  public var outFeatures: Int {
    switch weight {
    case .dense(let tensor): tensor.shape[0]
    case .matrix(let matrix): matrix.rows
    case .rows(let rows): rows.outFeatures
    case .quantized(let packed): packed.outFeatures
    case .absent(let outFeatures, _): outFeatures
    }
  }

  /// Number of input features.
  public var inFeatures: Int {
    switch weight {
    case .dense(let tensor): tensor.shape[1]
    case .matrix(let matrix): matrix.columns
    case .rows(let rows): rows.inFeatures
    case .quantized(let packed): packed.inFeatures
    case .absent(_, let inFeatures): inFeatures
    }
  }

  /// The weights as floats, a few rows at a time.
  public var rows: WeightRows {
    switch weight {
    case .dense(let tensor): WeightRows(tensor)
    case .matrix(let matrix): WeightRows(matrix)
    case .rows(let rows): rows
    case .quantized(let packed):
      WeightRows(outFeatures: packed.outFeatures, inFeatures: packed.inFeatures, storedType: .float32) {
        range, floats in
        _ = floats.update(fromContentsOf: packed.dequantizedRows(range).values)
      }
    case .absent(let outFeatures, let inFeatures):
      WeightRows(outFeatures: outFeatures, inFeatures: inFeatures, storedType: .float32) { $1.update(repeating: 0) }
    }
  }

  /// Whether a row's result is the same in every bit whatever the number of rows.
  var hasIndependentRows: Bool { packed.map { $0.hasIntegerProduct && productActivations == .int8 } ?? false }

  /// The same linear held so that a product of one token of each of several texts is fast: packed codes where the layout
  /// has some, else floats.
  func resident() throws(ModelError) -> Linear {
    var result = self
    result.servesBatches = true
    guard case .rows(let rows) = weight else { return result }
    if let pack = codes?.packed {
      do throws(CheckpointError) { result.weight = .quantized(try pack()) } catch {
        throw .checkpoint(error)
      }
    } else {
      result.weight = .dense(
        Tensor(.float32, [rows.outFeatures, rows.inFeatures]) { bytes in
          rows.copyRows(0..<rows.outFeatures, to: bytes.bindMemory(to: Float.self))
        })
    }
    return result
  }
}
