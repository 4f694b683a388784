/// How the scales of a matrix are laid out: `[rowGroups, columnGroups]`, each over a rectangle of weights.
public struct ScaleGrid: Hashable, Sendable {
  /// Output features that share a scale.
  public let rowsPerScale: Int
  /// Input features that share a scale.
  public let columnsPerScale: Int
  /// Number of scales along the output features.
  public let rowGroups: Int
  /// Number of scales along the input features.
  public let columnGroups: Int

  /// The layout for a matrix of `outFeatures × inFeatures`.
  public init(_ granularity: Granularity, outFeatures: Int, inFeatures: Int) {
    switch granularity {
    case .perTensor: (rowsPerScale, columnsPerScale) = (max(1, outFeatures), max(1, inFeatures))
    case .perChannel, .perRowAndColumn: (rowsPerScale, columnsPerScale) = (1, max(1, inFeatures))
    case .perGroup(let size): (rowsPerScale, columnsPerScale) = (1, max(1, min(size, inFeatures)))
    case .perBlock(let rows, let columns): (rowsPerScale, columnsPerScale) = (rows, columns)
    }
    rowGroups = (outFeatures + rowsPerScale - 1) / rowsPerScale
    columnGroups = (inFeatures + columnsPerScale - 1) / columnsPerScale
  }

  /// Number of scales.
  public var count: Int { rowGroups * columnGroups }
}
