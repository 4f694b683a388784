#include "IntegerKernels.h"

#if defined(__x86_64__)

#include "Vectors.h"

#include <immintrin.h>

#define CK_TABLE ck_integer_avx512
#define CK_NAME "avx512"
// Twelve chains keep two multipliers of five cycles busy.
#define CK_TILE_TOKENS 12

#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c"))), apply_to = function)

// Unsigned codes by signed activations, added in 32 bits without saturation.
#define CK_CODE_OFFSET 128
#define CK_DOT(sums, codes, word) \
  ((sums) = (ints)_mm512_dpbusd_epi32((__m512i)(sums), (__m512i)(codes), _mm512_set1_epi32(word)))

#include "ByteDots.inc"
#include "IntegerBody.inc"

#pragma clang attribute pop

#endif
