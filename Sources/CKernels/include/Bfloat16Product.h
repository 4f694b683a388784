// Products of two matrices rounded to bfloat16, sums in float32: y[tokens, out] = x[tokens, in] · W[out, in]ᵀ.
//
// Packing. Rows of either matrix are lines. Their features are cut into blocks of 256, and each block into tiles of some
// lines: `tile_rows` of W, `tile_tokens` of x, the last one filled up with zeros. In a tile, `unit` features of each line
// follow each other, then the next `unit` of each; features are filled up with zeros to a multiple of 4.
//
// Sums. An output is the sum of its blocks, in order; a block is summed in the order of its features, from 0, whatever
// the number of tokens and however tiles are split over calls. Products of two bfloat16 are exact in float32; the
// portable table and AVX-512 add a unit's second product, then its first: the same bits, but for subnormal numbers, which
// AVX-512 takes as zeros. BFMMLA of NEON adds four products in an order of its own.
#ifndef CKERNELS_BFLOAT16_PRODUCT_H
#define CKERNELS_BFLOAT16_PRODUCT_H

#include <stddef.h>
#include <stdint.h>

#include "DenseProduct.h"

enum {
  /// Features of a block.
  ck_bf16_block = 256,
};

/// One instruction set's product. Packed matrices are for the same table's `product` only.
typedef struct __attribute__((swift_attr("@Sendable"))) {
  const char *name;
  size_t tile_rows, tile_tokens, unit;

  /// Some tiles of packed x[tokens, in] times some tiles of packed W[out, in]: that part of y[tokens, y_stride]. Where
  /// `adds` is not 0, it is added to what is there.
  void (*product)(
      const uint16_t *weights, size_t out, size_t first_row_tile, size_t last_row_tile, const uint16_t *x,
      size_t tokens, size_t first_token_tile, size_t last_token_tile, size_t in, float *y, size_t y_stride, int adds);
} ck_bf16_kernels;

/// Numbers that packed lines take; `tile` is one of the table's two.
size_t ck_bf16_packed_count(size_t tile, size_t lines, size_t in);
/// Packs tiles `first_tile ..< last_tile` of values[lines, in], of any alignment, whose lines start `stride` values apart;
/// rounded to nearest, ties to even.
void ck_bf16_pack_lines(
    size_t tile, size_t unit, ck_dense_kind kind, const void *values, size_t stride, size_t lines, size_t in,
    size_t first_tile, size_t last_tile, uint16_t *packed);
/// The same of the columns of values[in, lines], whose rows start `stride` values apart.
void ck_bf16_pack_columns(
    size_t tile, size_t unit, const float *values, size_t stride, size_t lines, size_t in, size_t first_tile,
    size_t last_tile, uint16_t *packed);

/// The table of an instruction set of InstructionSets.h where this processor multiplies bfloat16 faster than float32, or
/// NULL.
const ck_bf16_kernels *ck_bf16_kernels_of(int isa);

enum {
  /// Tables that a build may have.
  ck_bf16_table_count = 3,
};
/// Table `index` < `ck_bf16_table_count`, the portable one first, or NULL: lets tests run all that this machine can.
const ck_bf16_kernels *ck_bf16_table(int index);

#endif
