// Products of packed integer codes with activations rounded to int8: y[tokens, out] = x̂[tokens, in] · Ŵᵀ.
//
// Activations. A token is cut into blocks of 32 features. A block whose largest magnitude is m has the scale d = m / 127
// and the codes q[k] = x[k] · (127 / m) rounded to the nearest integer, ties to even: −127 … 127. A block with
// m < 2^−120 counts as 0; one with an infinity or NaN makes the outputs NaN.
//
// Products. Sums of code · q over a block are whole numbers and exact. With them, for every output in this order:
//
//   for each group g:  s = 0;  for each block b of g:  s = fma(sum(b), d(b), s)
//                      with zeros:  s = fma(−zero(g), t(g), s),  where t = 0;  for each b:  t = fma(Σ q, d(b), t)
//                      y = fma(scale(g), s, y), from 0
//
// Everything is rounded as written, so all instruction sets, also the portable one, give the same bits, whatever the
// number of tokens and however panels and tokens are split over calls.
//
// No sum overflows and no instruction saturates: |Σ| ≤ 32 · 128 · 127 < 2^24 also makes its conversion to float exact;
// what the AVX2 kernels add in 16 bits is bounded where they do it.
#ifndef CKERNELS_INTEGER_PRODUCT_H
#define CKERNELS_INTEGER_PRODUCT_H

#include "QuantizedProduct.h"

enum {
  /// Features that share a scale of the activations.
  ck_activation_block = 32,
  /// Up to so many tokens the weights are read but once, as they are.
  ck_integer_direct_tokens = 4,
};

/// One instruction set's kernels. Rounded tokens are for the same table's `product` only.
typedef struct __attribute__((swift_attr("@Sendable"))) {
  const char *name;
  /// Most tokens in a tile when there are more than `ck_integer_direct_tokens`.
  size_t tile_tokens;

  /// Rounds tiles `first_tile ..< last_tile` of x[tokens, in] for products with these weights. `rounded` has room for
  /// tokens × `ck_rounded_token_bytes`, at least aligned to 4 bytes.
  void (*round_tokens)(
      const ck_panels *weights, const float *x, size_t tokens, size_t first_tile, size_t last_tile, uint8_t *rounded);

  /// Columns 16·first_panel ..< min(out, 16·last_panel) of y[tokens, y_stride]. Uses 28 KiB of stack.
  void (*product)(
      const ck_panels *weights, size_t first_panel, size_t last_panel, const uint8_t *rounded, size_t tokens, float *y,
      size_t y_stride);
} ck_integer_kernels;

/// Whether there are integer products with such weights: their codes are integers, and groups are whole blocks or a row
/// is one group.
int ck_has_integer_product(const ck_panels *weights);
/// Bytes of one rounded token.
size_t ck_rounded_token_bytes(const ck_panels *weights);
/// Tiles that `tokens` tokens make.
size_t ck_integer_tile_count(const ck_integer_kernels *kernels, size_t tokens);

enum {
  /// Tables that a build may have.
  ck_integer_table_count = 8,
};
/// The fastest table for an instruction set of InstructionSets.h, or NULL where this processor lacks it.
const ck_integer_kernels *ck_integer_kernels_of(int isa);
/// Table `index` < `ck_integer_table_count`, the portable one first, or NULL: lets tests run all that this machine can.
const ck_integer_kernels *ck_integer_table(int index);

#endif
