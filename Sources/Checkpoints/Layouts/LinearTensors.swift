internal import Kernels
internal import Quantization
internal import Tensors

/// The tensors of one linear, by the part of the name that follows the linear's.
struct LinearTensors {
  let linear: String
  let source: any WeightSource
  /// For messages.
  let file: String
  /// Whether codes that can be packed as they are read are left in the file until then.
  var streamsCodes = false

  func info(_ part: String) -> TensorInfo? { source.info(linear + part) }

  func refusal(_ part: String, _ problem: String) -> CheckpointError {
    .malformed(file: file, offset: nil, tensor: linear + part, problem: problem)
  }

  /// A tensor that must be there, of one of some types and shapes.
  func tensor(_ part: String, _ types: [DType], _ shapes: [Shape]) throws(CheckpointError) -> Tensor {
    _ = try checked(part, types, shapes)
    return try source.tensor(linear + part)
  }

  /// What is known of such a tensor, which is not read.
  func checked(_ part: String, _ types: [DType], _ shapes: [Shape]) throws(CheckpointError) -> TensorInfo {
    guard let found = info(part) else { throw .missingTensor(linear + part, file: file) }
    guard types.contains(found.dtype), shapes.contains(found.shape) else {
      let types = types.map(\.rawValue).joined(separator: " or ")
      let shapes = shapes.map(\.description).joined(separator: " or ")
      throw refusal(part, "expected \(types) \(shapes), found \(found.dtype.rawValue) \(found.shape)")
    }
    return found
  }

  /// Codes of whole words that are packed as they are read, or `nil` where they are to be read at once.
  ///
  /// - Parameter flip: is XORed to every word to give the kernels' codes.
  func streamed(_ part: String, _ kind: PackedMatrix.Kind, inFeatures: Int, flip: UInt32 = 0) -> StoredCodes.Source? {
    guard streamsCodes, PackedMatrix.hasWholeWords(kind, inFeatures: inFeatures) else { return nil }
    return .streamed(CodeStream(source: source, name: linear + part, file: file, flip: flip))
  }

  /// Refuses a tensor that would give the linear another meaning.
  func refuse(_ parts: [String], beside kept: String) throws(CheckpointError) {
    for part in parts where info(part) != nil {
      throw refusal(part, "is there beside \(linear + kept); which of them counts is unclear")
    }
  }

  // MARK: Scales

  static let floatTypes: [DType] = [.float32, .bfloat16, .float16]
  static let exponentTypes: [DType] = [.uint8, .float8E8M0]

  /// Scales in the layout of a grid; all are read and must be such as codes of the format may have.
  func scales(
    _ part: String, of format: NumberFormat, _ types: [DType], _ shapes: [Shape], _ grid: ScaleGrid,
    isTransposed: Bool = false, whole: StoredScales.Whole = .none
  ) throws(CheckpointError) -> StoredScales {
    let scales = StoredScales(
      try tensor(part, types, shapes), grid, isTransposed: isTransposed, whole: whole)
    if let problem = scales.problem(of: format) { throw refusal(part, problem) }
    return scales
  }

  /// One positive number.
  func number(_ part: String) throws(CheckpointError) -> Float {
    let value = try tensor(part, Self.floatTypes, [[], [1], [1, 1]]).floats()[0]
    guard value.isFinite, value > 0 else { throw refusal(part, "\(value) is not positive and finite") }
    return value
  }

  /// Shapes of scales that mean the same: a scale a matrix or a row is also written without its last axes.
  static func scaleShapes(_ granularity: Granularity, _ grid: ScaleGrid) -> [Shape] {
    switch granularity {
    case .perTensor: [[1], [], [1, 1]]
    case .perChannel: [[grid.rowGroups, 1], [grid.rowGroups]]
    case .perGroup, .perRowAndColumn: [[grid.rowGroups, grid.columnGroups]]
    // ModelOpt keeps the axes within a block.
    case .perBlock: [[grid.rowGroups, grid.columnGroups], [grid.rowGroups, 1, grid.columnGroups, 1]]
    }
  }

  // MARK: Columns out of order

  /// The group of each column, or `nil` where columns are in order (or −1 says that there is no order).
  func order(_ part: String, _ grid: ScaleGrid, inFeatures: Int) throws(CheckpointError) -> [Int32]? {
    guard info(part) != nil else { return nil }
    let groups = integers(try tensor(part, [.int32, .int64], [[inFeatures]]))
    if groups.allSatisfy({ $0 == -1 }) { return nil }
    if let odd = groups.first(where: { !(0..<grid.columnGroups).contains($0) }) {
      throw refusal(part, "holds group \(odd), there are \(grid.columnGroups)")
    }
    let isInOrder = groups.enumerated().allSatisfy { $1 == $0 / grid.columnsPerScale }
    return isInOrder ? nil : groups.map { Int32(truncatingIfNeeded: $0) }
  }

  /// The elements of an I32 or I64 tensor.
  func integers(_ tensor: Tensor) -> [Int] {
    tensor.withBytes { bytes in
      (0..<tensor.elementCount).map { index in
        tensor.dtype == .int32
          ? Int(Int32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * index, as: Int32.self)))
          : Int(Int64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8 * index, as: Int64.self)))
      }
    }
  }
}
