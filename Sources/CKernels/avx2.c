#include "Kernels.h"

#if defined(__x86_64__)

#define CK_KERNELS ck_avx2_kernels
#define CK_NAME "avx2"
// Six tokens by sixteen rows: twelve of the sixteen registers accumulate.
#define CK_TILE_TOKENS 6

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "KernelBody.inc"
#pragma clang attribute pop

#endif
