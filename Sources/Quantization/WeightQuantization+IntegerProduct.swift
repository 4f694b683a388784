extension WeightQuantization {
  /// Whether the kernels can multiply such weights with activations in int8: codes are integers, or become some, and
  /// groups are whole multiples of 32 columns or a row is one group.
  public func hasIntegerProduct(outFeatures: Int, inFeatures: Int) -> Bool {
    let size = ScaleGrid(granularity, outFeatures: outFeatures, inFeatures: inFeatures).columnsPerScale
    return format != .float8E4M3 && (size % 32 == 0 || size >= inFeatures)
  }
}
