#include "Kernels.h"

#if defined(__aarch64__)

#define CK_KERNELS ck_neon_kernels
#define CK_NAME "neon"
// Six tokens by sixteen rows: twenty-four of the thirty-two registers accumulate.
#define CK_TILE_TOKENS 6

#include "KernelBody.inc"

#endif
