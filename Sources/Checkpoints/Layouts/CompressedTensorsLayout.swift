public import Quantization
public import Tensors

/// Quantized linears as compressed-tensors spells them.
///
/// That is `pack-quantized` and `int-quantized` for integers, `float-quantized` and `mxfp8-quantized` for float8,
/// `nvfp4-pack-quantized` and `mxfp4-pack-quantized` for float4.
///
/// | tensor | integers | float8 |
/// |---|---|---|
/// | `weight_packed` | I32 [out, ⌈in·b/32⌉], code + 2^(b−1), lowest bits first | – |
/// | `weight` | – | F8_E4M3 [out, in] |
/// | `weight_scale` | [out, groups], or [out, 1] for a scale a row | [1], [out, 1], [row blocks, column blocks], or U8 [out, in/32] |
/// | `weight_zero_point` | I32 [⌈out·b/32⌉, groups], packed along the output features; asymmetric only | – |
/// | `weight_shape` | I64 [2] = [out, in] | – |
public enum CompressedTensorsLayout {
  /// The tensors that a linear of this shape becomes, known before any weight is read.
  ///
  /// - Parameter asBytes: whether symmetric integers of eight bits are a byte each (`int-quantized`), not packed.
  public static func plan(
    linear: String, _ quantization: WeightQuantization, outFeatures: Int, inFeatures: Int, scaleType: DType,
    asBytes: Bool = false
  ) -> [TensorInfo] {
    if quantization.format == .float4E2M1 {
      return planFloat4(linear, quantization, outFeatures: outFeatures, inFeatures: inFeatures)
    }
    let grid = ScaleGrid(quantization.granularity, outFeatures: outFeatures, inFeatures: inFeatures)
    let scale = TensorInfo(
      name: linear + ".weight_scale", dtype: quantization.isMicroscaled ? .uint8 : scaleType,
      shape: scaleShape(quantization, grid))
    if asBytes {
      return [TensorInfo(name: linear + ".weight", dtype: .int8, shape: [outFeatures, inFeatures]), scale]
    }
    guard case .int(let bits) = quantization.format else {
      return [TensorInfo(name: linear + ".weight", dtype: .float8E4M3, shape: [outFeatures, inFeatures]), scale]
    }
    var tensors = [
      TensorInfo(
        name: linear + ".weight_packed", dtype: .int32,
        shape: [outFeatures, BitPacking.wordCount(inFeatures, bits: bits)]),
      scale,
    ]
    if !quantization.isSymmetric {
      tensors.append(
        TensorInfo(
          name: linear + ".weight_zero_point", dtype: .int32,
          shape: [BitPacking.wordCount(outFeatures, bits: bits), grid.columnGroups]))
    }
    return tensors + [TensorInfo(name: linear + ".weight_shape", dtype: .int64, shape: [2])]
  }

  static func scaleShape(_ quantization: WeightQuantization, _ grid: ScaleGrid) -> Shape {
    if case .perTensor = quantization.granularity { return [1] }
    return [grid.rowGroups, grid.columnGroups]
  }

