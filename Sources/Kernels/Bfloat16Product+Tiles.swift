internal import CKernels

/// Products on the calling thread whose factors the caller packs and keeps.
extension Bfloat16Product {
  /// Lines of one tile of weights.
  var tileRows: Int { kernels.tile_rows }

  /// Numbers that `[rows, features]` takes as weights.
  func packedCount(rows: Int, features: Int) -> Int { ck_bf16_packed_count(kernels.tile_rows, rows, features) }

  /// Numbers that `[tokens, features]` takes as activations; those of whole blocks of features come first.
  func packedCount(tokens: Int, features: Int) -> Int { ck_bf16_packed_count(kernels.tile_tokens, tokens, features) }

  /// Packs `[rows, features]`, rows `stride` values apart, as weights.
  func packRows(
    _ values: UnsafePointer<Float>, stride: Int, _ rows: Int, _ features: Int, to target: UnsafeMutablePointer<UInt16>
  ) {
    ck_bf16_pack_lines(
      kernels.tile_rows, kernels.unit, ck_dense_f32, values, stride, rows, features, 0, tiles(rows), target)
  }

  /// Packs the columns of `[features, rows]`, which lie `stride` values apart, as weights.
  func packColumns(
    _ values: UnsafePointer<Float>, stride: Int, _ rows: Int, _ features: Int, to target: UnsafeMutablePointer<UInt16>
  ) {
    ck_bf16_pack_columns(kernels.tile_rows, kernels.unit, values, stride, rows, features, 0, tiles(rows), target)
  }

  /// Packs `[tokens, features]`, tokens `stride` values apart, as activations.
  func packTokens(
    _ values: UnsafePointer<Float>, stride: Int, _ tokens: Int, _ features: Int,
    to target: UnsafeMutablePointer<UInt16>
  ) {
    let tile = kernels.tile_tokens
    ck_bf16_pack_lines(
      tile, kernels.unit, ck_dense_f32, values, stride, tokens, features, 0, (tokens + tile - 1) / tile, target)
  }

  /// x · Wᵀ of both packed, `[tokens, rows]`, tokens `stride` values apart; added to what is there, or in its place.
  func multiply(
    _ weights: UnsafePointer<UInt16>, rows: Int, _ x: UnsafePointer<UInt16>, tokens: Int, features: Int,
    to y: UnsafeMutablePointer<Float>, stride: Int, adds: Bool
  ) {
    let tile = kernels.tile_tokens
    kernels.product(
      weights, rows, 0, tiles(rows), x, tokens, 0, (tokens + tile - 1) / tile, features, y, stride, adds ? 1 : 0)
  }
}
