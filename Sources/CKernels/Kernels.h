// The tables that the instruction sets' files define; dispatch.c alone chooses between them.
#ifndef CKERNELS_KERNELS_H
#define CKERNELS_KERNELS_H

#include "InstructionSets.h"

extern const ck_kernels ck_portable_kernels;
#if defined(__x86_64__)
extern const ck_kernels ck_avx2_kernels;
extern const ck_kernels ck_avx512_kernels;
extern const ck_kernels ck_avx512_on_avx2_kernels;
#elif defined(__aarch64__)
extern const ck_kernels ck_neon_kernels;
#endif

#endif