  /// The linear's tensors, in the order of ``plan(linear:_:outFeatures:inFeatures:scaleType:)``.
  public static func encode(
    _ weight: QuantizedTensor, linear: String, asBytes: Bool = false
  ) -> [(name: String, tensor: Tensor)] {
    precondition(
      !asBytes || weight.quantization.format == .int(bits: 8) && weight.quantization.isSymmetric,
      "bytes hold symmetric integers of eight bits")
    if weight.quantization.format == .float4E2M1 { return encodeFloat4(weight, linear) }
    precondition(weight.columns == nil, "compressed-tensors has no gains of columns")
    let grid = weight.grid
    let scale = scaleTensor(weight)
    if asBytes {
      return [
        (linear + ".weight", Tensor(.int8, [weight.outFeatures, weight.inFeatures], bytes: weight.codes)),
        (linear + ".weight_scale", scale),
      ]
    }
    guard case .int(let bits) = weight.quantization.format else {
      let codes = Tensor(.float8E4M3, [weight.outFeatures, weight.inFeatures], bytes: weight.codes)
      return [(linear + ".weight", codes), (linear + ".weight_scale", scale)]
    }
    var words: [UInt32] = []
    let rowWords = BitPacking.wordCount(weight.inFeatures, bits: bits)
    words.reserveCapacity(weight.outFeatures * rowWords)
    weight.codes.withUnsafeBufferPointer { codes in
      for row in 0..<weight.outFeatures {
        let start = row * weight.inFeatures
        BitPacking.pack(count: weight.inFeatures, bits: bits, into: &words) { Int8(bitPattern: codes[start + $0]) }
      }
    }
    var result = [
      (linear + ".weight_packed", tensor(words, [weight.outFeatures, rowWords])), (linear + ".weight_scale", scale),
    ]
    if let zeroPoints = weight.zeroPoints {
      // Packed along the output features: column by column, then laid out row by row.
      let zeroRows = BitPacking.wordCount(weight.outFeatures, bits: bits)
      var packed = [UInt32](repeating: 0, count: zeroRows * grid.columnGroups)
      for group in 0..<grid.columnGroups {
        var column: [UInt32] = []
        BitPacking.pack(count: weight.outFeatures, bits: bits, into: &column) {
          zeroPoints[$0 * grid.columnGroups + group]
        }
        for (row, word) in column.enumerated() { packed[row * grid.columnGroups + group] = word }
      }
      result.append((linear + ".weight_zero_point", tensor(packed, [zeroRows, grid.columnGroups])))
    }
    let shape = [Int64(weight.outFeatures), Int64(weight.inFeatures)]
    result.append(
      (linear + ".weight_shape", Tensor(.int64, [2]) { bytes in shape.withUnsafeBytes { bytes.copyMemory(from: $0) } }))
    return result
  }

  private static func tensor(_ words: [UInt32], _ shape: Shape) -> Tensor {
    Tensor(.int32, shape) { bytes in words.withUnsafeBytes { bytes.copyMemory(from: $0) } }
  }

  /// Reads a linear that a configuration says is quantized so.
  ///
  /// - Parameters:
  ///   - linear: the module's name, such as `model.layers.0.mlp.up_proj`.
  ///   - outFeatures: what the model's configuration says; the file must agree.
  ///   - file: for messages.
  public static func decode(
    linear: String, _ quantization: WeightQuantization, outFeatures: Int, inFeatures: Int,
    from source: some WeightSource, file: String
  ) throws(CheckpointError) -> QuantizedTensor {
    let scaleName = linear + ".weight_scale"
    guard let scaleType = source.info(scaleName)?.dtype else { throw .missingTensor(scaleName, file: file) }
    guard scaleType.isFullPrecision else {
      throw .malformed(file: file, offset: nil, tensor: scaleName, problem: "scales of type \(scaleType.rawValue)")
    }
    let grid = ScaleGrid(quantization.granularity, outFeatures: outFeatures, inFeatures: inFeatures)
    try refuseContradictions(linear: linear, quantization, grid, from: source, file: file)
    var parts: [Tensor] = []
    for wanted in plan(
      linear: linear, quantization, outFeatures: outFeatures, inFeatures: inFeatures, scaleType: scaleType)
    {
      guard let found = source.info(wanted.name) else { throw .missingTensor(wanted.name, file: file) }
      let isScale = wanted.name == scaleName && scaleSpellings(quantization, grid).contains(found.shape)
      // Older files hold the shape as I32.
      let isShape = wanted.dtype == .int64 && found.dtype == .int32
      guard found.dtype == wanted.dtype || isShape, found.shape == wanted.shape || isScale else {
        throw .malformed(
          file: file, offset: nil, tensor: wanted.name,
          problem: "expected \(wanted.dtype.rawValue) \(wanted.shape), found \(found.dtype.rawValue) \(found.shape)")
      }
      parts.append(try source.tensor(wanted.name))
    }
    if case .int = quantization.format, let shape = parts.last, integers(shape) != [outFeatures, inFeatures] {
      throw .malformed(
        file: file, offset: nil, tensor: linear + ".weight_shape",
        problem: "is \(integers(shape)), the configuration says [\(outFeatures), \(inFeatures)]")
    }
    let scales = parts[1].floats()
    if let problem = StoredScales(parts[1], grid).problem(of: quantization.format) {
      throw .malformed(file: file, offset: nil, tensor: scaleName, problem: problem)
    }
    var codes = [UInt8](repeating: 0, count: outFeatures * inFeatures)
    var zeroPoints: [Int8]?
    switch quantization.format {
    case .float8E4M3:
      parts[0].withBytes { codes = Array($0) }
      if codes.contains(where: { $0 & 0x7F == 0x7F }) {
        throw .malformed(file: file, offset: nil, tensor: linear + ".weight", problem: "a float8 code is NaN")
      }
    case .float4E2M1: preconditionFailure("float4 weights are read as StoredQuantization")
    case .int(let bits):
      let rowWords = BitPacking.wordCount(inFeatures, bits: bits)
      parts[0].withBytes { bytes in
        for row in 0..<outFeatures {
          BitPacking.unpack(count: inFeatures, bits: bits, word: { word(bytes, row * rowWords + $0) }) { column, code in
            codes[row * inFeatures + column] = UInt8(bitPattern: code)
          }
        }
      }
      if !quantization.isSymmetric {
        var zeros = [Int8](repeating: 0, count: grid.count)
        parts[2].withBytes { bytes in
          for group in 0..<grid.columnGroups {
            BitPacking.unpack(count: outFeatures, bits: bits, word: { word(bytes, $0 * grid.columnGroups + group) }) {
              row, zero in zeros[row * grid.columnGroups + group] = zero
            }
          }
        }
        zeroPoints = zeros
      }
    }
    return QuantizedTensor(
      quantization, outFeatures: outFeatures, inFeatures: inFeatures, codes: codes, scales: scales,
      scaleType: scaleType, zeroPoints: zeroPoints)
  }

