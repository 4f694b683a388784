internal import CKernels
package import Tensors

/// Products of matrices whose factors are rounded to BF16, sums in float32.
///
/// Two to four times as fast as float32 where the processor has instructions for it (AVX-512 BF16, BFMMLA of NEON). A
/// factor loses at most 2⁻⁹ of itself. Results do not depend on the number of threads.
package struct Bfloat16Product: Sendable {
  let kernels: ck_bf16_kernels

  private static let outputTile = 256
  // A multiple of all tiles of tokens.
  private static let tokenTile = 2052
  private static let gramTile = 384
  private static let tilesPerPacking = 8

  /// Those of the instruction set in use, where they are faster than float32.
  package static var current: Bfloat16Product? {
    forced ?? ck_bf16_kernels_of(InstructionSet.current.identifier).map { Bfloat16Product(kernels: $0.pointee) }
  }

  @TaskLocal private static var forced: Bfloat16Product?

  /// Runs the closure with these as ``current``, for tests: also where they are slower.
  package func whileForced<Result>(_ body: () throws -> Result) rethrows -> Result {
    try Self.$forced.withValue(self, operation: body)
  }

  /// All that this processor can run, the portable one first.
  package static var available: [Bfloat16Product] {
    (0..<Int32(ck_bf16_table_count)).compactMap { ck_bf16_table($0).map { Bfloat16Product(kernels: $0.pointee) } }
  }

  /// Which.
  package var name: String { String(cString: kernels.name) }

  /// x · Wᵀ for weights as they lie in a checkpoint; bits of BF16 are taken as they are.
  package func product(_ x: Matrix, _ weight: Tensor) -> Matrix {
    product(x, outFeatures: weight.shape[0]) { range, target in
      weight.rows(range).withBytes { pack(weight.denseKind, $0.baseAddress, range.count, x.columns, to: target) }
    }
  }

  /// x · Wᵀ for weights that become floats when they are read.
  package func product(_ x: Matrix, _ weight: WeightRows) -> Matrix {
    product(x, outFeatures: weight.outFeatures) { range, target in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: range.count * x.columns) { scratch in
        weight.copyRows(range, to: scratch)
        pack(ck_dense_f32, scratch.baseAddress, range.count, x.columns, to: target)
      }
    }
  }

  private func pack(
    _ kind: ck_dense_kind, _ values: UnsafeRawPointer?, _ rows: Int, _ columns: Int,
    to target: UnsafeMutablePointer<UInt16>
  ) {
    ck_bf16_pack_lines(kernels.tile_rows, kernels.unit, kind, values, columns, rows, columns, 0, tiles(rows), target)
  }

  func tiles(_ rows: Int) -> Int { (rows + kernels.tile_rows - 1) / kernels.tile_rows }

  private func product(
    _ x: Matrix, outFeatures: Int, pack: @Sendable (Range<Int>, UnsafeMutablePointer<UInt16>) -> Void
  ) -> Matrix {
    let (tokens, features, tile) = (x.rows, x.columns, kernels.tile_tokens)
    let outputTiles = (outFeatures + Self.outputTile - 1) / Self.outputTile
    let tokenTiles = (tokens + Self.tokenTile - 1) / Self.tokenTile
    return Matrix(rows: tokens, columns: outFeatures) { result in
      guard let y = SharedPointer(result), features > 0 else { return result.update(repeating: 0) }
      withPacked(x, tile: tile, isColumns: false) { packedTokens in
        Parallel.forEach(outputTiles * tokenTiles) { task in
          let (output, token) = (task % outputTiles * Self.outputTile, task / outputTiles * Self.tokenTile)
          let outputs = output..<min(outFeatures, output + Self.outputTile)
          let lastToken = min(tokens, token + Self.tokenTile)
          Self.withMemory(ck_bf16_packed_count(kernels.tile_rows, outputs.count, features)) { weights in
            pack(outputs, weights.base)
            kernels.product(
              weights.base, outputs.count, 0, tiles(outputs.count), packedTokens.base, tokens, token / tile,
              (lastToken + tile - 1) / tile, features, y.base + output, outFeatures, 0)
          }
        }
      }
    }
  }

  /// x · M for a matrix `[x.columns, x.columns]`.
  package func product(_ x: Matrix, columnsOf matrix: Matrix) -> Matrix {
    let (tokens, columns, tile) = (x.rows, x.columns, kernels.tile_tokens)
    let outputTiles = Self.gramTiles(columns)
    let tokenTiles = (tokens + Self.tokenTile - 1) / Self.tokenTile
    return Matrix(rows: tokens, columns: columns) { result in
      guard let y = SharedPointer(result) else { return }
      withPacked(matrix, tile: kernels.tile_rows, isColumns: true) { outputs in
        withPacked(x, tile: tile, isColumns: false) { packedTokens in
          Parallel.forEach(outputTiles * tokenTiles) { task in
            let (output, token) = (task % outputTiles * Self.gramTile, task / outputTiles * Self.tokenTile)
            let (end, last) = (min(columns, output + Self.gramTile), min(tokens, token + Self.tokenTile))
            kernels.product(
              outputs.base, columns, output / kernels.tile_rows, tiles(end), packedTokens.base, tokens, token / tile,
              (last + tile - 1) / tile, columns, y.base, columns, 0)
          }
        }
      }
    }
  }

  /// Adds the lower half of xᵀ · x to a sum, `[columns, columns]`; what is above its diagonal tiles is not touched.
  package func addGram(_ x: Matrix, to sum: inout [Float]) { addCrossGram(x, x, isLower: true, to: &sum) }

  /// Adds xᵀ · y to a sum, `[x.columns, y.columns]`; where asked, without the tiles above the diagonal.
  package func addCrossGram(_ x: Matrix, _ y: Matrix, isLower: Bool = false, to sum: inout [Float]) {
    let (down, across) = (Self.gramTiles(x.columns), Self.gramTiles(y.columns))
    let pairs = (0..<down).flatMap { row in (0..<(isLower ? row + 1 : across)).map { (row, $0) } }
    let (tokenTile, rowTile) = (kernels.tile_tokens, kernels.tile_rows)
    sum.withUnsafeMutableBufferPointer { buffer in
      guard let result = SharedPointer(buffer) else { return }
      withPacked(x, tile: tokenTile, isColumns: true) { one in
        withPacked(y, tile: rowTile, isColumns: true) { other in
          Parallel.forEach(pairs.count) { task in
            let (first, second) = (pairs[task].0 * Self.gramTile, pairs[task].1 * Self.gramTile)
            let (last, end) = (min(x.columns, first + Self.gramTile), min(y.columns, second + Self.gramTile))
            kernels.product(
              other.base, y.columns, second / rowTile, (end + rowTile - 1) / rowTile, one.base, x.columns,
              first / tokenTile, (last + tokenTile - 1) / tokenTile, x.rows, result.base, y.columns, 1)
          }
        }
      }
    }
  }

  private static func gramTiles(_ columns: Int) -> Int { (columns + gramTile - 1) / gramTile }

  /// Lends a matrix in the kernels' layout: its rows as lines, or its columns.
  private func withPacked(
    _ x: Matrix, tile: Int, isColumns: Bool, _ body: (SharedPointer<UInt16>) -> Void
  ) {
    let (lines, depth) = isColumns ? (x.columns, x.rows) : (x.rows, x.columns)
    let unit = kernels.unit
    Self.withMemory(ck_bf16_packed_count(tile, lines, depth)) { packed in
      Parallel.forEachRange(of: (lines + tile - 1) / tile, size: Self.tilesPerPacking) { range in
        x.values.withUnsafeBufferPointer { values in
          let (base, first, last) = (values.baseAddress, range.lowerBound, range.upperBound)
          if isColumns {
            ck_bf16_pack_columns(tile, unit, base, lines, lines, depth, first, last, packed.base)
          } else {
            ck_bf16_pack_lines(tile, unit, ck_dense_f32, base, depth, lines, depth, first, last, packed.base)
          }
        }
      }
      body(packed)
    }
  }

  /// Lends memory that starts with a cache line.
  private static func withMemory(_ count: Int, _ body: (SharedPointer<UInt16>) -> Void) {
    let memory = UnsafeMutableBufferPointer(start: allocate(count), count: count)
    defer { memory.deallocate() }
    if let shared = SharedPointer(memory) { body(shared) }
  }

  /// Memory that starts with a cache line, to be given back by the caller.
  static func allocate(_ count: Int) -> UnsafeMutablePointer<UInt16> {
    UnsafeMutableRawPointer.allocate(byteCount: max(1, count * 2), alignment: 64)
      .bindMemory(to: UInt16.self, capacity: count)
  }
}
