#include "IntegerKernels.h"

#if defined(__x86_64__)

#include "Vectors.h"

#include <immintrin.h>

// For processors that have AVX-512's dot product of bytes without AVX-512.
#define CK_TABLE ck_integer_avxvnni
#define CK_NAME "avx2-vnni"
// Six tokens by sixteen rows: twelve of the sixteen registers accumulate.
#define CK_TILE_TOKENS 6

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avxvnni"))), apply_to = function)

// Unsigned codes by signed activations, added in 32 bits without saturation.
#define CK_CODE_OFFSET 128

CK_INLINE void add_dot(ints *sums, const words *codes, int32_t word) {
  __m256i sum[2], code[2], value = _mm256_set1_epi32(word);
  CK_LOAD(sum, sums);
  CK_LOAD(code, codes);
  sum[0] = _mm256_dpbusd_avx_epi32(sum[0], code[0], value);
  sum[1] = _mm256_dpbusd_avx_epi32(sum[1], code[1], value);
  CK_STORE(sums, sum);
}
#define CK_DOT(sums, codes, word) add_dot(&(sums), &(codes), (word))

#include "ByteDots.inc"
#include "IntegerBody.inc"

#pragma clang attribute pop

#endif
