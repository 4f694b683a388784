#include "Kernels.h"

#if defined(__x86_64__)

#include "Vectors.h"

#include <immintrin.h>

#define CK_KERNELS ck_avx2_kernels
#define CK_NAME "avx2"
// Six tokens by sixteen rows: twelve of the sixteen registers accumulate.
#define CK_TILE_TOKENS 6

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)

/// KernelBody.inc's `add_word` of 4-bit codes, in an order of instructions that sixteen registers suffice for: left to
/// itself the compiler keeps all masks and codes at hand and the sums in memory.
CK_INLINE void add_uint4_word(const uint8_t *codes, const float *x, floats sums[4]) {
  static const uint32_t masks[4] = {0x0f, 0x0f00, 0x0f0000, 0x0f000000};
  __m256 s[4][2];
  memcpy(s, sums, sizeof s);
  __m256i low = _mm256_loadu_si256((const __m256i *)codes), high = _mm256_loadu_si256((const __m256i *)(codes + 32));
#pragma clang loop unroll(full)
  for (size_t i = 0; i < 8; i++) {
    if (i == 4) {
      low = _mm256_srli_epi32(low, 4);
      high = _mm256_srli_epi32(high, 4);
    }
    __m256i mask;
    __asm__ volatile("vpbroadcastd %1, %0" : "=x"(mask) : "m"(masks[i % 4]));
    __m256 value = _mm256_broadcast_ss(x + i);
    __m256 a = _mm256_cvtepi32_ps(_mm256_and_si256(low, mask)), b = _mm256_cvtepi32_ps(_mm256_and_si256(high, mask));
    s[i % 4][0] = _mm256_fmadd_ps(a, value, s[i % 4][0]);
    s[i % 4][1] = _mm256_fmadd_ps(b, value, s[i % 4][1]);
    // Nothing moves across this.
    __asm__ volatile("" : "+x"(s[i % 4][0]), "+x"(s[i % 4][1]), "+x"(low), "+x"(high));
  }
  memcpy(sums, s, sizeof s);
}
#define CK_ADD_UINT4_WORD add_uint4_word

#include "KernelBody.inc"

#pragma clang attribute pop

#endif
