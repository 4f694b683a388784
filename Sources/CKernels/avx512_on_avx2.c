#include "Kernels.h"

#if defined(__x86_64__)

// avx512.c at half the vector width, for tests on machines without AVX-512.
#define CK_KERNELS ck_avx512_on_avx2_kernels
#define CK_NAME "avx512-on-avx2"
#define CK_TILE_TOKENS 16

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "KernelBody.inc"
#pragma clang attribute pop

#endif
