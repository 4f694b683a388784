internal import Kernels
internal import Quantization
internal import Tensors

/// Layouts with one byte a weight: float8, and integers that are not packed.
extension LinearTensors {
  func float8(
    _ quantization: WeightQuantization, _ grid: ScaleGrid, _ outFeatures: Int, _ inFeatures: Int, scale: String
  ) throws(CheckpointError) -> StoredCodes {
    try refuse([".weight_packed"], beside: ".weight")
    try refuse([".weight_scale", ".weight_scale_inv"].filter { $0 != scale }, beside: scale)
    let codes = try codes(.float8E4M3, .float8E4M3, outFeatures, inFeatures)
    let scales = try scales(
      scale, of: quantization.format, Self.floatTypes + [.float8E8M0], Self.scaleShapes(quantization.granularity, grid),
      grid)
    return stored(quantization, outFeatures, inFeatures, codes, scales)
  }

  func microscaledFloat8(
    _ quantization: WeightQuantization, _ grid: ScaleGrid, _ outFeatures: Int, _ inFeatures: Int
  ) throws(CheckpointError) -> StoredCodes {
    try refuse([".weight_packed"], beside: ".weight")
    let codes = try codes(.float8E4M3, .float8E4M3, outFeatures, inFeatures)
    try requireWholeGroups(grid, inFeatures, ".weight")
    let scales = try scales(
      ".weight_scale", of: quantization.format, Self.exponentTypes, Self.scaleShapes(quantization.granularity, grid),
      grid)
    return stored(quantization, outFeatures, inFeatures, codes, scales)
  }

  func plainIntegers(
    _ quantization: WeightQuantization, _ grid: ScaleGrid, _ outFeatures: Int, _ inFeatures: Int
  ) throws(CheckpointError) -> StoredCodes {
    try refuse([".weight_packed"], beside: ".weight")
    // Fewer bits than a byte has are checked first.
    let codes = try codes(
      .int8, quantization.format == .int(bits: 8) ? .int8 : nil, outFeatures, inFeatures)
    let shapes = Self.scaleShapes(quantization.granularity, grid)
    let scales = try scales(".weight_scale", of: quantization.format, Self.floatTypes, shapes, grid)
    var zeroPoints: (@Sendable (Range<Int>) -> [Int8])?
    if quantization.isSymmetric {
      try refuseZeroPoints()
    } else {
      let zeros = try tensor(".weight_zero_point", [.int8], shapes).reshaped(to: [grid.count])
      zeroPoints = { rows in
        zeros.rows(rows.lowerBound * grid.columnGroups..<rows.upperBound * grid.columnGroups).withBytes {
          $0.map { Int8(bitPattern: $0) }
        }
      }
    }
    return stored(quantization, outFeatures, inFeatures, codes, scales, zeroPoints: zeroPoints)
  }

  /// The codes of one byte each in `weight`, for matrices of a kind read when they are packed, if that is possible.
  private func codes(
    _ type: DType, _ kind: PackedMatrix.Kind?, _ outFeatures: Int, _ inFeatures: Int
  ) throws(CheckpointError) -> StoredCodes.Source {
    let info = try checked(".weight", [type], [[outFeatures, inFeatures]])
    if let kind, let streamed = streamed(".weight", kind, inFeatures: inFeatures) { return streamed }
    return .bytes(try source.tensor(info.name))
  }

  func refuseZeroPoints() throws(CheckpointError) {
    if info(".weight_zero_point") != nil {
      throw refusal(".weight_zero_point", "is there, but the configuration says that weights are symmetric")
    }
  }
}