  /// Shapes of scales that mean the same: a scale a matrix or a row is also written without its last axes.
  private static func scaleSpellings(_ quantization: WeightQuantization, _ grid: ScaleGrid) -> [Shape] {
    switch quantization.granularity {
    case .perTensor: [[], [1], [1, 1]]
    case .perChannel: [[grid.rowGroups], [grid.rowGroups, 1]]
    case .perGroup, .perBlock, .perRowAndColumn: [[grid.rowGroups, grid.columnGroups]]
    }
  }

  /// Refuses tensors beside those that are read that would give the linear another meaning.
  private static func refuseContradictions(
    linear: String, _ quantization: WeightQuantization, _ grid: ScaleGrid, from source: some WeightSource, file: String
  ) throws(CheckpointError) {
    func refuse(_ part: String, _ problem: String) -> CheckpointError {
      .malformed(file: file, offset: nil, tensor: linear + part, problem: problem)
    }
    let isInteger = quantization.format != .float8E4M3
    let other = isInteger ? ".weight" : ".weight_packed"
    if source.info(linear + other) != nil {
      throw refuse(other, "is there beside \(isInteger ? "weight_packed" : "weight"); which of them counts is unclear")
    }
    if isInteger, quantization.isSymmetric, source.info(linear + ".weight_zero_point") != nil {
      throw refuse(".weight_zero_point", "is there, but the configuration says that weights are symmetric")
    }
    if let info = source.info(linear + ".weight_g_idx") {
      guard info.dtype == .int32 || info.dtype == .int64 else {
        throw refuse(".weight_g_idx", "is \(info.dtype.rawValue), expected I32")
      }
      let groups = integers(try source.tensor(info.name))
      // −1 throughout says that there is no order.
      guard groups.allSatisfy({ $0 == -1 }) || groups.enumerated().allSatisfy({ $1 == $0 / grid.columnsPerScale })
      else {
        throw refuse(".weight_g_idx", "puts columns out of order (actorder), which is not read")
      }
    }
  }

  /// The elements of an I32 or I64 tensor.
  private static func integers(_ tensor: Tensor) -> [Int] {
    tensor.withBytes { bytes in
      (0..<tensor.elementCount).map { index in
        tensor.dtype == .int32
          ? Int(Int32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * index, as: Int32.self)))
          : Int(Int64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8 * index, as: Int64.self)))
      }
    }
  }

  private static func word(_ bytes: UnsafeRawBufferPointer, _ index: Int) -> UInt32 {
    UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self))
  }
}
