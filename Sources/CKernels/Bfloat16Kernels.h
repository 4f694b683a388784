// The tables of bfloat16 products, and the layout that they share; Bfloat16Dispatch.c alone chooses between them.
#ifndef CKERNELS_BFLOAT16_KERNELS_H
#define CKERNELS_BFLOAT16_KERNELS_H

#include "Bfloat16Product.h"

extern const ck_bf16_kernels ck_bf16_portable;
#if defined(__x86_64__)
extern const ck_bf16_kernels ck_bf16_avx512;
#elif defined(__aarch64__)
extern const ck_bf16_kernels ck_bf16_neon;
#endif

/// Features of the block that starts at `first`, filled up.
static inline size_t ck_bf16_depth(size_t in, size_t first) {
  size_t left = in - first < ck_bf16_block ? in - first : ck_bf16_block;
  return (left + 3) / 4 * 4;
}

/// Lines, filled up to whole tiles.
static inline size_t ck_bf16_lines(size_t lines, size_t tile) { return (lines + tile - 1) / tile * tile; }

#endif
