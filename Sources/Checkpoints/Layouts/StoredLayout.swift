internal import Kernels
internal import Quantization
internal import Tensors

/// How one quantized linear is spelled in tensors.
enum StoredLayout: Hashable, Sendable {
  /// compressed-tensors: integers packed into 32-bit words along the input features.
  case packedIntegers
  /// compressed-tensors: an I8 a weight.
  case plainIntegers
  /// `weight` in F8_E4M3 with ordinary scales, multipliers whatever their name says.
  case float8(scale: String)
  /// `weight` in F8_E4M3 with a power of two for every 32 weights of a row.
  case microscaledFloat8
  /// float4 with a float8 scale for every 16 weights of a row and one number for all.
  case float4(codes: String, whole: Whole)
  /// float4 with a power of two for every 32 weights of a row.
  case microscaledFloat4
  /// One expert of a stack of float4 matrices with powers of two, as gpt-oss keeps them.
  case expert(Int)
  /// AutoAWQ, version GEMM.
  case autoAWQ
  /// GPTQ; the first version of the format stores zero points less one. `isOrdered` where columns may be out of order.
  case gptq(bias: Int, isOrdered: Bool)
  /// Our own: integers column by column, with gains of rows and columns.
  case entropyCoded

  /// The number that all scales of a matrix are taken with.
  enum Whole: Hashable, Sendable {
    case divisor(String)
    case factor(String)
  }

  /// The tensor that holds the codes, by the part of its name that follows the linear's.
  var codesPart: String {
    switch self {
    case .packedIntegers, .microscaledFloat4: ".weight_packed"
    case .plainIntegers, .float8, .microscaledFloat8: ".weight"
    case .float4(let codes, _): codes
    case .expert: "_blocks"
    case .autoAWQ, .gptq: ".qweight"
    case .entropyCoded: EntropyCodedLayout.codesPart
    }
  }

  /// Every part that such a linear may have beside its additive bias.
  var parts: [String] {
    switch self {
    case .packedIntegers: [".weight_packed", ".weight_scale", ".weight_zero_point", ".weight_g_idx", ".weight_shape"]
    case .plainIntegers: [".weight", ".weight_scale", ".weight_zero_point"]
    case .float8(let scale): [".weight", scale]
    case .microscaledFloat8: [".weight", ".weight_scale"]
    case .float4(let codes, .divisor(let whole)), .float4(let codes, .factor(let whole)):
      [codes, ".weight_scale", whole]
    case .microscaledFloat4: [".weight_packed", ".weight_scale"]
    case .expert: ["_blocks", "_scales"]
    case .autoAWQ: [".qweight", ".qzeros", ".scales"]
    case .gptq: [".qweight", ".qzeros", ".scales", ".g_idx"]
    case .entropyCoded: EntropyCodedLayout.parts
    }
  }

  /// What runtimes scale activations with.
  static let activationParts = [
    ".input_scale", ".input_zero_point", ".input_global_scale", ".input_scale_ub", ".activation_scale",
    ".output_scale", ".output_zero_point",
  ]
}

extension LinearTensors {
  /// Opens the linear: all shapes and types are checked, scales, zero points and orders of columns are read and checked.
  func open(
    _ layout: StoredLayout, _ quantization: WeightQuantization, outFeatures: Int, inFeatures: Int
  ) throws(CheckpointError) -> StoredCodes {
    let grid = ScaleGrid(quantization.granularity, outFeatures: outFeatures, inFeatures: inFeatures)
    switch layout {
    case .packedIntegers: return try packedIntegers(quantization, grid, outFeatures, inFeatures)
    case .plainIntegers: return try plainIntegers(quantization, grid, outFeatures, inFeatures)
    case .float8(let scale): return try float8(quantization, grid, outFeatures, inFeatures, scale: scale)
    case .microscaledFloat8: return try microscaledFloat8(quantization, grid, outFeatures, inFeatures)
    case .float4(let codes, let whole):
      return try float4(quantization, grid, outFeatures, inFeatures, codes: codes, whole)
    case .microscaledFloat4: return try microscaledFloat4(quantization, grid, outFeatures, inFeatures)
    case .expert(let index): return try expert(index, quantization, grid, outFeatures, inFeatures)
    case .autoAWQ: return try autoAWQ(quantization, grid, outFeatures, inFeatures)
    case .gptq(let bias, let isOrdered):
      if isOrdered, grid.columnGroups > 1, info(".g_idx") == nil {
        throw .missingTensor(linear + ".g_idx", file: file)
      }
      return try gptq(quantization, grid, outFeatures, inFeatures, bias: bias)
    case .entropyCoded: return try entropyCoded(quantization, grid, outFeatures, inFeatures)
    }
  }

  /// Refuses rows that groups do not divide, of the layouts that have only whole groups.
  func requireWholeGroups(_ grid: ScaleGrid, _ inFeatures: Int, _ part: String) throws(CheckpointError) {
    guard inFeatures % grid.columnsPerScale == 0 else {
      throw refusal(part, "\(inFeatures) input features are no whole number of groups of \(grid.columnsPerScale)")
    }
  }

  func stored(
    _ quantization: WeightQuantization, _ outFeatures: Int, _ inFeatures: Int, _ source: StoredCodes.Source,
    _ scales: StoredScales, zeroPoints: (@Sendable (Range<Int>) -> [Int8])? = nil, order: [Int32]? = nil,
    columns: ColumnGains? = nil
  ) -> StoredCodes {
    StoredCodes(
      quantization: quantization, outFeatures: outFeatures, inFeatures: inFeatures, source: source, scales: scales,
      zeroPoints: zeroPoints, order: order, columns: columns)
  }
}
