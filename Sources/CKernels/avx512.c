#include "Kernels.h"

#if defined(__x86_64__)

#define CK_KERNELS ck_avx512_kernels
#define CK_NAME "avx512"
// Sixteen tokens by sixteen rows: sixteen of the thirty-two registers accumulate.
#define CK_TILE_TOKENS 16

#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c"))), apply_to = function)
#include "KernelBody.inc"
#pragma clang attribute pop

#endif
