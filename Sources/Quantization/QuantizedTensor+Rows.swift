public import Tensors

extension QuantizedTensor {
  /// The weights that the codes stand for, expanded when they are read.
  public var rows: WeightRows {
    WeightRows(outFeatures: outFeatures, inFeatures: inFeatures, storedType: .float32) { [self] range, floats in
      let grid = grid
      let numbers: [Float]? =
        switch quantization.format {
        case .float8E4M3: Float8E4M3.decoded
        case .float4E2M1: Float4E2M1.decoded
        case .int: nil
        }
      for row in range {
        let (source, target) = (row * inFeatures, (row - range.lowerBound) * inFeatures)
        for group in 0..<grid.columnGroups {
          let cell = row / grid.rowsPerScale * grid.columnGroups + group
          let (scale, zero) = (scales[cell], zeroPoints.map { Float($0[cell]) } ?? 0)
          for column in group * grid.columnsPerScale..<min(inFeatures, (group + 1) * grid.columnsPerScale) {
            let code = codes[source + column]
            let number = numbers.map { $0[Int(code)] } ?? Float(Int8(bitPattern: code))
            floats[target + column] = (number - zero) * scale
          }
        }
      }
    }
  }
}
