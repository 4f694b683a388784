internal import Kernels
public import Tensors

/// Hidden states of many texts on their way up, in chunks; in memory, or in a file that has no name.
///
/// A spilled chunk is read and written whole; rows of any chunk can be gathered one by one.
public final class HiddenStates {
  /// One row.
  public struct Place: Sendable, Hashable {
    /// Which chunk.
    public let chunk: Int
    /// Which row of it.
    public let row: Int

    /// A row of a chunk.
    public init(chunk: Int, row: Int) {
      self.chunk = chunk
      self.row = row
    }
  }

  /// The texts of each chunk.
  public let chunks: [Sequences]
  /// Channels of the residual stream.
  public let columns: Int
  private var matrices: [Matrix] = []
  private let file: SpillFile?
  private let folder: String?
  private let starts: [Int]

  /// Zeros.
  ///
  /// - Parameter spillFolder: where a file may be made; `nil` keeps all in memory.
  public init(chunks: [Sequences], columns: Int, spillFolder: String? = nil) throws(ModelError) {
    self.chunks = chunks
    self.columns = columns
    folder = spillFolder
    var start = 0
    starts = chunks.map { chunk in
      defer { start += chunk.rowCount }
      return start
    }
    if let spillFolder {
      file = try SpillFile(in: spillFolder, byteCount: start * columns * MemoryLayout<Float>.size)
    } else {
      file = nil
      matrices = chunks.map { Matrix(rows: $0.rowCount, columns: columns) }
    }
  }

  /// One chunk in memory.
  public init(_ matrix: Matrix, _ sequences: Sequences) {
    chunks = [sequences]
    columns = matrix.columns
    matrices = [matrix]
    file = nil
    folder = nil
    starts = [0]
  }

  /// Zeros of the same layout, in the same kind of place; of as many channels, unless others are given.
  public func zeros(columns: Int? = nil) throws(ModelError) -> HiddenStates {
    try HiddenStates(chunks: chunks, columns: columns ?? self.columns, spillFolder: folder)
  }

  /// The same states, in the same kind of place.
  public func copy() throws(ModelError) -> HiddenStates {
    let result = try zeros()
    for chunk in chunks.indices { try result.write(try read(chunk), to: chunk) }
    return result
  }

  /// Number of rows of all chunks.
  public var rowCount: Int { (starts.last ?? 0) + (chunks.last?.rowCount ?? 0) }

  /// Bytes that all rows take.
  public var byteCount: Int { rowCount * columns * MemoryLayout<Float>.size }

  private func offset(_ chunk: Int, _ row: Int = 0) -> Int {
    (starts[chunk] + row) * columns * MemoryLayout<Float>.size
  }

  /// A chunk, `[rows, columns]`.
  public func read(_ chunk: Int) throws(ModelError) -> Matrix {
    guard let file else { return matrices[chunk] }
    return try file.read(rows: chunks[chunk].rowCount, columns: columns, at: offset(chunk))
  }

  /// Replaces a chunk.
  public func write(_ matrix: Matrix, to chunk: Int) throws(ModelError) {
    precondition(matrix.rows == chunks[chunk].rowCount && matrix.columns == columns, "a chunk keeps its extents")
    guard let file else {
      matrices[chunk] = matrix
      return
    }
    try file.write(matrix, at: offset(chunk))
  }

  /// Rows of any chunks, `[places, columns]`.
  public func gather(_ places: [Place]) throws(ModelError) -> Matrix {
    var values: [Float] = []
    values.reserveCapacity(places.count * columns)
    for place in places {
      if let file {
        values += try file.read(rows: 1, columns: columns, at: offset(place.chunk, place.row)).values
      } else {
        values += matrices[place.chunk].row(place.row)
      }
    }
    return Matrix(rows: places.count, columns: columns, values: values)
  }

  /// Adds rows to rows, each times its weight; a place occurs once.
  public func add(_ part: Matrix, to places: [Place], weights: [Float]) throws(ModelError) {
    for (index, place) in places.enumerated() {
      if let file {
        var row = try file.read(rows: 1, columns: columns, at: offset(place.chunk, place.row))
        row.addRows([0], of: part.rows(index..<index + 1), weights: [weights[index]])
        try file.write(row, at: offset(place.chunk, place.row))
      } else {
        let start = place.row * columns
        matrices[place.chunk].values.withUnsafeMutableBufferPointer { target in
          part.values.withUnsafeBufferPointer { source in
            let weight = weights[index]
            for column in 0..<columns { target[start + column] += weight * source[index * columns + column] }
          }
        }
      }
    }
  }
}
