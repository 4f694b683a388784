#include "IntegerKernels.h"

#if defined(__aarch64__)

#include "Vectors.h"

#include <arm_neon.h>

#define CK_TABLE ck_integer_dotprod
#define CK_NAME "neon-dotprod"
// Six tokens by sixteen rows: twenty-four of the thirty-two registers accumulate.
#define CK_TILE_TOKENS 6

#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)

#define CK_CODE_OFFSET 0

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

#include "ByteDots.inc"
#include "IntegerBody.inc"

#pragma clang attribute pop

#endif
