#include "IntegerKernels.h"

#if defined(__x86_64__)

#include "Vectors.h"

// IntegerAVX512.c without its one instruction and at half the vector width, for tests on machines that lack both.
#define CK_TABLE ck_integer_avx512_on_avx2
#define CK_NAME "avx512-on-avx2"
#define CK_TILE_TOKENS 12

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)

#define CK_CODE_OFFSET 128
#define CK_CODE_WORD words

#include "WordDots.inc"

#include "ByteDots.inc"
#include "IntegerBody.inc"

#pragma clang attribute pop

#endif
