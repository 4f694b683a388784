#include "IntegerKernels.h"

#if defined(__aarch64__)

#include "Vectors.h"

#include <arm_neon.h>

#define CK_TABLE ck_integer_i8mm
#define CK_NAME "neon-i8mm"
// Three pairs of tokens by eight pairs of rows: twenty-four of the thirty-two registers accumulate.
#define CK_TILE_TOKENS 6

#pragma clang attribute push(__attribute__((target("dotprod,i8mm"))), apply_to = function)

// One to four tokens use dot products. In tiles, SMMLA multiplies two rows by two tokens at eight features: four sums.

#define CK_CODE_OFFSET 0
#define CK_OWN_TILES

CK_INLINE void add_dot(ints *sums, const words *codes, int32_t word) {
  int8x16_t value = vreinterpretq_s8_s32(vdupq_n_s32(word));
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    int8x16_t code = vld1q_s8((const int8_t *)codes + 16 * i);
    int32x4_t sum = vld1q_s32((const int32_t *)sums + 4 * i);
    vst1q_s32((int32_t *)sums + 4 * i, vdotq_s32(sum, code, value));
  }
}
#define CK_DOT(sums, codes, word) add_dot(&(sums), &(codes), (word))
#define place_codes place_words

#include "ByteDots.inc"

#undef place_codes

/// In tiles, eight codes of a token at a time, those of the tokens at the same features together.
CK_INLINE void place_codes(
    ck_code_kind kind, int direct, size_t count, size_t t, const int8_t codes[ck_activation_block], uint8_t *block) {
  if (direct) return place_words(kind, direct, count, t, codes, block);
  for (size_t i = 0; i < 4; i++) memcpy(block + (i * count + t) * 8, codes + 8 * i, 8);
}

/// Eight codes of one row and of the next, for eight pairs of rows; four times.
CK_INLINE void expand_block(ck_code_kind kind, int narrow, const uint8_t *codes, uint8_t *expanded) {
  (void)narrow;
  for (size_t i = 0; i < 4; i++) {
    words first, second;
    load_word(kind, codes, 2 * i, &first);
    load_word(kind, codes, 2 * i + 1, &second);
#pragma clang loop unroll(full)
    for (int four = 0; four < 4; four++) {
      uint32x4_t a = vld1q_u32((const uint32_t *)&first + 4 * four), b = vld1q_u32((const uint32_t *)&second + 4 * four);
      uint32_t *target = (uint32_t *)(expanded + i * 128 + four * 32);
      vst1q_u32(target, vzip1q_u32(a, b));
      vst1q_u32(target + 4, vzip2q_u32(a, b));
    }
  }
}

CK_INLINE void tile_block(
    ck_code_kind kind, int narrow, size_t count, const uint8_t *expanded, const uint8_t *x, const uint8_t *starts,
    ints *sums) {
  (void)narrow;
  (void)kind, (void)starts;
  size_t pairs = (count + 1) / 2;
  int32x4_t squares[8][CK_TILE_TOKENS / 2];
#pragma clang loop unroll(full)
  for (int row = 0; row < 8; row++)
#pragma clang loop unroll(full)
    for (size_t pair = 0; pair < pairs; pair++) squares[row][pair] = vdupq_n_s32(0);
#pragma clang loop unroll(disable)
  for (size_t i = 0; i < 4; i++) {
    int8x16_t value[CK_TILE_TOKENS / 2];
#pragma clang loop unroll(full)
    for (size_t pair = 0; pair < pairs; pair++) {
      const int8_t *address = (const int8_t *)x + (i * count + 2 * pair) * 8;
      // The last of an odd number of tokens is alone.
      if (2 * pair + 1 < count) value[pair] = vld1q_s8(address);
      else value[pair] = vcombine_s8(vld1_s8(address), vdup_n_s8(0));
    }
#pragma clang loop unroll(full)
    for (int row = 0; row < 8; row++) {
      int8x16_t code = vld1q_s8((const int8_t *)expanded + i * 128 + row * 16);
#pragma clang loop unroll(full)
      for (size_t pair = 0; pair < pairs; pair++)
        squares[row][pair] = vmmlaq_s32(squares[row][pair], code, value[pair]);
    }
  }
#pragma clang loop unroll(full)
  for (size_t t = 0; t < count; t++)
#pragma clang loop unroll(full)
    for (int row = 0; row < 8; row += 2) {
      int32x4_t a = squares[row][t / 2], b = squares[row + 1][t / 2];
      vst1q_s32((int32_t *)&sums[t] + 2 * row, t % 2 ? vuzp2q_s32(a, b) : vuzp1q_s32(a, b));
    }
}

#include "IntegerBody.inc"

#pragma clang attribute pop

#endif
