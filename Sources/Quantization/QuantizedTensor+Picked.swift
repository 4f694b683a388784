extension QuantizedTensor {
  /// Some rows, in the order given, as a matrix of their own.
  ///
  /// - Precondition: no two rows share a scale, or all do.
  public func picked(_ picked: [Int]) -> QuantizedTensor {
    let grid = grid
    precondition(grid.rowsPerScale == 1 || grid.count == 1, "rows share scales")
    let isShared = grid.rowsPerScale > 1
    func cells<Value>(_ values: [Value]) -> [Value] {
      guard !isShared else { return values }
      return picked.flatMap { values[$0 * grid.columnGroups..<($0 + 1) * grid.columnGroups] }
    }
    return QuantizedTensor(
      quantization, outFeatures: picked.count, inFeatures: inFeatures,
      codes: picked.flatMap { codes[$0 * codeColumns..<($0 + 1) * codeColumns] }, scales: cells(scales),
      scaleType: scaleType, scaleDivisor: scaleDivisor, zeroPoints: zeroPoints.map(cells), columns: columns)
  }
}
