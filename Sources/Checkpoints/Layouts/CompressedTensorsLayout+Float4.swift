internal import Quantization
public import Tensors

extension CompressedTensorsLayout {
  /// `nvfp4-pack-quantized` for groups of 16, `mxfp4-pack-quantized` for groups of 32.
  static func planFloat4(
    _ linear: String, _ quantization: WeightQuantization, outFeatures: Int, inFeatures: Int
  ) -> [TensorInfo] {
    let grid = ScaleGrid(quantization.granularity, outFeatures: outFeatures, inFeatures: inFeatures)
    let isNVIDIA = quantization.scales == .float8
    let packed = TensorInfo(name: linear + ".weight_packed", dtype: .uint8, shape: [outFeatures, inFeatures / 2])
    let scales = TensorInfo(
      name: linear + ".weight_scale", dtype: isNVIDIA ? .float8E4M3 : .uint8, shape: [outFeatures, grid.columnGroups])
    guard isNVIDIA else { return [packed, scales] }
    return [packed, scales, TensorInfo(name: linear + ".weight_global_scale", dtype: .float32, shape: [1])]
  }

  static func encodeFloat4(_ weight: QuantizedTensor, _ linear: String) -> [(name: String, tensor: Tensor)] {
    precondition(weight.inFeatures % 2 == 0, "pairs of codes fill bytes")
    let bytes = [UInt8](unsafeUninitializedCapacity: weight.codes.count / 2) { bytes, count in
      count = weight.codes.count / 2
      weight.codes.withUnsafeBufferPointer { codes in
        for index in 0..<count { bytes[index] = codes[2 * index] | codes[2 * index + 1] << 4 }
      }
    }
    let packed = Tensor(.uint8, [weight.outFeatures, weight.inFeatures / 2], bytes: bytes)
    let result = [(name: linear + ".weight_packed", tensor: packed), (linear + ".weight_scale", scaleTensor(weight))]
    guard let divisor = weight.scaleDivisor else { return result }
    return result + [(linear + ".weight_global_scale", Tensor([1], floats: [divisor]))]
  }

  /// The scales as they are stored: exponents of powers of two, float8, or an ordinary type.
  static func scaleTensor(_ weight: QuantizedTensor) -> Tensor {
    let (shape, type) = (scaleShape(weight.quantization, weight.grid), weight.scaleType)
    switch weight.quantization.scaleType(ordinary: type) {
    case .float8E8M0:
      // 2^(code − 127); code 0 is a subnormal float.
      return Tensor(.uint8, shape, bytes: weight.scales.map { UInt8(truncatingIfNeeded: $0.bitPattern >> 23) })
    case .float8E4M3:
      guard let divisor = weight.scaleDivisor else { preconditionFailure("float8 scales have a divisor") }
      // A quotient is nearest to the code it came from.
      return Tensor(.float8E4M3, shape, bytes: Float8E4M3.codes(weight.scales.map { $0 * divisor }))
    default: return Tensor(shape, floats: weight.scales, as: type)
    }
  }
}

extension StoredQuantization {
  /// The tensors of a linear of float4 weights as compressed-tensors spells them: codes and scales byte for byte.
  ///
  /// | tensor | groups of 16 (NVFP4) | groups of 32 (MXFP4) |
  /// |---|---|---|
  /// | `weight_packed` | U8 [out, in/2], the even column in the lower four bits | the same |
  /// | `weight_scale` | F8_E4M3 [out, in/16] | U8 [out, in/32], exponents less −127 |
  /// | `weight_global_scale` | F32 [1], a divisor of the scales | – |
  ///
  /// - Parameters:
  ///   - linear: one whose ``scheme(of:)`` has float4 weights; a single expert of a stack too.
  ///   - outFeatures: what the model's configuration says; the tensors must agree.
  ///   - file: for messages.
  public func float4Tensors(
    of linear: String, outFeatures: Int, inFeatures: Int, from source: any WeightSource, file: String
  ) throws(CheckpointError) -> [(name: String, tensor: Tensor)] {
    // Opens it, which checks shapes, types and scales.
    _ = try weight(of: linear, outFeatures: outFeatures, inFeatures: inFeatures, from: source, file: file)
    guard let (name, rule) = place(of: linear), rule.scheme.weights.format == .float4E2M1 else {
      throw .malformed(file: file, offset: nil, tensor: linear, problem: "has no float4 weights")
    }
    let tensors = LinearTensors(linear: name, source: source, file: file)
    let groups = ScaleGrid(
      rule.scheme.weights.granularity, outFeatures: outFeatures, inFeatures: inFeatures
    ).columnGroups
    var packed = try source.tensor(name + rule.layout.codesPart)
    var scales = try source.tensor(name + rule.layout.parts[1])
    if case .expert(let index) = rule.layout {
      packed = packed.rows(index..<index + 1)
      scales = scales.rows(index..<index + 1)
    }
    if scales.dtype == .float8E8M0 {
      let exponents = scales
      scales = Tensor(.uint8, scales.shape) { bytes in exponents.withBytes { bytes.copyMemory(from: $0) } }
    }
    let result = [
      (name: linear + ".weight_packed", tensor: packed.reshaped(to: [outFeatures, inFeatures / 2])),
      (name: linear + ".weight_scale", tensor: scales.reshaped(to: [outFeatures, groups])),
    ]
    guard let divisor = try Self.divisor(rule, tensors) else { return result }
    return result + [(linear + ".weight_global_scale", Tensor([1], floats: [divisor]))]
  }

  /// Whether scales that ``float4Tensors(of:outFeatures:inFeatures:from:file:)`` gives are the stored ones bit for bit.
  ///
  /// ModelOpt multiplies scales by one number for all, compressed-tensors divides by one: of a reciprocal that F32 does
  /// not hold exactly, some products differ by one unit in the last place.
  public func hasExactFloat4(
    _ linear: String, in source: any WeightSource, file: String
  ) throws(CheckpointError) -> Bool {
    guard let (name, rule) = place(of: linear), case .float4(_, .factor(let part)) = rule.layout else { return true }
    let tensors = LinearTensors(linear: name, source: source, file: file)
    guard let divisor = try Self.divisor(rule, tensors) else { return true }
    let factor = try tensors.number(part)
    return Float8E4M3.decoded.allSatisfy { !$0.isFinite || $0 * factor == $0 / divisor }
  }

  /// The number that scales are divided by, if the layout has one.
  private static func divisor(_ rule: StorageRule, _ tensors: LinearTensors) throws(CheckpointError) -> Float? {
    switch rule.layout {
    case .float4(_, .divisor(let part)): return try tensors.number(part)
    case .float4(_, .factor(let part)): return 1 / (try tensors.number(part))
    default: return nil
    }
  }
}
