#include "IntegerKernels.h"

#if defined(__aarch64__)

#include "Vectors.h"

#include <arm_neon.h>

// For processors without dot products.
#define CK_TABLE ck_integer_neon
#define CK_NAME "neon"
#define CK_TILE_TOKENS 6

#define CK_CODE_OFFSET 0

/// Products of bytes in 16 bits, two of which make 2 · 128 · 127 = 32512 at most (q is never −128).
CK_INLINE void add_dot(ints *sums, const words *codes, int32_t word) {
  int8x16_t value = vreinterpretq_s8_s32(vdupq_n_s32(word));
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    int8x16_t code = vld1q_s8((const int8_t *)codes + 16 * i);
    int32x4_t sum = vld1q_s32((const int32_t *)sums + 4 * i);
    int16x8_t low = vmull_s8(vget_low_s8(code), vget_low_s8(value)), high = vmull_high_s8(code, value);
    vst1q_s32((int32_t *)sums + 4 * i, vpadalq_s16(sum, vpaddq_s16(low, high)));
  }
}
#define CK_DOT(sums, codes, word) add_dot(&(sums), &(codes), (word))

#include "ByteDots.inc"
#include "IntegerBody.inc"

#endif
