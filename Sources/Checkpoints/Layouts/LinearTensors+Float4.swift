internal import Quantization
internal import Tensors

/// float4: two E2M1 codes in a byte, the even column in the lower four bits.
extension LinearTensors {
  func float4(
    _ quantization: WeightQuantization, _ grid: ScaleGrid, _ outFeatures: Int, _ inFeatures: Int, codes: String,
    _ whole: StoredLayout.Whole
  ) throws(CheckpointError) -> StoredCodes {
    try refuse([".weight", ".weight_packed"].filter { $0 != codes }, beside: codes)
    let packed = try pairs(codes, grid, outFeatures, inFeatures)
    let number: StoredScales.Whole
    switch whole {
    case .divisor(let part): number = .divisor(try self.number(part))
    case .factor(let part): number = .factor(try self.number(part))
    }
    let scales = try scales(
      ".weight_scale", of: quantization.format, [.float8E4M3], [[outFeatures, grid.columnGroups]], grid, whole: number)
    return stored(quantization, outFeatures, inFeatures, Self.unpacked(packed, inFeatures), scales)
  }

  func microscaledFloat4(
    _ quantization: WeightQuantization, _ grid: ScaleGrid, _ outFeatures: Int, _ inFeatures: Int
  ) throws(CheckpointError) -> StoredCodes {
    try refuse([".weight"], beside: ".weight_packed")
    let packed = try pairs(".weight_packed", grid, outFeatures, inFeatures)
    let scales = try scales(
      ".weight_scale", of: quantization.format, Self.exponentTypes, [[outFeatures, grid.columnGroups]], grid)
    return stored(quantization, outFeatures, inFeatures, Self.unpacked(packed, inFeatures), scales)
  }

  /// One expert of `_blocks` U8 [experts, out, in/32, 16] and `_scales` U8 [experts, out, in/32].
  func expert(
    _ index: Int, _ quantization: WeightQuantization, _ grid: ScaleGrid, _ outFeatures: Int, _ inFeatures: Int
  ) throws(CheckpointError) -> StoredCodes {
    guard let found = info("_blocks") else { throw .missingTensor(linear + "_blocks", file: file) }
    let experts = found.shape.rank == 4 ? found.shape[0] : index + 1
    try requireWholeGroups(grid, inFeatures, "_blocks")
    let blocks = try tensor("_blocks", [.uint8], [[experts, outFeatures, grid.columnGroups, 16]])
    let scales = try tensor("_scales", Self.exponentTypes, [[experts, outFeatures, grid.columnGroups]])
    guard index < experts else { throw refusal("_blocks", "holds \(experts) experts, expert \(index) is asked for") }
    let own = StoredScales(scales.rows(index..<index + 1), grid)
    if let problem = own.problem(of: quantization.format) { throw refusal("_scales", problem) }
    let codes = blocks.rows(index..<index + 1).reshaped(to: [outFeatures, inFeatures / 2])
    return stored(quantization, outFeatures, inFeatures, Self.unpacked(codes, inFeatures), own)
  }

  private func pairs(
    _ part: String, _ grid: ScaleGrid, _ outFeatures: Int, _ inFeatures: Int
  ) throws(CheckpointError) -> Tensor {
    try requireWholeGroups(grid, inFeatures, part)
    guard inFeatures % 2 == 0 else { throw refusal(part, "\(inFeatures) input features do not fill bytes") }
    return try tensor(part, [.uint8], [[outFeatures, inFeatures / 2]])
  }

  private static func unpacked(_ packed: Tensor, _ inFeatures: Int) -> StoredCodes.Source {
    .unpacked { rows, codes in
      packed.rows(rows).withBytes { bytes in
        for index in 0..<bytes.count {
          codes[2 * index] = bytes[index] & 15
          codes[2 * index + 1] = bytes[index] >> 4
        }
      }
    }
  }
}
