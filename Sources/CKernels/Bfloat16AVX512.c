#include "Bfloat16Kernels.h"

#if defined(__x86_64__)

#include "Vectors.h"

#include <immintrin.h>

#define CK_TABLE ck_bf16_avx512
#define CK_NAME "avx512"
// Twelve tokens by thirty-two rows: twenty-four of the thirty-two registers accumulate, for fourteen loads.
#define CK_TILE_ROWS 32
#define CK_TILE_TOKENS 12
#define CK_UNIT 2
#define CK_BF16_LOOPS

#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma"))), apply_to = function)

CK_INLINE void multiply_tile(const uint16_t *weights, const uint16_t *x, size_t units, float *sums) {
  __m512 total[CK_TILE_TOKENS][2];
#pragma clang loop unroll(full)
  for (int t = 0; t < CK_TILE_TOKENS; t++) total[t][0] = total[t][1] = _mm512_setzero_ps();
#pragma clang loop unroll(disable)
  for (size_t unit = 0; unit < units; unit++) {
    const uint16_t *rows = weights + unit * CK_TILE_ROWS * 2;
    __m512bh first = (__m512bh)_mm512_loadu_si512(rows), second = (__m512bh)_mm512_loadu_si512(rows + 32);
#pragma clang loop unroll(full)
    for (int t = 0; t < CK_TILE_TOKENS; t++) {
      int32_t pair;
      memcpy(&pair, x + (unit * CK_TILE_TOKENS + (size_t)t) * 2, sizeof pair);
      __m512bh token = (__m512bh)_mm512_set1_epi32(pair);
      total[t][0] = _mm512_dpbf16_ps(total[t][0], first, token);
      total[t][1] = _mm512_dpbf16_ps(total[t][1], second, token);
    }
  }
#pragma clang loop unroll(full)
  for (int t = 0; t < CK_TILE_TOKENS; t++) {
    _mm512_store_ps(sums + t * CK_TILE_ROWS, total[t][0]);
    _mm512_store_ps(sums + t * CK_TILE_ROWS + 16, total[t][1]);
  }
}
#include "Bfloat16Body.inc"

#pragma clang attribute pop

#endif
