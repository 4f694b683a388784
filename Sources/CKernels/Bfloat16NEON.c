#include "Bfloat16Kernels.h"

#if defined(__aarch64__)

#include "Vectors.h"

#include <arm_neon.h>

#define CK_TABLE ck_bf16_neon
#define CK_NAME "neon"
// Three pairs of tokens by eight pairs of rows: twenty-four of the thirty-two registers accumulate.
#define CK_TILE_ROWS 16
#define CK_TILE_TOKENS 6
#define CK_UNIT 4
#define CK_BF16_LOOPS

#pragma clang attribute push(__attribute__((target("bf16"))), apply_to = function)

/// BFMMLA multiplies two rows by two tokens at four features: four sums.
CK_INLINE void multiply_tile(const uint16_t *weights, const uint16_t *x, size_t units, float *sums) {
  enum { row_pairs = CK_TILE_ROWS / 2, token_pairs = CK_TILE_TOKENS / 2 };
  float32x4_t squares[row_pairs][token_pairs];
#pragma clang loop unroll(full)
  for (int row = 0; row < row_pairs; row++)
#pragma clang loop unroll(full)
    for (int pair = 0; pair < token_pairs; pair++) squares[row][pair] = vdupq_n_f32(0);
#pragma clang loop unroll(disable)
  for (size_t unit = 0; unit < units; unit++) {
    bfloat16x8_t tokens[token_pairs];
#pragma clang loop unroll(full)
    for (int pair = 0; pair < token_pairs; pair++)
      tokens[pair] = vreinterpretq_bf16_u16(vld1q_u16(x + (unit * CK_TILE_TOKENS + 2 * (size_t)pair) * 4));
#pragma clang loop unroll(full)
    for (int row = 0; row < row_pairs; row++) {
      bfloat16x8_t rows = vreinterpretq_bf16_u16(vld1q_u16(weights + (unit * CK_TILE_ROWS + 2 * (size_t)row) * 4));
#pragma clang loop unroll(full)
      for (int pair = 0; pair < token_pairs; pair++)
        squares[row][pair] = vbfmmlaq_f32(squares[row][pair], rows, tokens[pair]);
    }
  }
#pragma clang loop unroll(full)
  for (int row = 0; row < row_pairs; row++)
#pragma clang loop unroll(full)
    for (int pair = 0; pair < token_pairs; pair++) {
      // Of each row both tokens: first the one's rows, then the other's.
      float *corner = sums + 2 * pair * CK_TILE_ROWS + 2 * row;
      float32x2x2_t both = vuzp_f32(vget_low_f32(squares[row][pair]), vget_high_f32(squares[row][pair]));
      vst1_f32(corner, both.val[0]);
      vst1_f32(corner + CK_TILE_ROWS, both.val[1]);
    }
}

#include "Bfloat16Body.inc"

#pragma clang attribute pop

#endif
